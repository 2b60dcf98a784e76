"""What a report takes from the shards, and that it keeps it for the time when they are gone."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_tools.conversion.convert import DataConfig, ShardConfig, convert
from launch.report.report import write_report
from launch.report.shard_pages import png_of
from tests.unit.launch.run_folder import START, RunSpec, build

NAMES = ("cats & dogs", "birds")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pages, their shards, and a run over them that does not know the classes' names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("launch.report.report.draw_pictures", lambda *_, **__: {})
    for split, pages in (("train", 2), ("val", 2), ("test", 6)):
        lines = []
        for number in range(pages):
            name = f"images/{split}-{number:05d}.png"
            Path("images").mkdir(exist_ok=True)
            Image.fromarray(np.full((44, 34), 20 * number, np.uint8)).save(name)
            lines.append(f"{name} {number % 2}\n")
        Path(f"{split}.txt").write_text("".join(lines))
    Path("names.txt").write_text("\n".join(NAMES) + "\n")
    data = DataConfig(root=".", train="train.txt", val="val.txt", test="test.txt", class_names="names.txt")
    convert(data, ShardConfig(folder="shards", height=22, width=17), regions={}, seed=1, workers=1)
    ids = [f"images/test-{number:05d}.png" for number in range(6)]
    run = build(tmp_path / "run", RunSpec(classes=2, pages=6, test_ids=ids, done=("holistic_128",)))
    about = json.loads((run / "run.json").read_text())
    del about["classes"]
    (run / "run.json").write_text(json.dumps(about))
    return run


def pictures(report: Path) -> list[int]:
    """The gray value of every embedded page, in order, after checking its size."""
    found = []
    for text in re.findall(r"data:image/png;base64,([^\"]+)", report.read_text()):
        image = Image.open(io.BytesIO(base64.b64decode(text)))
        assert image.size == (17, 22)
        found.append(int(np.asarray(image)[0, 0]))
    return found


def test_pages_and_names_come_from_the_shards_and_stay(made: Path, tmp_path: Path) -> None:
    report = write_report(made, now=START + 200)
    seen = pictures(report)
    assert len(seen) >= 4
    ids = re.findall(r'alt="page images/test-(\d+)\.png"', report.read_text())
    assert [20 * int(number) for number in ids] == seen
    assert "cats &amp; dogs" in report.read_text()
    shutil.rmtree(tmp_path / "shards")
    shutil.copytree(made, tmp_path / "elsewhere" / "run")
    again = write_report(tmp_path / "elsewhere" / "run", now=START + 200)
    assert pictures(again) == seen
    assert "cats &amp; dogs" in again.read_text()


def test_shards_that_are_damaged_cost_only_the_pictures(made: Path, tmp_path: Path) -> None:
    for shard in (tmp_path / "shards" / "test" / "holistic").glob("*.tfrecord"):
        shard.write_bytes(b"")
    report = write_report(made, now=START + 200)
    assert pictures(report) == []
    assert "shard set not at hand" in report.read_text()


def test_large_pages_are_reduced() -> None:
    image = Image.open(io.BytesIO(png_of(np.zeros((1000, 500, 3), np.uint8))))
    assert image.size == (128, 256)
    assert image.mode == "RGB"
