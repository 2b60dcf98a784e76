"""Groups of slots for the tests of the cost model."""

from cluster.schedule.slots import Group, Slot


def group(*hosts: str) -> Group:
    """A group with one slot for each name; a name given twice is two slots of that host."""
    return Group(tuple(Slot(host, hosts[:place].count(host)) for place, host in enumerate(hosts)))
