"""Folds of labelled pages for bench/accuracy.py: grouped by document, stratified by class, from a seed."""

from collections.abc import Sequence
from pathlib import Path

from data_tools.files import write_atomically
from data_tools.labels.classes.stratified import Member, joined, split_list
from data_tools.labels.label import Label
from data_tools.labels.page_id import document_of
from data_tools.labels.sources import Sources, read_sources
from trainer.job_folder.duplicates import Groups


def read_pages(root: Path, files: Sequence[Path]) -> list[Label]:
    """All labelled pages of some label files or tables, sorted by id, whatever splits they are in.

    Raises:
        UserError: a file cannot be read.
    """
    listed = read_sources(Sources(root=root, places={str(file): file for file in files}))
    found = {label.page_id: label for labels in listed.labels.values() for label in labels}
    return [found[page_id] for page_id in sorted(found)]


def capped(pages: Sequence[Label], count: int) -> list[Label]:
    """The first `count` pages of each class."""
    kept: dict[int, list[Label]] = {}
    for page in pages:
        kept.setdefault(page.class_id, []).append(page)
    return [page for rows in kept.values() for page in rows[:count]]


def folds_of(pages: Sequence[Label], folds: int, *, seed: int, copies: Groups = ()) -> list[list[Label]]:
    """The test pages of each fold: every page in one, the pages of a document or of a group of copies in the same."""
    rest, parts = list(pages), []
    for left in range(folds, 1, -1):
        places = _divide(rest, "test", 1 / left, seed=seed, copies=copies)
        parts.append([page for page in rest if places[page.page_id] == "test"])
        rest = [page for page in rest if places[page.page_id] != "test"]
    return [*parts, rest]


def splits_of(
    parts: Sequence[Sequence[Label]], fold: int, *, val: float, seed: int, copies: Groups = ()
) -> dict[str, list[Label]]:
    """The three splits of a fold: its part is `test`, and the share `val` of the others selects and fits the stack."""
    others = [page for number, part in enumerate(parts) if number != fold for page in part]
    places = _divide(others, "val", val, seed=seed, copies=copies)
    return {
        "train": [page for page in others if places[page.page_id] == "train"],
        "val": [page for page in others if places[page.page_id] == "val"],
        "test": list(parts[fold]),
    }


def _divide(pages: Sequence[Label], split: str, share: float, *, seed: int, copies: Groups) -> dict[str, str]:
    classes = {page.page_id: page.class_id for page in pages}
    members = [Member(page_id, class_id, document_of(page_id)) for page_id, class_id in classes.items()]
    # A page that is named twice joins both groups.
    members += [
        Member(page_id, classes[page_id], f"copies {number}")
        for number, group in enumerate(copies)
        for page_id in group
        if page_id in classes
    ]
    grouped = {member.page_id: member for member in joined(members)}
    return split_list(list(grouped.values()), {split: share, "train": 1 - share}, seed=seed)


def write_labels(folder: Path, splits: dict[str, list[Label]]) -> dict[str, str]:
    """Label files in the official format; their paths by split."""
    paths = {}
    folder.mkdir(parents=True, exist_ok=True)
    for split, pages in splits.items():
        path = folder / f"{split}.txt"
        write_atomically(path, "".join(f"{page.page_id} {page.class_id}\n" for page in pages))
        paths[split] = str(path)
    return paths
