"""The unlabelled pages that a student also learns from: found as `predict` finds pages, converted as the run's were."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.conversion.unlabelled import Reading, convert_unlabelled
from data_tools.errors import UserError
from data_tools.files import read_json, write_json
from data_tools.labels.page_id import document_of
from data_tools.shards.manifest import read_manifest
from data_tools.shards.shard_set import ShardSet
from launch.config import Config
from launch.predict.sources import Source, find_sources
from launch.terminal.console import print_out
from launch.terminal.page_progress import page_progress
from launch.terminal.wording import counted
from trainer.distill.teacher import member_regions
from trainer.job_folder.journal import job_folder
from trainer.soft_targets.config import TEACHER
from trainer.soft_targets.targets import POOL

SOURCES = "pool.json"
"""File in the teacher's folder: the sources that were given, and the number of pages that they gave."""


@dataclass(frozen=True)
class Documents:
    """Files below `root`, by their paths relative to it. left_out: why, and how many, were not taken."""

    root: Path
    names: tuple[str, ...]
    left_out: dict[str, int]


def ensure_pool(config: Config, given: Sequence[str], shards: Path) -> int:
    """Convert the pages of the sources `given`, unless that is done; how many there are, 0 without a source.

    shards: folder of the run's shard sets. Pages of the run's own splits are left out, and what is left out is counted.

    Raises:
        UserError: a source holds no page, none can be read, or an earlier call was given other sources.
    """
    folder = job_folder(config.paths.run, TEACHER)
    sources = [source if source[:1] in "@-" else str(Path(source).absolute()) for source in given]
    before = read_json(folder / SOURCES) if (folder / SOURCES).exists() else None
    if before is not None and before["sources"] != sources:
        raise UserError(
            f"{folder}: was begun with {_said(before['sources'])}, and this command has {_said(sources)}; give the "
            "same again, or delete this folder and that of the student to start over"
        )
    if before is not None:
        return int(before["pages"])
    pages = _convert(config, sources, shards, folder) if sources else 0
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SOURCES, {"sources": sources, "pages": pages})
    return pages


def _said(sources: Sequence[str]) -> str:
    return f"--pool {' '.join(sources)}" if sources else "no --pool"


def _convert(config: Config, sources: Sequence[str], shards: Path, folder: Path) -> int:
    run = config.paths.run
    documents = documents_of(_files(sources), own=_own_pages(config, shards))
    for reason, count in documents.left_out.items():
        print_out(f"--pool: {counted(count, 'file')} left out: {reason}")
    if not documents.names:
        raise UserError(f"--pool {' '.join(sources)}: no page is left to learn from")
    regions = [read_manifest(shards / "train" / region) for region in member_regions(run)]
    with page_progress("converting unlabelled pages") as progress:
        found = convert_unlabelled(
            documents.names,
            root=documents.root,
            like=regions,
            folder=folder / POOL,
            reading=Reading(config.data.pages, config.data.pdf_dpi, config.shards.page_timeout_s),
            workers=config.shards.workers,
            progress=progress,
        )
    rejected = f", {found.rejected} rejected (rejected.jsonl there)" if found.rejected else ""
    print_out(f"{folder / POOL}: {found.count} unlabelled pages{rejected}")
    return found.count


def _files(sources: Sequence[str]) -> list[Source]:
    """The files that the sources name.

    Raises:
        UserError: one of them names none.
    """
    found = find_sources(sources)
    for source in found.files:
        if source.error is not None:
            raise UserError(f"--pool {source.path}: {source.error}")
        if not os.path.lexists(source.path):
            raise UserError(f"--pool {source.path}: no such file or folder")
    if found.skipped:
        print_out(f"--pool: {counted(found.skipped, 'file')} left out: no pages by their suffix")
    return found.files


def _own_pages(config: Config, shards: Path) -> set[str]:
    """Real paths of the documents of the run's own splits, which would be learned twice, or are to be tested on."""
    root = str(config.paths.data_root)
    own = set()
    for split in ("train", "val", "test"):
        shard_set = ShardSet.open(shards / split / "holistic")
        own |= {os.path.realpath(f"{root}/{document_of(page_id)}") for page_id in shard_set.ids.tolist()}
    return own


def documents_of(files: Iterable[Source], *, own: set[str]) -> Documents:
    """The files relative to the folder that holds them all; own: real paths of files to leave out.

    A file that links give several names counts once, by the first of them. A name that is not UTF-8 is no page id.
    """
    paths = list(dict.fromkeys(str(Path(source.path).absolute()) for source in files))
    readable = [path for path in paths if _is_text(path)]
    others = {path: real for path in readable if (real := os.path.realpath(path)) not in own}
    first: dict[str, str] = {}
    for path, real in others.items():
        first.setdefault(real, path)
    wanted = list(first.values())
    left_out = {
        "the name is not UTF-8": len(paths) - len(readable),
        "a page of the run's own splits": len(readable) - len(others),
        "the same file under another name": len(others) - len(wanted),
    }
    root = Path(os.path.commonpath([str(Path(path).parent) for path in wanted])) if wanted else Path("/")
    names = tuple(str(Path(path).relative_to(root)) for path in wanted)
    return Documents(root, names, {reason: count for reason, count in left_out.items() if count})


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
