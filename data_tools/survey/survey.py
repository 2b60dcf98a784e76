"""Survey of a data set before training: sizes, balance, duplicates, and blank, black and unreadable pages."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from data_tools.cores import available_cores
from data_tools.documents.data_set import SPLITS, DataConfig, DataSet, hashed
from data_tools.documents.paged import read_paged_data_set
from data_tools.documents.pages import page_limit
from data_tools.errors import UserError
from data_tools.survey import duplicates, leaks
from data_tools.survey.duplicates import Pairs
from data_tools.survey.fingerprint import HASH_WORDS, NEAR_AGREEMENT, NEAR_BITS, hash_value
from data_tools.survey.leaks import Entry, Group, Link
from data_tools.survey.measure import CompareTask, MeasureSetup, MeasureTask, PageMeasure
from data_tools.workers.pool import Pool

OnProgress = Callable[[int, int, int], None]
"""Called with (pages done, total pages, unreadable pages)."""
OpenProgress = Callable[[str], AbstractContextManager[OnProgress]]
"""Opens a progress display for the activity that the text names."""

PAGES_A_TASK = 64
PAIRS_A_TASK = 32
COMPARED_EACH = 3
"""Nearest look-alikes of a page that are compared in detail."""
PAGE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Survey:
    """The findings. `sample` is the requested number of pages, None for all."""

    root: str
    data_set: DataSet
    measures: Mapping[str, PageMeasure]
    groups: tuple[Group, ...]
    look_alikes: int
    compared: int
    sample: int | None
    seed: int
    workers: int
    seconds: float
    measuring_seconds: float

    @property
    def entries(self) -> list[Entry]:
        """All lines of the label files without duplicate lines, in the order of splits."""
        return entries_of(self.data_set)

    @property
    def leaked(self) -> list[str]:
        """Sorted ids of test pages that have a duplicate among the training pages."""
        return leaks.leaked(self.groups)


def survey(
    data: DataConfig,
    *,
    seed: int,
    sample: int | None = None,
    workers: int | None = None,
    progress: OpenProgress | None = None,
) -> Survey:
    """Measure the pages of `data`, at most `sample` of them, in `workers` processes (None: all cores).

    Raises:
        UserError: labels cannot be read, `sample` is less than 1, or a page's link leads out of the data root.
    """
    if sample is not None and sample < 1:
        raise UserError(f"--sample {sample}: must be at least 1")
    started = time.monotonic()
    data_set = read_paged_data_set(data, seed=seed, workers=workers or available_cores()).data_set
    page_ids = sampled(data_set, sample, seed)
    workers = min(workers or available_cores(), max(1, len(page_ids) // 8))
    target = "data_tools.survey.measure:open_worker"
    setup = MeasureSetup(data.root, data.outside_links, page_limit(data.pages), data.pdf_dpi)
    with Pool(target, setup, workers=workers, item_timeout_s=PAGE_TIMEOUT_S) as pool:
        measures = _measure(pool, page_ids, progress)
        measuring_seconds = time.monotonic() - started
        near = candidates(list(measures.values()))
        chosen = duplicates.nearest(near, each=COMPARED_EACH)
        links = _compare(pool, list(measures.values()), chosen, progress)
    return Survey(
        root=data.root,
        data_set=data_set,
        measures=measures,
        groups=grouped(entries_of(data_set), measures, links),
        look_alikes=len(near.pages),
        compared=len(chosen.pages),
        sample=sample,
        seed=seed,
        workers=workers,
        seconds=time.monotonic() - started,
        measuring_seconds=measuring_seconds,
    )


def entries_of(data_set: DataSet) -> list[Entry]:
    """The lines of the label files, in the order of splits."""
    return [Entry(split, *label) for split in SPLITS for label in data_set.labels[split]]


def sampled(data_set: DataSet, sample: int | None, seed: int) -> list[str]:
    """Unique ids of the pages to read, in the order of the label files; `sample` of them, chosen by `seed`."""
    page_ids = list(dict.fromkeys(entry.page_id for entry in entries_of(data_set)))
    if sample is None or sample >= len(page_ids):
        return page_ids
    chosen = set(sorted(page_ids, key=lambda page_id: hashed(page_id, seed, "survey"))[:sample])
    return [page_id for page_id in page_ids if page_id in chosen]


def _measure(pool: Pool, page_ids: Sequence[str], progress: OpenProgress | None) -> dict[str, PageMeasure]:
    """The measure of each page, in the order of `page_ids`."""
    for first in range(0, len(page_ids), PAGES_A_TASK):
        pool.submit(MeasureTask(page_ids[first : first + PAGES_A_TASK]))
    measures: dict[str, PageMeasure] = {}
    unreadable = 0
    with _shown(progress, "measuring pages") as report:
        for result in pool.results():
            if result is not None:
                measures |= {measure.page_id: measure for measure in result[1]}
                unreadable += sum(measure.kind == "unreadable" for measure in result[1])
            report(len(measures) + pool.items_at_work(), len(page_ids), unreadable)
    return {page_id: measures[page_id] for page_id in page_ids}


def _shown(progress: OpenProgress | None, what: str) -> AbstractContextManager[OnProgress]:
    return progress(what) if progress else nullcontext(lambda done, total, unreadable: None)


def candidates(measures: Sequence[PageMeasure]) -> Pairs:
    """Pairs of positions in `measures` with near hashes; of exact copies, only the first is included.

    Excludes blank and black pages, which all look alike.
    """
    first = duplicates.first_positions([measure.digest for measure in measures])
    places = np.array(
        [place for place, measure in enumerate(measures) if measure.kind == "page" and first[place] == place],
        np.int64,
    )
    hashes = np.array([hash_value(measures[place].hash) for place in places], np.uint64)
    found = duplicates.near_pairs(hashes.reshape(-1, HASH_WORDS), limit=NEAR_BITS)
    return Pairs(places[found.pages], found.distances)


def _compare(pool: Pool, measures: Sequence[PageMeasure], pairs: Pairs, progress: OpenProgress | None) -> list[Link]:
    """The pairs that are near duplicates by the detailed comparison."""
    named = [(measures[first].page_id, measures[second].page_id) for first, second in pairs.pages]
    for start in range(0, len(named), PAIRS_A_TASK):
        pool.submit(CompareTask(named[start : start + PAIRS_A_TASK]))
    agreements: dict[tuple[str, str], float] = {}
    pages = len({page_id for pair in named for page_id in pair})
    with _shown(progress, "comparing look-alikes") as report:
        for result in pool.results():
            if result is not None:
                agreements |= zip(result[0].pairs, result[1], strict=True)
            done = len(agreements) + pool.items_at_work()
            report(pages * done // len(named), pages, 0)
    return [
        Link(*pair, bits, agreements[pair])
        for pair, bits in zip(named, pairs.distances.tolist(), strict=True)
        if agreements[pair] >= NEAR_AGREEMENT
    ]


def grouped(entries: Sequence[Entry], measures: Mapping[str, PageMeasure], links: Sequence[Link]) -> tuple[Group, ...]:
    """The groups of `entries` that are one page: same path, same pixels, or near duplicates by `links`."""
    readable = [
        entry for entry in entries if entry.page_id in measures and measures[entry.page_id].kind != "unreadable"
    ]
    first = duplicates.first_positions([measures[entry.page_id].digest for entry in readable])
    place = {entry.page_id: first[index] for index, entry in enumerate(readable)}
    joins = [(place[link.first], place[link.second]) for link in links]
    joined = duplicates.connected_groups(len(readable), np.array(joins, np.int64).reshape(-1, 2))[first]
    members: dict[int, list[Entry]] = {}
    for group, entry in zip(joined.tolist(), readable, strict=True):
        members.setdefault(group, []).append(entry)
    linked: dict[int, list[Link]] = {}
    for link in links:
        linked.setdefault(int(joined[place[link.first]]), []).append(link)
    return tuple(
        Group(tuple(found), tuple(linked.get(group, ())), measures[found[0].page_id].kind)
        for group, found in members.items()
        if len(found) > 1
    )
