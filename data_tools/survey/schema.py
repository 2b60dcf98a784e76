"""Schema of `survey.json`. Keys of `dict`s that are not described are the splits: train, val, test."""

from typing import TypedDict


class ClassCounts(TypedDict):
    """One class and its lines in each label file."""

    id: int
    name: str
    train: int
    val: int
    test: int


class KindCounts(TypedDict):
    """Values for exact and for near duplicates."""

    exact: int
    near: int


Crossings = dict[str, dict[str, int]]
"""`[here][there]`: pages of one split that have a duplicate in another."""


class CrossingTables(TypedDict):
    """Crossings of exact duplicates, of near duplicates, and of both together."""

    exact: Crossings
    near: Crossings
    both: Crossings


class GroupCounts(TypedDict):
    """Groups of duplicates and the entries in them. label_conflicts: groups with more than one class."""

    groups: KindCounts
    entries: KindCounts
    blank_or_black_groups: int
    label_conflicts: int
    crossings: CrossingTables


class DuplicateCounts(GroupCounts):
    """look_alikes: pairs with similar hashes; compared: pairs compared in detail; leaked: test pages in train."""

    look_alikes: int
    compared: int
    leaked: int


# `class` is a keyword, so this schema needs the functional form.
GroupEntry = TypedDict("GroupEntry", {"split": str, "page": str, "class": str})
"""A line of a label file in a group of duplicates; class: its name."""


class LinkRow(TypedDict):
    """Two near duplicates. bits: hash bits that differ; agreement: share of inked tiles found on the other page."""

    first: str
    second: str
    bits: int
    agreement: float


class GroupRow(TypedDict):
    """A group of duplicates. kind: exact or near; content: page, blank or black."""

    kind: str
    content: str
    label_conflict: bool
    entries: list[GroupEntry]
    links: list[LinkRow]


class WarningRow(TypedDict):
    """A label warning; page: None for a warning about more than one page. See `LabelWarning`."""

    kind: str
    split: str
    page: str | None
    detail: str
    count: int


class LeftOut(TypedDict):
    """Pages that `data.pages` leaves out of the measured documents, and the documents that have such pages."""

    pages: int
    documents: int


class Limits(TypedDict):
    """The thresholds of the survey; see docs/survey.md."""

    near_bits: int
    near_agreement: float
    compared_each: int
    blank_ink: float
    black_level: int


class SurveyResults(TypedDict):
    """Content of `survey.json`.

    entries: lines of the label files. measured: distinct pages read. complete: whether that is all pages; if not,
    sample is the number asked for. kinds[split]: pages by kind (page, blank, black, unreadable). sizes[split]: for
    width, height (pixels), aspect and ink, the values by quantile; empty without a readable page. groups: the first
    1,000 groups of duplicates. seconds: of the survey; pages_per_s: while reading.
    """

    root: str
    entries: dict[str, int]
    measured: int
    complete: bool
    sample: int | None
    seed: int
    kinds: dict[str, dict[str, int]]
    left_out: LeftOut
    sizes: dict[str, dict[str, dict[str, float]]]
    classes: list[ClassCounts]
    duplicates: DuplicateCounts
    groups: list[GroupRow]
    label_warnings: list[WarningRow]
    limits: Limits
    workers: int
    seconds: float
    pages_per_s: float
