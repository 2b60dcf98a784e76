"""The ranking of pages by how likely their label is wrong, or by how useful a label would be: its files.

`RUN/labels/ranking.jsonl` holds one JSON object a page, the most suspicious page first; `RUN/labels/summary.json` what
holds for all of them. A ranking of unlabelled pages is in `RUN/labels/pool` under the same names and in the same form.
The review page reads both. docs/wrong_labels.md describes the fields for readers in other languages.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from data_tools.config import from_mapping
from data_tools.errors import UserError
from data_tools.files import open_output, read_json, write_atomically, write_json

FORMAT = 1
"""Version of the files; a reader refuses any other."""
FOLDER = "labels"
POOL_FOLDER = "labels/pool"
RANKING = "ranking.jsonl"
SUMMARY = "summary.json"
DECISIONS = "corrections.csv"
POOL = "pool"
"""In place of a split, in a ranking of unlabelled pages."""
DIGITS = 4
"""Decimal digits of probabilities, scores and similarities in the file."""
_ANEW = "regionstack labels RUN writes it anew"


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """A training page that is near in the space of the model's features. similarity: cosine, -1 to 1."""

    id: str
    label: int
    similarity: float


@dataclass(frozen=True, kw_only=True)
class RankedPage:
    """One page of a ranking. (split, id) identifies it; labels are class ids as in the label files.

    split: `train`, `val`, `test`, or `pool` for an unlabelled page. label: as the run was trained on, None for
    an unlabelled page. original: label in the shards, which differs where the run has a correction; a new correction of
    the page replaces that one and names this label.
    likely: the class that the outputs named `scored_by` find most likely. score: 0 to 1, 1 for the most suspicious or
    most useful page. rank: from 1. suspect: whether the page counts as wrongly labelled in the summary's estimate.
    probabilities: by model, each in the order of the summary's classes. They are outputs of models that did not learn
    from this page's label; members without such outputs for the page are absent.
    nearest: training pages, the nearest first; only for the first pages of a ranking.
    """

    id: str
    split: str
    label: int | None
    original: int | None
    likely: int
    score: float
    rank: int
    suspect: bool
    scored_by: str
    probabilities: dict[str, tuple[float, ...]]
    nearest: tuple[Neighbor, ...] = ()


class SplitSummary(TypedDict):
    """One split of a ranking. outputs: where the probabilities come from: `predictions` (recorded outputs for pages
    that were not trained on), `folds` (out-of-fold predictions) or `features` (a cross-fitted regression on features).

    wrong: estimated share of wrong labels; wrong_interval: 95 %.
    """

    pages: int
    outputs: str
    suspects: int
    wrong: float
    wrong_interval: list[float]


class RankingSummary(TypedDict):
    """The content of `summary.json`.

    classes: id and name, in the order of the probabilities. joint[given][likely]: estimated pages, of all splits, by
    the class in the label files and the class that they most likely belong to. root: folder that the ids of a pool
    are relative to. shards: folder of the shards with the pages. corrections: SHA-256 of the corrections that the run
    was trained with; None without.
    """

    format: int
    created: float
    kind: str
    run: str
    classes: list[dict[str, Any]]
    pages: int
    splits: NotRequired[dict[str, SplitSummary]]
    joint: NotRequired[list[list[float]]]
    root: NotRequired[str]
    shards: NotRequired[str]
    corrections: NotRequired[str | None]


@dataclass(frozen=True)
class Ranking:
    """A ranking as its two files hold it; pages in the order of their rank."""

    summary: RankingSummary
    pages: Sequence[RankedPage]


def ranking_folder(run: Path, *, pool: bool = False) -> Path:
    """Where a run keeps its ranking of labels, or that of unlabelled pages."""
    return run / (POOL_FOLDER if pool else FOLDER)


def write_ranking(folder: Path, summary: RankingSummary, pages: Iterable[RankedPage]) -> None:
    """Write both files atomically, the summary last: a ranking with a summary is complete.

    Raises:
        OSError: a file cannot be written.
    """
    (folder / SUMMARY).unlink(missing_ok=True)
    with open_output(folder / RANKING) as file:
        for page in pages:
            value = vars(page) | {"nearest": [vars(one) for one in page.nearest]}
            file.write(json.dumps(_rounded(value), separators=(",", ":")).encode() + b"\n")
    write_json(folder / SUMMARY, summary)


def begin_decisions(folder: Path, corrections: Path) -> None:
    """Begin the table of decisions beside a ranking with the corrections that its run was made with, if it has any.

    The table of a review then holds the decisions of all rounds, and the next run loses none. A table that exists
    stays as it is.

    Raises:
        OSError: the table cannot be written.
    """
    table = folder / DECISIONS
    if corrections.is_file() and not table.exists():
        write_atomically(table, corrections.read_bytes())


def read_ranking(folder: Path, *, most: int | None = None) -> Ranking:
    """The ranking in `folder`; its first `most` pages, None: all.

    Raises:
        UserError: there is no complete ranking, it is corrupt, or it has another version.
    """
    if not (folder / SUMMARY).exists():
        raise UserError(f"{folder}: no ranking of pages; write it with `regionstack labels RUN`")
    summary = read_json(folder / SUMMARY)
    if not isinstance(summary, dict) or summary.get("format") != FORMAT or not _is_complete(summary):
        raise UserError(f"{folder / SUMMARY}: not a ranking of format {FORMAT}; {_ANEW}")
    pages = _read_pages(folder / RANKING, most)
    if summary["pages"] and not _ends_with_a_line(folder / RANKING):
        raise UserError(f"{folder / RANKING}: corrupt (cut off); {_ANEW}")
    return Ranking(cast(RankingSummary, summary), pages)


def _is_complete(summary: dict[str, Any]) -> bool:
    kinds: dict[str, Any] = {"created": int | float, "kind": str, "run": str, "classes": list, "pages": int}
    return all(isinstance(summary.get(name), kind) for name, kind in kinds.items())


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() == b"\n"


def _read_pages(path: Path, most: int | None) -> list[RankedPage]:
    pages: list[RankedPage] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if most is not None and number > most:
                    break
                pages.append(from_mapping(RankedPage, json.loads(line), where=f"line {number}"))
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{path}: corrupt ({error}); {_ANEW}") from None
    return pages


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
