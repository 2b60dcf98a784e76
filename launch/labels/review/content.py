"""The content of a review page as plain data: pages of a ranking with pictures, classes, decisions so far."""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_tools.config import read_yaml
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from launch.config import Config, config_from
from launch.labels.ranking import POOL, RankedPage, Ranking, RankingSummary, ranking_folder, read_ranking
from launch.labels.review.decisions import CORRECTIONS, POOL_LABELS, Sheet, read_decisions
from launch.labels.review.pictures import PageFiles, Picture, pictures
from launch.run.folder import CONFIG
from launch.run.model import shard_folders
from launch.run.record import read_run

MOST = 200
PAGE_PX = 1000
THUMB_PX = 180
"""Longer sides of the pictures of a page and of a near training page."""
TOTAL_BYTES = 24 * 2**20
THUMBS_BYTES = 6 * 2**20
"""Bytes of all pictures of a review, which have smaller pictures where there are many of them."""
LARGEST_BYTES = 300 * 2**10
SMALLEST_BYTES = 8 * 2**10
NEAREST = 5
"""Near training pages that are shown."""


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """What is reviewed. most: pages, from the front of the ranking. table: path of the table of decisions.

    data_root: folder that page ids are relative to; None: as the run's configuration has it.
    """

    run: Path
    pool: bool = False
    most: int = MOST
    table: Path | None = None
    data_root: Path | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.most < 1:
            raise UserError(f"--most: must be 1 or more, is {self.most}")


@dataclass(frozen=True)
class Review:
    """An open review. missing: pages that can no longer be read."""

    sheet: Sheet
    data: dict[str, Any]
    missing: int


def open_review(options: ReviewOptions, *, on_page: Callable[[int, int], None] = lambda done, total: None) -> Review:
    """Read the ranking, the pictures of its first pages, and the decisions so far.

    on_page: called with the number of pages that have been looked for, and of all.

    Raises:
        UserError: there is no ranking, or it or a table of decisions is damaged.
    """
    folder = ranking_folder(options.run, pool=options.pool)
    ranking = read_ranking(folder, most=options.most)
    summary = ranking.summary
    classes = {int(entry["id"]): str(entry["name"]) for entry in summary["classes"]}
    table = options.table or folder / (POOL_LABELS if options.pool else CORRECTIONS)
    sheet = Sheet(
        path=table,
        pages={(page.split, page.id): page for page in ranking.pages},
        classes=classes,
        run=str(summary["run"]),
        pool=options.pool,
    )
    files = page_files(options, summary)
    shown = _pictures_of(ranking.pages, files, on_page)
    missing = sum(picture is None for picture in shown)
    data = _data(options, ranking, sheet, shown) | {
        "thumbs": _thumbs(ranking, page_files(options, summary, pool=False))
    }
    return Review(sheet, {**data, "unreadable": missing}, missing)


def page_files(options: ReviewOptions, summary: RankingSummary, *, pool: bool | None = None) -> PageFiles:
    """Where the pages of a ranking lie; pool: those of the pool instead of the run's own (None: as in `options`)."""
    config = config_from(read_yaml(options.run / CONFIG))
    of_pool = options.pool if pool is None else pool
    root = options.data_root if options.data_root and of_pool == options.pool else None
    if root is None:
        root = Path(summary.get("root", ".")) if of_pool else Path(config.data.root)
    return PageFiles(
        roots=[root] if root.is_absolute() else [Path.cwd() / root, *_beside(options.run, root)],
        outside_links=config.data.outside_links,
        shards=_shards(options.run, config, summary),
        color=config.shards.color,
        dpi=config.data.pdf_dpi,
    )


def _beside(run: Path, root: Path) -> list[Path]:
    """Where a relative data root may lie if the run was made in another folder, or moved with its data."""
    absolute = run.resolve()
    return [parent / root for parent in (absolute, *absolute.parents[:4])]


def _shards(run: Path, config: Config, summary: RankingSummary) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in shard_folders(run, [*filter(None, [summary.get("shards")]), config.shards.folder]):
        for split in ("train", "val", "test"):
            if (folder / split / HOLISTIC / "manifest.json").is_file():
                found.setdefault(split, folder / split / HOLISTIC)
    return found


def _pictures_of(
    pages: Sequence[RankedPage], files: PageFiles, on_page: Callable[[int, int], None]
) -> list[Picture | None]:
    """The picture of each page, in order; None for one that can no longer be read."""
    most = min(LARGEST_BYTES, max(SMALLEST_BYTES, TOTAL_BYTES // max(1, len(pages))))
    done = itertools.count(1)
    found = {
        split: pictures(
            files,
            split,
            [page.id for page in pages if page.split == split],
            px=PAGE_PX,
            most_bytes=most,
            on_page=lambda: on_page(next(done), len(pages)),
        )
        for split in dict.fromkeys(page.split for page in pages)
    }
    return [found[page.split].get(page.id) for page in pages]


def _thumbs(ranking: Ranking, files: PageFiles) -> dict[str, str]:
    """Pictures of the near training pages that are shown, by page id."""
    ids = list(dict.fromkeys(one.id for page in ranking.pages for one in page.nearest[:NEAREST]))
    most = max(2**10, THUMBS_BYTES // max(1, len(ids)))
    found = pictures(files, "train", ids, px=THUMB_PX, most_bytes=most)
    return {page_id: picture.uri for page_id, picture in found.items()}


def _data(options: ReviewOptions, ranking: Ranking, sheet: Sheet, shown: Sequence[Picture | None]) -> dict[str, Any]:
    created = read_run(options.run).run.get("created")
    mark = f"{POOL if options.pool else 'labels'} {options.run.resolve().name} {created}"
    return {
        "kind": POOL if options.pool else "labels",
        "key": f"regionstack-review-{hashlib.sha256(mark.encode()).hexdigest()[:16]}",
        "run": sheet.run,
        "file": sheet.path.name,
        "columns": list(sheet.columns),
        "classes": [{"id": class_id, "name": name} for class_id, name in sheet.classes.items()],
        "total": ranking.summary["pages"],
        "pages": [_page(page, picture) for page, picture in zip(ranking.pages, shown, strict=True)],
        "decisions": [asdict(decision) for decision in read_decisions(sheet)],
        "serve": False,
    }


def _page(page: RankedPage, picture: Picture | None) -> Mapping[str, Any]:
    value = {**asdict(page), "nearest": [asdict(one) for one in page.nearest[:NEAREST]]}
    return {**value, "picture": picture.uri if picture else None, "small": bool(picture and picture.small)}
