"""`regionstack survey`: writes `survey.html` with its charts, next to the survey's data files."""

from collections.abc import Mapping
from pathlib import Path

from data_tools.documents.data_set import SPLITS
from data_tools.documents.regions import Box
from data_tools.files import write_atomically
from data_tools.survey.results import readable, results, write_files
from data_tools.survey.schema import SurveyResults
from data_tools.survey.survey import Survey, survey
from launch.config import Config
from launch.report.html import page, percent
from launch.report.plotting import save
from launch.report.survey.charts import class_chart, size_chart
from launch.report.survey.samples import bad_pages, class_samples, duplicate_examples, frames
from launch.terminal.console import print_out
from launch.terminal.page_progress import page_progress
from launch.terminal.wording import counted

ROWS_SHOWN = 200
UNBALANCED = 2.0
"""Classes count as unbalanced if one has at least this many times the training pages of another."""


def survey_command(config: Config, folder: Path, *, sample: int | None) -> int:
    """Survey the configuration's pages, write `folder` and print the notes; returns the exit status.

    sample: Read only this many pages, selected by the seed; None for all.
    """
    found = survey(config.data, seed=config.seed, sample=sample, workers=config.shards.workers, progress=page_progress)
    path = write_survey(found, folder, regions=config.boxes)
    for line in notes(results(found)):
        print_out(f"note: {line}")
    print_out(
        f"{path}: {counted(len(found.measures), 'page')} read, {counted(len(found.leaked), 'test page')} in leaked.txt"
    )
    return 0


def write_survey(found: Survey, folder: Path, *, regions: Mapping[str, Box]) -> Path:
    """Write `survey.html` (self-contained), the charts and the data files; returns the path of the page."""
    write_files(found, folder)
    data = results(found)
    bad = bad_pages(found)
    html = page(
        "survey.html.j2",
        data=data,
        splits=SPLITS,
        notes=notes(data),
        frames=frames(regions),
        pictures=_pictures(found, data, folder=folder / "pictures"),
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


def _pictures(found: Survey, data: SurveyResults, *, folder: Path) -> dict[str, str]:
    measures = {split: readable(found, split) for split in SPLITS}
    drawn = {
        "sizes": save(lambda: size_chart(measures), folder / "sizes.png"),
        "classes": save(lambda: class_chart(data["classes"]), folder / "classes.png"),
    }
    return {name: svg for name, svg in drawn.items() if svg is not None}


def _counts(data: SurveyResults) -> dict[str, int]:
    """Sums over the splits; a page in two splits counts twice."""
    kinds = data["kinds"].values()
    return {
        "entries": sum(data["entries"].values()),
        **{kind: sum(split[kind] for split in kinds) for kind in ("page", "blank", "black", "unreadable")},
    }


def notes(data: SurveyResults) -> list[str]:
    """Problems to know about before training, one sentence each."""
    counts, found = _counts(data), data["duplicates"]
    lines = []
    if not data["complete"]:
        lines.append(
            f"Only a sample was read: {data['measured']:,} of {counts['entries']:,} pages, selected by the "
            "seed. Duplicates outside the sample are unknown, so leaked.txt is incomplete."
        )
    if found["leaked"]:
        share = percent(found["leaked"] / max(data["entries"]["test"], 1), 2)
        lines.append(
            f"{counted(found['leaked'], 'test page')} ({share}) with a duplicate in train; leaked.txt "
            "lists them, see stack.exclude_ids_file."
        )
    if found["label_conflicts"]:
        lines.append(f"{counted(found['label_conflicts'], 'group')} of duplicates with different labels.")
    if counts["unreadable"]:
        lines.append(
            f"{counted(counts['unreadable'], 'unreadable page')}, which the conversion rejects; "
            "it stops if they exceed data.max_rejected."
        )
    if counts["blank"] + counts["black"]:
        lines.append(f"{counted(counts['blank'], 'blank page')} and {counted(counts['black'], 'black page')}.")
    if data["left_out"]["pages"]:
        documents = counted(data["left_out"]["documents"], "document")
        lines.append(f"{counted(data['left_out']['pages'], 'page')} of {documents} left out by data.pages.")
    return lines + _balance_notes(data) + _label_notes(data)


def _balance_notes(data: SurveyResults) -> list[str]:
    present = [entry for entry in data["classes"] if entry["train"]]
    if not present:
        return []
    least, most = (pick(present, key=lambda entry: entry["train"]) for pick in (min, max))
    if most["train"] < UNBALANCED * least["train"]:
        return []
    return [
        f"Classes are unbalanced: {most['name']} has {most['train']:,} training pages, {least['name']} "
        f"{least['train']:,}; data.max_per_class caps the large ones, and "
        "data.class_weights: balanced weights the loss."
    ]


def _label_notes(data: SurveyResults) -> list[str]:
    texts = {
        "duplicate_line": ("page", "listed more than once in a label file and used once"),
        "in_two_splits": ("page", "in more than one split, by the same path"),
        "class_without_pages": ("pair", "of class and split without pages"),
    }
    warnings = data["label_warnings"]
    kinds = [warning["kind"] for warning in warnings]
    counts = [f"{counted(kinds.count(kind), what)} {text}." for kind, (what, text) in texts.items() if kind in kinds]
    return counts + [f"{warning['detail']}." for warning in warnings if warning["kind"] not in texts]
