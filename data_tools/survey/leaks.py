"""Groups of duplicates across splits: leaks from one split into another, and label conflicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_tools.documents.data_set import SPLITS
from data_tools.survey.schema import Crossings, GroupCounts, GroupRow


class Entry(NamedTuple):
    """One line of the label files."""

    split: str
    page_id: str
    class_id: int


class Link(NamedTuple):
    """Two near duplicates: differing bits of their hashes, and their agreement, 0..1."""

    first: str
    second: str
    bits: int
    agreement: float


@dataclass(frozen=True)
class Group:
    """At least two entries of the same page; `links` is empty if all are exact copies.

    `content` is the kind of page: `page`, `blank` or `black`; blank and black pages are only grouped as exact copies.
    """

    entries: tuple[Entry, ...]
    links: tuple[Link, ...]
    content: str

    @property
    def kind(self) -> str:
        """`exact` or `near`."""
        return "near" if self.links else "exact"

    @property
    def conflicting(self) -> bool:
        """Whether entries have different classes."""
        return len({entry.class_id for entry in self.entries}) > 1

    @property
    def splits(self) -> frozenset[str]:
        """The splits of the entries."""
        return frozenset(entry.split for entry in self.entries)


def leaked(groups: Sequence[Group]) -> list[str]:
    """Sorted ids of test pages with an exact or near duplicate among the training pages."""
    return sorted(
        {
            entry.page_id
            for group in groups
            if "train" in group.splits
            for entry in group.entries
            if entry.split == "test"
        }
    )


def crossings(groups: Sequence[Group]) -> Crossings:
    """counts[a][b]: entries of split a that have a duplicate in split b."""
    counts = {split: dict.fromkeys(SPLITS, 0) for split in SPLITS}
    for group in groups:
        per_split = {split: sum(entry.split == split for entry in group.entries) for split in group.splits}
        for here, entries in per_split.items():
            for there in per_split:
                if here != there or entries > 1:
                    counts[here][there] += entries
    return counts


def summary(groups: Sequence[Group]) -> GroupCounts:
    """The counts of `groups` as plain data."""
    exact = [group for group in groups if group.kind == "exact"]
    near = [group for group in groups if group.kind == "near"]
    return {
        "groups": {"exact": len(exact), "near": len(near)},
        "entries": {"exact": _entries(exact), "near": _entries(near)},
        "blank_or_black_groups": sum(group.content != "page" for group in groups),
        "label_conflicts": sum(group.conflicting for group in groups),
        "crossings": {"exact": crossings(exact), "near": crossings(near), "both": crossings(groups)},
    }


def _entries(groups: Sequence[Group]) -> int:
    return sum(len(group.entries) for group in groups)


def as_data(group: Group, class_names: Mapping[int, str]) -> GroupRow:
    """A group as plain data for JSON."""
    return {
        "kind": group.kind,
        "content": group.content,
        "label_conflict": group.conflicting,
        "entries": [
            {"split": split, "page": page_id, "class": class_names[class_id]}
            for split, page_id, class_id in group.entries
        ],
        "links": [
            {"first": link.first, "second": link.second, "bits": link.bits, "agreement": link.agreement}
            for link in group.links
        ],
    }
