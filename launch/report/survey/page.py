"""A survey's folder: the page of pictures, and the files for machines beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_tools.documents.data_set import SPLITS
from data_tools.documents.regions import Box
from data_tools.files import write_atomically
from data_tools.survey.results import readable, results, write_files
from data_tools.survey.survey import Survey, survey
from launch.config import Config
from launch.console import print_out
from launch.page_progress import page_progress
from launch.report.html import page, percent
from launch.report.plotting import save
from launch.report.survey.charts import class_chart, size_chart
from launch.report.survey.samples import bad_pages, class_samples, duplicate_examples, frames

ROWS_SHOWN = 200
UNEVEN = 2.0
"""A class this many times as frequent as another is worth a word."""


def survey_command(config: Config, folder: Path, *, sample: int | None) -> int:
    """Survey the configuration's pages, write `folder`, and say what was found; returns the exit status."""
    found = survey(config.data, seed=config.seed, sample=sample, workers=config.shards.workers, progress=page_progress)
    path = write_survey(found, folder, regions=config.boxes)
    for line in notes(results(found)):
        print_out(f"note: {line}")
    print_out(
        f"{path}: {_number(len(found.measures), 'page')}, {_number(len(found.leaked), 'test page')} in leaked.txt"
    )
    return 0


def write_survey(found: Survey, folder: Path, *, regions: Mapping[str, Box]) -> Path:
    """Write `survey.html` (one file, nothing loaded), and beside it the files for machines and the charts."""
    write_files(found, folder)
    data = results(found)
    bad = bad_pages(found)
    html = page(
        "survey.html.j2",
        data=data,
        splits=SPLITS,
        notes=notes(data),
        frames=frames(regions),
        pictures=_pictures(found, data, folder / "pictures"),
        samples=class_samples(found),
        examples=duplicate_examples(found),
        bad=bad[:ROWS_SHOWN],
        bad_count=len(bad),
        counts=_counts(data),
        rows_shown=ROWS_SHOWN,
    )
    path = folder / "survey.html"
    write_atomically(path, html)
    return path


def _pictures(found: Survey, data: Mapping[str, Any], folder: Path) -> dict[str, str]:
    measures = {split: readable(found, split) for split in SPLITS}
    drawn = {
        "sizes": save(lambda: size_chart(measures), folder, "sizes"),
        "classes": save(lambda: class_chart(data["classes"]), folder, "classes"),
    }
    return {name: svg for name, svg in drawn.items() if svg is not None}


def _counts(data: Mapping[str, Any]) -> dict[str, int]:
    """Sums over the splits, for the head of the page; a page of two splits counts in both."""
    kinds = data["kinds"].values()
    return {
        "entries": sum(data["entries"].values()),
        **{kind: sum(split[kind] for split in kinds) for kind in ("page", "blank", "black", "unreadable")},
    }


def notes(data: Mapping[str, Any]) -> list[str]:
    """What to know before training, one sentence each; empty where nothing is odd."""
    counts, found = _counts(data), data["duplicates"]
    lines = []
    if not data["complete"]:
        lines.append(
            f"Only a sample was read: {data['measured']:,} of {counts['entries']:,} pages, chosen by the "
            "seed. Duplicates of pages outside the sample are not known, so leaked.txt is incomplete."
        )
    if found["leaked"]:
        share = percent(found["leaked"] / max(data["entries"]["test"], 1), 2)
        lines.append(
            f"{_number(found['leaked'], 'test page')} ({share}) with a duplicate in train: listed in "
            "leaked.txt, so that evaluation can leave them out."
        )
    if found["label_conflicts"]:
        lines.append(f"{_number(found['label_conflicts'], 'group')} of duplicates with labels of different classes.")
    if counts["unreadable"]:
        lines.append(
            f"{_number(counts['unreadable'], 'unreadable page')}: conversion sets them aside (data.max_rejected)."
        )
    if counts["blank"] + counts["black"]:
        lines.append(f"{_number(counts['blank'], 'blank page')} and {_number(counts['black'], 'black one')}.")
    return lines + _balance_notes(data) + _label_notes(data)


def _balance_notes(data: Mapping[str, Any]) -> list[str]:
    present = [entry for entry in data["classes"] if entry["train"]]
    if not present:
        return []
    least, most = (pick(present, key=lambda entry: entry["train"]) for pick in (min, max))
    if most["train"] < UNEVEN * least["train"]:
        return []
    return [
        f"Classes are uneven: {most['name']} has {most['train']:,} training pages, {least['name']} "
        f"{least['train']:,} (data.max_per_class caps the large ones)."
    ]


def _label_notes(data: Mapping[str, Any]) -> list[str]:
    told = {
        "duplicate_line": ("page", "more than once in the same label file, used once"),
        "in_two_splits": ("page", "in more than one split, by the same path"),
        "class_without_pages": ("time", "a class has no page in a split"),
    }
    kinds = [oddity["kind"] for oddity in data["oddities"]]
    return [f"{_number(kinds.count(kind), what)} {text}." for kind, (what, text) in told.items() if kind in kinds]


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
