"""A survey's files: `survey.json`, `pages.jsonl` with a line for each page, `leaked.txt` for evaluation, and
`duplicates.jsonl` with a line for each group."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.documents.content import BLACK_LEVEL, BLANK_INK
from data_tools.documents.data_set import SPLITS
from data_tools.files import write_atomically, write_json
from data_tools.survey import leaks
from data_tools.survey.fingerprint import NEAR_AGREEMENT, NEAR_BITS
from data_tools.survey.measure import PageMeasure
from data_tools.survey.schema import SurveyResults
from data_tools.survey.survey import COMPARED_EACH, Survey

KINDS = ("page", "blank", "black", "unreadable")
GROUPS_LISTED = 1000
"""Groups of duplicates in `survey.json`, those that cross splits first; its counts include all groups."""

_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def write_files(survey: Survey, folder: Path) -> None:
    """Write the four files into `folder`."""
    write_json(folder / "survey.json", results(survey))
    write_atomically(folder / "pages.jsonl", "".join(f"{line}\n" for line in _page_lines(survey)))
    write_atomically(folder / "leaked.txt", "".join(f"{page_id}\n" for page_id in survey.leaked))
    write_atomically(folder / "duplicates.jsonl", "".join(f"{line}\n" for line in _group_lines(survey)))


def results(survey: Survey) -> SurveyResults:
    """All findings except the measures of pages, as plain data."""
    data_set, entries = survey.data_set, survey.entries
    names = dict(zip(data_set.class_ids, data_set.class_names, strict=True))
    per_class = Counter((entry.split, entry.class_id) for entry in entries)
    ordered = by_interest(survey.groups)
    return {
        "root": survey.root,
        "entries": {split: len(data_set.labels[split]) for split in SPLITS},
        "measured": len(survey.measures),
        "complete": len(survey.measures) == len({entry.page_id for entry in entries}),
        "sample": survey.sample,
        "seed": survey.seed,
        "kinds": {split: kinds(survey, split) for split in SPLITS},
        "left_out": {
            "pages": sum(measure.left_out for measure in survey.measures.values()),
            "documents": sum(measure.left_out > 0 for measure in survey.measures.values()),
        },
        "sizes": {split: _sizes(readable(survey, split)) for split in SPLITS},
        "classes": [
            {
                "id": class_id,
                "name": name,
                "train": per_class["train", class_id],
                "val": per_class["val", class_id],
                "test": per_class["test", class_id],
            }
            for class_id, name in names.items()
        ],
        "duplicates": {
            **leaks.summary(survey.groups),
            "look_alikes": survey.look_alikes,
            "compared": survey.compared,
            "leaked": len(survey.leaked),
        },
        "groups": [leaks.as_data(group, names) for group in ordered[:GROUPS_LISTED]],
        "label_warnings": [
            {
                "kind": warning.kind,
                "split": warning.split,
                "page": warning.page_id,
                "detail": warning.detail,
                "count": warning.count,
            }
            for warning in data_set.label_warnings
        ],
        "limits": {
            "near_bits": NEAR_BITS,
            "near_agreement": NEAR_AGREEMENT,
            "compared_each": COMPARED_EACH,
            "blank_ink": BLANK_INK,
            "black_level": BLACK_LEVEL,
        },
        "workers": survey.workers,
        "seconds": round(survey.seconds, 2),
        "pages_per_s": round(len(survey.measures) / max(survey.measuring_seconds, 1e-9), 1),
    }


def by_interest(groups: Sequence[leaks.Group]) -> list[leaks.Group]:
    """Groups sorted by number of splits, then label conflicts, then size."""
    return sorted(
        groups,
        key=lambda group: (
            group.content != "page",
            -len(group.splits),
            not group.conflicting,
            -len(group.entries),
        ),
    )


def measured(survey: Survey, split: str) -> list[PageMeasure]:
    """Measures of the sampled pages of a split, including unreadable ones."""
    ids = (label.page_id for label in survey.data_set.labels[split])
    return [survey.measures[page_id] for page_id in ids if page_id in survey.measures]


def readable(survey: Survey, split: str) -> list[PageMeasure]:
    """Measures of the readable pages of a split."""
    return [measure for measure in measured(survey, split) if measure.kind != "unreadable"]


def kinds(survey: Survey, split: str) -> dict[str, int]:
    """Number of measured pages of a split by kind."""
    counts = Counter(measure.kind for measure in measured(survey, split))
    return {kind: counts[kind] for kind in KINDS}


def _sizes(measures: Sequence[PageMeasure]) -> dict[str, dict[str, float]]:
    """Quantiles of width and height (pixels), width / height, and ink fraction."""
    columns: dict[str, list[float]] = {
        "width": [measure.width for measure in measures],
        "height": [measure.height for measure in measures],
        "aspect": [measure.width / measure.height for measure in measures],
        "ink": [measure.ink for measure in measures],
    }
    return {name: _quantiles(values) for name, values in columns.items()} if measures else {}


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    found = np.quantile(values, _QUANTILES, method="nearest")
    return {f"{share:g}": round(float(value), 5) for share, value in zip(_QUANTILES, found, strict=True)}


def _page_lines(survey: Survey) -> list[str]:
    """One JSON object for each page: its measure, and its class id by split."""
    classes: dict[str, dict[str, int]] = {}
    for split, page_id, class_id in survey.entries:
        classes.setdefault(page_id, {})[split] = class_id
    return [json.dumps(_line(measure, classes[page_id])) for page_id, measure in survey.measures.items()]


def _group_lines(survey: Survey) -> list[str]:
    """A JSON list of page ids for each group of duplicates but those of blank or black pages, which are all alike."""
    groups = [sorted({entry.page_id for entry in group.entries}) for group in survey.groups if group.content == "page"]
    return [json.dumps(group, ensure_ascii=False) for group in sorted(groups) if len(group) > 1]


def _line(measure: PageMeasure, splits: Mapping[str, int]) -> dict[str, Any]:
    line: dict[str, Any] = {"page": measure.page_id, "splits": splits, "kind": measure.kind}
    if measure.kind == "unreadable":
        return line | {"reason": measure.reason}
    line |= {"left_out": measure.left_out} if measure.left_out else {}
    return line | {
        "width": measure.width,
        "height": measure.height,
        "ink": measure.ink,
        "digest": measure.digest,
        "hash": measure.hash,
    }
