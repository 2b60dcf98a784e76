"""Mutated pages: the converter converts each of them or rejects it with a reason."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.documents.pixels import read_page
from data_tools.documents.regions import PRESETS
from data_tools.shards.reader import ShardSet
from data_tools.shards.verify import check
from tests.helpers.mutated_pages import write_mutated
from tests.helpers.synthetic_pages import page

PAGES = int(os.environ.get("REGIONSTACK_FUZZ_PAGES", "500"))
"""The full run is `REGIONSTACK_FUZZ_PAGES=10000 pytest tests/e2e/test_fuzz.py`."""


def check_fuzz(folder: Path, images: list[np.ndarray], count: int) -> None:
    data = write_mutated(folder, images, count=count, seed=count)
    shards = ShardConfig(folder=str(folder / "s"), height=64, width=48, page_timeout_s=20.0)
    summary = convert(data, shards, regions=PRESETS["halves"], seed=1)
    lines = [json.loads(line) for line in (folder / "s" / "rejected.jsonl").read_text().splitlines()]
    rejected = {line["page"] for line in lines}
    kept = set(ShardSet.open(folder / "s" / "train" / "top").ids.tolist())
    listed = {line.split()[0] for line in (folder / "train.txt").read_text().splitlines()}
    assert kept | rejected == listed
    assert not kept & rejected
    assert summary.rejected == len(lines) == len(rejected)
    assert all(line["reason"] for line in lines)
    assert count / 5 < len(rejected) < count, "the mutations are too mild or too wild to test anything"
    for split in ("train", "val", "test"):
        for region in ("holistic", *PRESETS["halves"]):
            assert check(folder / "s" / split / region, deep=True) == []
    reasons = Counter(line["reason"][:60] for line in lines)
    print(f"{count} pages, {len(rejected)} rejected:", *reasons.most_common(), sep="\n  ")  # noqa: T201


def test_mutated_pages(tmp_path: Path) -> None:
    smooth = [np.sort(page(number, height=120, width=90), axis=number % 2) for number in range(10)]
    check_fuzz(tmp_path, smooth, min(PAGES, 500))


@pytest.mark.real_pages
@pytest.mark.timeout(7200)
def test_mutated_real_pages(tmp_path: Path, real_pages: Path) -> None:
    files = sorted((real_pages / "images").rglob("*.tif"))
    check_fuzz(tmp_path, [read_page(path) for path in files[:: max(1, 2500 // PAGES)]], PAGES)
