"""The commands on real page scans: classes other than 0..n-1, transfer from trained weights, a missing page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_tools.files import read_json, read_lines
from tests.helpers.commands import regionstack

CLASSES = [0, 2, 4, 6, 9]
NAMES = {0: "letter", 2: "email", 4: "advertisement", 6: "scientific publication", 9: "news article"}
MOBILENET = "mobilenet_v2_notop.weights.h5"


def write_config(folder: Path, pages: Path, weights: Path) -> Path:
    """Five classes of the real pages and two regions; one line of the training labels names no file."""
    missing = "images/00/there-is-no-such-page.tif 0\n"
    (folder / "train.txt").write_text((pages / "labels" / "train.txt").read_text() + missing)
    optimizer = {"name": "adam", "learning_rate": 1e-3}
    common = {"epochs": 2, "global_batch": 16, "optimizer": optimizer}
    config = {
        "preset": "demo",
        "data": {"root": str(pages), "train": str(folder / "train.txt"), "val": str(pages / "labels" / "val.txt"),
                 "test": str(pages / "labels" / "test.txt"), "class_names": [f"{i} {n}" for i, n in NAMES.items()],
                 "classes": CLASSES, "max_rejected": 1},
        "regions": {"top": [0, 0, 1, 0.5], "left": [0, 0, 0.5, 1]},
        "shards": {"folder": str(folder / "shards"), "height": 64, "width": 64},
        "model": {"backbone": "MobileNetV2", "weights": str(weights) if weights.exists() else "none", "dense": [32]},
        "stages": {"holistic_32": {"image_px": 32, **common}, "holistic_64": None,
                   "regions": {"image_px": 64, "start": "holistic_32", **common}},
        "cluster": {"slots": 2},
        "run": {"folder": str(folder / "run")},
    }  # fmt: skip
    path = folder / "real.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@pytest.mark.real_pages
def test_the_recipe_on_real_pages(real_pages: Path, tmp_path: Path) -> None:
    weights = real_pages.parent / "weights" / MOBILENET
    config = write_config(tmp_path, real_pages, weights)
    output = regionstack("convert", "--config", str(config))
    assert "1 pages rejected" in output
    rejected = read_lines(tmp_path / "shards" / "rejected.jsonl")
    assert len(rejected) == 1
    assert "no-such-page" in json.dumps(rejected[0])
    assert rejected[0]["reason"] == "no such file"
    manifest = read_json(tmp_path / "shards" / "train" / "top" / "manifest.json")
    assert manifest["class_ids"] == CLASSES
    assert manifest["class_names"] == list(NAMES.values())

    output = regionstack("train-all", "--config", str(config))
    folder = tmp_path / "run"
    assert f"report: {folder / 'report.html'}" in output
    start = read_json(folder / "jobs" / "holistic_32" / "result.json")["start"]
    assert start["kind"] == ("weights" if weights.exists() else "fresh")
    lines = [line.rpartition(" ") for line in (real_pages / "labels" / "test.txt").read_text().split("\n") if line]
    expected = {page: CLASSES.index(int(number)) for page, _, number in lines if int(number) in CLASSES}
    for job in ("holistic_32", "top", "left", "stack"):
        predictions = np.load(folder / "jobs" / job / "predictions" / "test.npz", allow_pickle=False)
        ids = [page.decode() if isinstance(page, bytes) else str(page) for page in predictions["ids"]]
        assert dict(zip(ids, predictions["labels"].tolist(), strict=True)) == expected, "each test page once, by its id"
        assert predictions["class_ids"].tolist() == CLASSES
        np.testing.assert_allclose(predictions["softmax"].sum(axis=1), 1, atol=1e-4)
    report = (folder / "report.html").read_text()
    for name in NAMES.values():
        assert name in report
    page = real_pages / next(iter(expected))
    assert re.search("|".join(NAMES.values()), regionstack("predict", str(folder), str(page)))
