"""The split of one list into train, val and test: stratified by class, and groups stay together. Pure functions."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from data_tools.errors import UserError
from data_tools.labels.label import ALL, SPLITS, Label
from data_tools.labels.page_id import document_of

DOCUMENT = ("document", "file")
FOLDER = "folder"
_ENOUGH_GROUPS = 3
"""Groups of a class from which on each split gets one at least."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How a list is divided; section `data.split` of the configuration.

    val, test: fractions of the pages. by: what is never divided, besides the pages of a file: nothing else for
    `document` (or `file`), a `folder`, or what the table's column of that name says. seed: another seed gives another
    split.
    """

    val: float = 0.1
    test: float = 0.1
    seed: int = 1
    by: str = DOCUMENT[0]

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("val", "test"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name}: {getattr(self, name)} must be at least 0 and less than 1")
        if not self.val + self.test < 1:
            raise UserError(f"val, test: {self.val:g} + {self.test:g} leaves no page to train on")
        if not self.by:
            raise UserError("by: must be document, folder, or the name of a column")


Groups = Mapping[str, Mapping[int, int]]
"""Pages by class of each group."""


class Member(NamedTuple):
    """A page of a list with its class and its group."""

    page_id: str
    class_id: int
    group: str


def divide(
    labels: Mapping[str, list[Label]], groups: Mapping[str, str], config: SplitConfig | None
) -> dict[str, list[Label]]:
    """The labels of all three splits. Those that no source gives are divided off the list `ALL`, or off `train`.

    groups: by page id, the value of the column `config.by`.

    Raises:
        UserError: a list without `config`, or a page without a group.
    """
    missing = [split for split in SPLITS if not labels.get(split)]
    pool = labels.get(ALL) or labels.get("train")
    if config is not None and not missing:
        raise UserError("data.split: has no effect, because train, val and test are given; remove it or a split")
    if config is None or not pool:
        if labels.get(ALL):
            raise UserError(
                "data.labels: the source does not give the split of a page; name its column with data.columns: "
                "{split: COLUMN}, or divide the pages with data.split: {val: 0.1, test: 0.1}"
            )
        return {split: labels.get(split, []) for split in SPLITS}
    shares = {"val": config.val, "test": config.test}
    shares = {split: share for split, share in shares.items() if split in missing and share}
    shares["train"] = 1 - sum(shares.values())
    members = joined([Member(*label, group_of(label.page_id, config.by, groups)) for label in pool])
    places = split_list(members, shares, seed=config.seed)
    divided = {split: [label for label in pool if places[label.page_id] == split] for split in shares}
    for split, found in divided.items():
        if not found:
            units = len({member.group for member in members})
            raise UserError(
                f"data.split: no page is left for {split}: {len(pool)} pages in {units} groups by {config.by}; a class "
                "needs three groups to be in every split; choose another data.split.by, or add pages"
            )
    return {split: labels.get(split, []) for split in SPLITS} | divided


def group_of(page_id: str, by: str, groups: Mapping[str, str]) -> str:
    """The group of a page: the value of the column `by`, or its folder or document.

    Raises:
        UserError: the column has no value for the page.
    """
    if groups.get(page_id):
        return groups[page_id]
    if by == FOLDER:
        return str(PurePosixPath(page_id).parent)
    if by in DOCUMENT:
        return document_of(page_id)
    raise UserError(f"data.split.by: {page_id} has no value in a column {by!r}; name a column, document, or folder")


def joined(members: Sequence[Member]) -> list[Member]:
    """`members` with one group for all groups that share a document, whose pages are never divided either."""
    first: dict[str, str] = {}
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.get(group, group) != group:
            group = parent[group]
        return group

    for member in members:
        other = first.setdefault(document_of(member.page_id), member.group)
        low, high = sorted((root(other), root(member.group)))
        parent[high] = low
    return [member._replace(group=root(member.group)) for member in members]


def split_list(members: Sequence[Member], shares: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """The split of each page, by page id; `shares` are the fractions of the splits, `train` among them.

    Every class gets its share in each split as nearly as whole groups allow; a class of at least three groups has a
    page in each. The result depends on the set of members and the seed, not on their order.
    """
    groups: dict[str, dict[int, int]] = {}
    for member in members:
        counts = groups.setdefault(member.group, {})
        counts[member.class_id] = counts.get(member.class_id, 0) + 1
    places = _assign(groups, {split: shares[split] for split in SPLITS if shares.get(split)}, seed)
    return {member.page_id: places[member.group] for member in members}


def _assign(groups: Groups, shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The split of each group, large groups first: where it brings the classes closest to their targets."""
    missing = _targets(groups, shares)
    pages = {class_id: sum(counts[class_id] for counts in missing.values()) for class_id in missing["train"]}
    places: dict[str, str] = {}
    for group in sorted(groups, key=lambda group: (-sum(groups[group].values()), _hashed(group, seed))):
        counts = sorted(groups[group].items())
        least = float("inf")
        for split, targets in missing.items():
            # Change of the sum of squared distances to the targets, relative to the size of each class.
            cost = 0.0
            for class_id, n in counts:
                cost += n * (n - 2 * targets[class_id]) / pages[class_id]
            cost = round(cost, 9)
            if cost < least:
                least, places[group] = cost, split
        for class_id, n in counts:
            missing[places[group]][class_id] -= n
    return places


def _targets(groups: Groups, shares: Mapping[str, float]) -> dict[str, dict[int, float]]:
    """Pages of each class that each split should get."""
    pages: Counter[int] = Counter()
    units: Counter[int] = Counter()
    for counts in groups.values():
        for class_id, count in counts.items():
            pages[class_id] += count
            units[class_id] += 1
    targets: dict[str, dict[int, float]] = {split: {} for split in shares}
    for class_id, count in pages.items():
        least = 1.0 if units[class_id] >= _ENOUGH_GROUPS else 0.0
        own = {split: max(least, share * count) for split, share in shares.items() if split != "train"}
        # Train gets a group of mean size at least, so that a class of one group is there.
        most = count * (units[class_id] - 1) / units[class_id]
        scale = min(1.0, most / sum(own.values())) if own else 1.0
        for split, share in own.items():
            targets[split][class_id] = share * scale
        targets["train"][class_id] = count - scale * sum(own.values())
    return targets


def _hashed(group: str, seed: int) -> tuple[bytes, str]:
    return hashlib.blake2b(f"split:{seed}:{group}".encode("utf-8", "surrogateescape"), digest_size=8).digest(), group
