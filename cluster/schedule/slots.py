"""Which job runs where: slots of hosts, groups of slots, and the waves in which jobs share them.

A slot is one GPU, or one share of the cores on hosts without GPUs. Pure arithmetic on names and counts.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
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


@dataclass(frozen=True)
class Placement:
    """A job's group, and the wave (from 0) in which it gets the group."""

    wave: int
    group: Group


def plan_waves(
    hosts: Sequence[Host],
    jobs: Sequence[str],
    *,
    workers: int | None = None,
    global_batch: int | None = None,
    max_workers: int | None = None,
) -> dict[str, Placement]:
    """Give each of `jobs`, which may all run at once, a group of `workers` slots in as few waves as possible.

    Groups of one wave are disjoint, and span hosts only where they must. With `workers` null, every job gets the same
    number, as many as fit: a single job takes every slot; several jobs take fewer where that keeps each of them on one
    host and still uses more than half of the slots. `global_batch` restricts that choice to its divisors, since every
    rank takes an equal part of a batch, and `max_workers` bounds it.

    Raises:
        UserError: there is no slot, or fewer than `workers`.
    """
    total = sum(host.slots for host in hosts)
    if total < 1:
        raise UserError(f"no slot to run {', '.join(jobs)} on; found {describe(hosts)}")
    if workers is not None and not 1 <= workers <= total:
        raise UserError(f"{workers} workers per job are requested ({', '.join(jobs)}), found {describe(hosts)}")
    if not jobs:
        return {}
    at_once = total // (workers or 1)
    waves = math.ceil(len(jobs) / at_once)
    # The last wave is as full as the first: no job gets a wave to itself while slots are idle.
    at_once = math.ceil(len(jobs) / waves)
    size = workers or _workers_that_fit(hosts, at_once, global_batch=global_batch, max_workers=max_workers)
    groups = carve(hosts, size, count=at_once)
    return {name: Placement(i // at_once, groups[i % at_once]) for i, name in enumerate(jobs)}


def _workers_that_fit(hosts: Sequence[Host], groups: int, *, global_batch: int | None, max_workers: int | None) -> int:
    total = sum(host.slots for host in hosts)
    largest = min(total // groups, max_workers or total)
    sizes = [n for n in range(largest, 0, -1) if global_batch is None or global_batch % n == 0]
    if groups > 1:
        for size in sizes:
            on_one_host = sum(host.slots // size for host in hosts)
            if on_one_host >= groups and 2 * size * groups > total:
                return size
    return sizes[0]


def carve(hosts: Sequence[Host], workers: int, *, count: int) -> list[Group]:
    """`count` disjoint groups of `workers` slots each.

    Raises:
        UserError: there are too few slots.
    """
    groups: list[Group] = []
    for _ in range(count):
        groups.append(place(hosts, workers, busy=[slot for group in groups for slot in group.slots]))
    return groups


def place(hosts: Sequence[Host], workers: int, *, busy: Collection[Slot] = ()) -> Group:
    """A group of `workers` slots outside `busy`: on the fullest host that has room, otherwise on few hosts.

    Raises:
        UserError: fewer than `workers` slots are outside `busy`.
    """
    taken = set(busy)
    free = {h.name: [i for i in range(h.slots) if Slot(h.name, i) not in taken] for h in hosts}
    if sum(map(len, free.values())) < workers:
        raise UserError(f"{workers} free slots are requested, found {describe(hosts)}, {len(taken)} of them busy")
    chosen: list[Slot] = []
    while len(chosen) < workers:
        missing = workers - len(chosen)
        roomy = [name for name in free if len(free[name]) >= missing]
        name = min(roomy, key=lambda n: len(free[n])) if roomy else max(free, key=lambda n: len(free[n]))
        chosen += [Slot(name, index) for index in free.pop(name)[:missing]]
    return Group(tuple(chosen))


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
