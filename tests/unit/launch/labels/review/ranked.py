"""A small run with a ranking of its pages, and a sheet for decisions about them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from data_tools.documents.opencv import cv2
from launch.config import load_config, resolved
from launch.labels.ranking import Neighbor, RankedPage, RankingSummary, ranking_folder, write_ranking
from launch.labels.review.decisions import Sheet

NAMES = {0: "letter", 2: "news, daily", 4: "</script><b>memo"}
IDS = ("a/b.png", "=cmd.png", "gone.png", "ü.tif#page=2")


def ranked(rank: int, page_id: str, *, split: str = "train", label: int | None = 2) -> RankedPage:
    return RankedPage(
        id=page_id, split=split, label=label, original=label, likely=4, score=0.9, rank=rank, suspect=True,
        scored_by="stack", probabilities={"holistic": (0.1, 0.3, 0.6), "stack": (0.05, 0.15, 0.8)},
        nearest=(Neighbor(id="a/b.png", label=4, similarity=0.9), Neighbor(id="gone.png", label=2, similarity=0.5)),
    )  # fmt: skip


def make_run(folder: Path, *, pool: bool = False) -> Path:
    """A run folder with a ranking of four pages: two files, one that is gone, and page 2 of a document."""
    pages = folder / "pages"
    (pages / "a").mkdir(parents=True)
    image = np.full((120, 90), 255, np.uint8)
    image[20:60, 10:70] = 0
    cv2.imwrite(str(pages / "a" / "b.png"), image)
    cv2.imwrite(str(pages / "=cmd.png"), image)
    cv2.imwritemulti(str(pages / "ü.tif"), [image, image.T])
    config = load_config("demo", [f"data.root={pages}", f"shards.folder={folder / 'shards'}", "model.weights=none"])
    run = folder / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(resolved(config), sort_keys=False))
    (run / "run.json").write_text('{"created": 5.0, "jobs": []}')
    summary: RankingSummary = {
        "format": 1, "created": 1.0, "kind": "pool" if pool else "splits", "run": "runs/<my>",
        "classes": [{"id": class_id, "name": name} for class_id, name in NAMES.items()], "pages": 1234,
    }  # fmt: skip
    if pool:
        summary["root"] = str(pages)
    listed = [ranked(rank, page_id) for rank, page_id in enumerate(IDS, 1)]
    if pool:
        listed = [replace(page, split="pool", label=None, original=None) for page in listed]
    write_ranking(ranking_folder(run, pool=pool), summary, listed)
    return run


def sheet(path: Path, *, pool: bool = False) -> Sheet:
    split, label = ("pool", None) if pool else ("train", 2)
    pages = [ranked(rank, page_id, split=split, label=label) for rank, page_id in enumerate(IDS, 1)]
    keyed = {(page.split, page.id): page for page in pages}
    return Sheet(path=path, pages=keyed, classes=NAMES, run="runs/<my>", pool=pool)
