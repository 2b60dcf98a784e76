"""A report shows pages and class names from the shards, and keeps them for when the shards are gone."""

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_tools.conversion.convert import DataConfig, ShardConfig, convert
from launch.report.report import write_report
from launch.report.shard_pages import class_names, png_of
from launch.run.record import read_run
from tests.helpers.parsed_page import Page
from tests.unit.launch.run_folder import START, RunSpec, build

NAMES = ("cats & dogs", "birds")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages, their shards, and a run over them that has not recorded the class names."""
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


def gray_values(report: Path) -> dict[str, int]:
    """The gray value of every embedded page, by the page's id, after checking its size."""
    found = {}
    for name, source in Page(report).images.items():
        image = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
        assert image.size == (17, 22)
        found[name.removeprefix("page ")] = int(np.asarray(image)[0, 0])
    return found


def test_pages_and_names_come_from_the_shards_and_stay(made: Path, tmp_path: Path) -> None:
    report = write_report(made, now=START + 200)
    shown = gray_values(report)
    assert len(shown) >= 4
    assert shown == {name: 20 * int(name.removesuffix(".png").rpartition("-")[2]) for name in shown}
    assert all(name in Page(report).text for name in NAMES)
    shutil.rmtree(tmp_path / "shards")
    shutil.copytree(made, tmp_path / "elsewhere" / "run")
    again = write_report(tmp_path / "elsewhere" / "run", now=START + 200)
    assert gray_values(again) == shown
    assert all(name in Page(again).text for name in NAMES)


def test_corrupt_shards_only_remove_the_pictures(made: Path, tmp_path: Path) -> None:
    for shard in (tmp_path / "shards" / "test" / "holistic").glob("*.tfrecord"):
        shard.write_bytes(b"")
    report = write_report(made, now=START + 200)
    assert gray_values(report) == {}
    assert "images/test-0" in Page(report).text, "the predictions are still shown"


@pytest.mark.parametrize("name", ["run/metrics.json", "shards/test/holistic/manifest.json"])
@pytest.mark.parametrize("text", ["null", "[]", '{"classes": 5}', '{"cla'])
def test_damaged_sources_of_names_are_passed_over(made: Path, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    named = class_names(read_run(made))
    assert named == ({} if name.startswith("shards") else dict(enumerate(NAMES)))


def test_large_pages_are_reduced() -> None:
    image = Image.open(io.BytesIO(png_of(np.zeros((1000, 500, 3), np.uint8))))
    assert image.size == (128, 256)
    assert image.mode == "RGB"
