"""The drawn data set as a folder: pages, label files in the official format, class names."""

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_tools import config, files
from data_tools.cores import available_cores
from data_tools.documents.data_set import SPLITS
from data_tools.drawn.canvas import draw_on_one_thread, tiff
from data_tools.drawn.classes import CLASS_NAMES, draw_page
from data_tools.errors import UserError

MARKER = "drawn.json"
"""File with the settings of a drawn folder; the folder gets its name only when all pages are drawn."""
VERSION = 1
"""Incremented when a change of the layouts changes the pages of a seed."""
LABEL_NOISE = 0.03
"""Fraction of train pages with a wrong label (RVL-CDIP: about 8 %, arXiv 2306.12550)."""

_CHUNK = 20
_FEW = 200
"""Fewer pages than this are drawn in this process, since starting processes takes longer."""
_NOISE_STREAM = 1 << 20
"""An unused page number; its generator chooses the wrong labels of a class."""

Progress = Callable[[int, int], None]
"""Called with (pages drawn, total pages)."""


@dataclass(frozen=True)
class _Chunk:
    folder: str
    seed: int
    height: int
    split: int
    class_id: int
    numbers: range


def draw_data_set(
    folder: Path,
    *,
    seed: int,
    pages_per_class: Mapping[str, int],
    height: int = 480,
    progress: Progress | None = None,
) -> bool:
    """Draw the demo pages into `folder`, unless it holds them already; returns whether pages were drawn.

    `pages_per_class` is the number of pages of each class for train, val and test; `height` is in pixels. A page
    depends only on (seed, split, class, number) and the height, so a smaller set is the start of a larger one.

    Raises:
        UserError: an invalid setting, or `folder` holds other files or pages with other settings.
    """
    settings = _settings(seed, pages_per_class, height)
    if _is_drawn(folder, settings):
        return False
    total = len(CLASS_NAMES) * sum(pages_per_class.values())
    with files.atomic_folder(folder) as unfinished:
        chunks = list(_plan(unfinished, seed, pages_per_class, height))
        done = 0
        for count in _each_drawn(chunks, total):
            done += count
            if progress:
                progress(done, total)
        for split in SPLITS:
            lines = label_lines(split, seed=seed, pages=pages_per_class[split])
            files.write_atomically(unfinished / "labels" / f"{split}.txt", "".join(f"{line}\n" for line in lines))
        files.write_atomically(unfinished / "classes.txt", "".join(f"{name}\n" for name in CLASS_NAMES))
        files.write_json(unfinished / MARKER, settings)
        # One flush of everything, so that the fsync of each file has nothing left to write.
        os.sync()
    return True


def page_path(split: str, class_id: int, number: int) -> str:
    """Page id of a page: its path in the data set's folder."""
    return f"images/{split}/{CLASS_NAMES[class_id].replace(' ', '_')}/{number:05d}.tif"


def label_lines(split: str, *, seed: int, pages: int) -> list[str]:
    """Lines `path K` of one split, with the classes in turn; a few lines of train have a wrong class."""
    labels = {class_id: _labels(split, class_id, seed, pages) for class_id in range(len(CLASS_NAMES))}
    order = itertools.product(range(pages), labels)
    return [f"{page_path(split, class_id, number)} {labels[class_id][number]}" for number, class_id in order]


def _labels(split: str, class_id: int, seed: int, pages: int) -> list[int]:
    if split != "train":
        return [class_id] * pages
    random = np.random.default_rng([seed, SPLITS.index(split), class_id, _NOISE_STREAM])
    drawn = random.random((pages, 2))
    others = [other for other in range(len(CLASS_NAMES)) if other != class_id]
    return [others[int(which * len(others))] if wrong < LABEL_NOISE else class_id for wrong, which in drawn]


def _settings(seed: int, pages_per_class: Mapping[str, int], height: int) -> dict[str, object]:
    if sorted(pages_per_class) != sorted(SPLITS):
        raise UserError(f"pages_per_class: give a count for each of {', '.join(SPLITS)}")
    for split, pages in pages_per_class.items():
        if not 1 <= pages < _NOISE_STREAM:
            raise UserError(f"pages_per_class.{split}: {pages} pages of each class cannot be drawn; give 1 or more")
    if not 100 <= height <= 2000:
        raise UserError(f"height: pages can be drawn 100 to 2000 pixels high, not {height}")
    if seed < 0:
        raise UserError(f"seed: {seed} must be an integer of at least 0")
    pages_by_split = {split: pages_per_class[split] for split in SPLITS}
    return {"version": VERSION, "seed": seed, "height": height, "pages_per_class": pages_by_split}


def _is_drawn(folder: Path, settings: Mapping[str, object]) -> bool:
    """Whether `folder` holds the pages of `settings`; removes an empty folder."""
    if not folder.exists():
        return False
    if (folder / MARKER).is_file():
        changed = config.differences(files.read_json(folder / MARKER), settings)
        if changed:
            raise UserError(f"{folder}: drawn with other settings ({'; '.join(changed)}); delete it or name another")
        return True
    if not folder.is_dir() or any(folder.iterdir()):
        raise UserError(f"{folder}: holds something else than drawn pages; name another folder")
    folder.rmdir()
    return False


def _plan(folder: Path, seed: int, pages_per_class: Mapping[str, int], height: int) -> Iterable[_Chunk]:
    for (index, split), class_id in itertools.product(enumerate(SPLITS), range(len(CLASS_NAMES))):
        (folder / page_path(split, class_id, 0)).parent.mkdir(parents=True)
        for first in range(0, pages_per_class[split], _CHUNK):
            numbers = range(first, min(first + _CHUNK, pages_per_class[split]))
            yield _Chunk(str(folder), seed, height, index, class_id, numbers)


def _each_drawn(chunks: list[_Chunk], total: int) -> Iterable[int]:
    cores = available_cores()
    if total < _FEW or cores == 1:
        yield from map(_draw_chunk, chunks)
        return
    # spawn, since a forked child of a process with threads (TensorFlow, OpenCV) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(cores, 32), mp_context=context, initializer=draw_on_one_thread) as pool:
        yield from pool.map(_draw_chunk, chunks)


def _draw_chunk(chunk: _Chunk) -> int:
    """Draw and write the pages of one chunk; returns their number."""
    for number in chunk.numbers:
        random = np.random.default_rng([chunk.seed, chunk.split, chunk.class_id, number])
        page = draw_page(CLASS_NAMES[chunk.class_id], random, height=chunk.height)
        path = Path(chunk.folder) / page_path(SPLITS[chunk.split], chunk.class_id, number)
        path.write_bytes(tiff(page))
    return len(chunk.numbers)
