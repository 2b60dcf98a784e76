"""Selects the pages that a survey shows: samples of every class, duplicates side by side, unusable pages."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_tools.documents.data_set import hashed
from data_tools.documents.page_path import split_page_id
from data_tools.documents.pixels import PageError, encode, fit, read_page
from data_tools.documents.regions import WHOLE_PAGE, Box
from data_tools.survey.leaks import Entry, Group
from data_tools.survey.results import by_interest
from data_tools.survey.survey import Survey
from launch.report.plotting import SERIES

HEIGHT_PX = 330
MAX_ASPECT = 2.0
"""A wider page (width / height) is squeezed to this aspect ratio."""
SAMPLES_PER_CLASS = 4
MAX_SAMPLES = 64
EXAMPLES_PER_KIND = 6


class Picture(NamedTuple):
    """A page as a picture. png: in base64; width, height: in pixels."""

    entry: Entry
    class_name: str
    png: str
    width: int
    height: int


class Example(NamedTuple):
    """A group of duplicates and two of its pages.

    bits: hash bits that differ; agreement: share of the ink found on the other page. None for exact copies.
    """

    group: Group
    first: Picture
    second: Picture
    bits: int | None
    agreement: float | None


class Frame(NamedTuple):
    """A region as a frame over a page, drawn `inset_px` inside the box, so that shared edges stay visible."""

    name: str
    box: Box
    color: str
    inset_px: int


def frames(regions: Mapping[str, Box]) -> list[Frame]:
    """A frame for each region except the whole page."""
    shown = [(name, box) for name, box in regions.items() if box != WHOLE_PAGE]
    return [Frame(name, box, SERIES[place % len(SERIES)], 2 * place) for place, (name, box) in enumerate(shown)]


def class_samples(survey: Survey) -> list[tuple[str, list[Picture]]]:
    """Sample pages by class name, selected by the seed, training pages first."""
    data_set = survey.data_set
    per_class = max(1, min(SAMPLES_PER_CLASS, MAX_SAMPLES // len(data_set.class_ids)))
    by_class: dict[int, list[Entry]] = {class_id: [] for class_id in data_set.class_ids}
    for entry in survey.entries:
        measure = survey.measures.get(entry.page_id)
        if measure is not None and measure.kind == "page":
            by_class[entry.class_id].append(entry)
    shown = []
    for class_id, name in list(zip(data_set.class_ids, data_set.class_names, strict=True))[:MAX_SAMPLES]:
        entries = sorted(by_class[class_id], key=lambda entry: hashed(entry.page_id, survey.seed, "samples"))
        entries.sort(key=lambda entry: entry.split != "train")
        shown.append((name, _pictures(survey, entries[:per_class])))
    return shown


def duplicate_examples(survey: Survey) -> dict[str, list[Example]]:
    """Examples of near duplicates and of exact copies by kind (`near`, `exact`), those across splits first."""
    examples: dict[str, list[Example]] = {"near": [], "exact": []}
    for group in by_interest(survey.groups):
        found = examples[group.kind]
        if len(found) < EXAMPLES_PER_KIND and (example := _example(survey, group)):
            found.append(example)
    return examples


def _example(survey: Survey, group: Group) -> Example | None:
    entries = {entry.page_id: entry for entry in group.entries}
    if not group.links:
        pair = _most_different(group.entries)
        pictures = _pictures(survey, pair)
        return Example(group, pictures[0], pictures[1], None, None) if len(pictures) == 2 else None
    link = max(group.links, key=lambda link: (_apart(entries[link.first], entries[link.second]), link.bits))
    pictures = _pictures(survey, [entries[link.first], entries[link.second]])
    if len(pictures) < 2:
        return None
    return Example(group, pictures[0], pictures[1], link.bits, link.agreement)


def _most_different(entries: Sequence[Entry]) -> tuple[Entry, Entry]:
    first = entries[0]
    return first, max(entries[1:], key=lambda entry: _apart(first, entry))


def _apart(first: Entry, second: Entry) -> tuple[bool, bool]:
    return first.split != second.split, first.class_id != second.class_id


def _pictures(survey: Survey, entries: Sequence[Entry]) -> list[Picture]:
    """Pictures of `entries`, without those that can no longer be read."""
    names = dict(zip(survey.data_set.class_ids, survey.data_set.class_names, strict=True))
    pictures = []
    for entry in entries:
        try:
            document, number = split_page_id(entry.page_id)
            page = read_page(Path(survey.root, document), number=number)
        except PageError:
            continue
        width = round(HEIGHT_PX * min(page.shape[1] / page.shape[0], MAX_ASPECT))
        small = fit(page, WHOLE_PAGE, HEIGHT_PX, max(width, 1))
        # At this size, 32 gray levels look the same and halve the file.
        png = encode(np.uint8(0xF8) & small | small >> np.uint8(5), "png")
        picture = Picture(entry, names[entry.class_id], base64.b64encode(png).decode(), width, HEIGHT_PX)
        pictures.append(picture)
    return pictures


class BadPage(NamedTuple):
    """A page that is unreadable, black or blank. detail: why it cannot be read, or its size and ink."""

    page_id: str
    kind: str
    splits: list[str]
    class_name: str
    detail: str


def bad_pages(survey: Survey) -> list[BadPage]:
    """Unreadable, black and blank pages, in this order."""
    entries: dict[str, list[Entry]] = {}
    for entry in survey.entries:
        entries.setdefault(entry.page_id, []).append(entry)
    names = dict(zip(survey.data_set.class_ids, survey.data_set.class_names, strict=True))
    order = ("unreadable", "black", "blank")
    found = sorted(
        (measure for measure in survey.measures.values() if measure.kind in order),
        key=lambda measure: (order.index(measure.kind), measure.page_id),
    )
    return [
        BadPage(
            page_id=measure.page_id,
            kind=measure.kind,
            splits=sorted({entry.split for entry in entries[measure.page_id]}),
            class_name=names[entries[measure.page_id][0].class_id],
            detail=measure.reason or f"{measure.width}\u2009×\u2009{measure.height}, {measure.ink:.2%} ink",
        )
        for measure in found
    ]
