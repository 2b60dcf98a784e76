"""Slots of hosts, and groups of slots.

A slot is one GPU, or one share of the cores on hosts without GPUs. Pure arithmetic on names and counts.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from data_tools.errors import UserError


@dataclass(frozen=True)
class Host:
    """A host and how many slots it offers."""

    name: str
    slots: int


@dataclass(frozen=True, order=True)
class Slot:
    """One slot of a host, numbered from 0 on that host."""

    host: str
    index: int

    def __str__(self) -> str:
        return f"{self.host}:{self.index}"


@dataclass(frozen=True)
class Group:
    """The slots of one job; rank r runs on `slots[r]`, and the ranks of one host follow each other."""

    slots: tuple[Slot, ...]

    @property
    def hosts(self) -> dict[str, int]:
        """Host name -> slots of the group on it, in the order of the ranks."""
        return dict(Counter(slot.host for slot in self.slots))


def place(hosts: Sequence[Host], workers: int, *, busy: Collection[Slot] = (), warm: Collection[Group] = ()) -> Group:
    """A group of `workers` slots outside `busy`: on the fullest host that has room, otherwise on few hosts.

    warm: groups to prefer among those that are as good: as many slots on as many hosts that are as full. Their order
    does not matter, since it depends on timing.

    Raises:
        UserError: fewer than `workers` slots are outside `busy`.
    """
    taken = set(busy)
    free = {h.name: [i for i in range(h.slots) if Slot(h.name, i) not in taken] for h in hosts}
    if sum(map(len, free.values())) < workers:
        raise UserError(f"{workers} free slots are requested, found {describe(hosts)}, {len(taken)} of them busy")
    left = dict(free)
    chosen: list[Slot] = []
    while len(chosen) < workers:
        missing = workers - len(chosen)
        roomy = [name for name in left if len(left[name]) >= missing]
        name = min(roomy, key=lambda n: len(left[n])) if roomy else max(left, key=lambda n: len(left[n]))
        chosen += [Slot(name, index) for index in left.pop(name)[:missing]]
    best = Group(tuple(chosen))
    equal = [group for group in warm if _is_free(group, free) and _fullness(group, free) == _fullness(best, free)]
    if not equal or best in equal:
        return best
    order = {host.name: number for number, host in enumerate(hosts)}
    return min(equal, key=lambda group: [(order[slot.host], slot.index) for slot in group.slots])


def _is_free(group: Group, free: Mapping[str, Sequence[int]]) -> bool:
    return all(slot.index in free.get(slot.host, ()) for slot in group.slots)


def _fullness(group: Group, free: Mapping[str, Sequence[int]]) -> list[tuple[int, int]]:
    """The slots of the group on each of its hosts, and the free slots there."""
    return sorted((count, len(free[host])) for host, count in group.hosts.items())


def describe(hosts: Sequence[Host]) -> str:
    """The hosts and their slots in words: `8 slots (a: 4, b: 4)`."""
    total = sum(host.slots for host in hosts)
    each = ", ".join(f"{host.name}: {host.slots}" for host in hosts) or "no host"
    return f"{total} slot{'' if total == 1 else 's'} ({each})"


def cores_of(slot: int, slots: int, *, cores: Sequence[int]) -> list[int]:
    """A slot's part of a host's `cores`: equal neighboring parts, or one core where slots share cores."""
    if len(cores) < slots:
        return [cores[slot % len(cores)]]
    return list(cores[slot * len(cores) // slots : (slot + 1) * len(cores) // slots])
