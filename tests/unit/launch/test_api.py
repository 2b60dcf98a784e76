"""`launch.api` without trained models: order, unreadable pages, arrays, and what importing costs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import launch
from data_tools.errors import UserError
from launch.api import BATCH, Run
from launch.config import load_config
from launch.run.model import ClassRecord, ModelRecord, PageRecord
from trainer.config import STACK


class MeanGray:
    """Stands in for an ensemble: two classes, dark and light, by the mean of the whole page."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, pages: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        light = pages["holistic"].mean(axis=(1, 2, 3)) / 255
        self.batches.append(len(light))
        return {"holistic": np.stack([1 - light, light], axis=1), STACK: np.stack([1 - light, light], axis=1)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    opened = Run(tmp_path, load_config("demo"))
    opened.__dict__["record"] = ModelRecord(
        classes=(ClassRecord(0, "dark"), ClassRecord(1, "light")),
        regions={"holistic": (0.0, 0.0, 1.0, 1.0)},
        page=PageRecord(32, 32, 1),
        shards="shards",
        labels={},
    )
    opened.__dict__["ensemble"] = MeanGray()
    return opened


def gray(level: int) -> np.ndarray:
    return np.full((40, 30), level, np.uint8)


def test_predictions_come_in_the_order_of_the_pages(run: Run, tmp_path: Path) -> None:
    Image.fromarray(gray(255)).save(tmp_path / "light.png")
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0")
    found = list(
        run.predict([gray(0), tmp_path / "light.png", broken, gray(10)[:, :, None], str(tmp_path / "none.tif")])
    )
    assert [one.label for one in found] == ["dark", "light", None, "dark", None]
    assert [one.page for one in found] == [
        "0",
        str(tmp_path / "light.png"),
        str(broken),
        "3",
        str(tmp_path / "none.tif"),
    ]
    assert [bool(one.error) for one in found] == [False, False, True, False, True]
    assert found[1].probability == 1.0
    assert found[2].probability == 0.0


def test_pages_are_taken_as_they_are_needed(run: Run) -> None:
    taken = []

    def pages() -> Iterator[np.ndarray]:
        for number in range(3 * BATCH):
            taken.append(number)
            yield gray(number % 256)

    next(iter(run.predict(pages())))
    assert len(taken) == 2 * BATCH, "one batch at work, one ahead"


def test_every_decoded_page_is_shown_to_the_caller(run: Run, tmp_path: Path) -> None:
    seen = {}
    list(run.predict([gray(7), tmp_path / "none.tif"], on_image=lambda page, image: seen.update({page: image.shape})))
    assert seen == {"0": (40, 30)}


def test_no_readable_page_asks_no_model(run: Run, tmp_path: Path) -> None:
    assert [one.outputs for one in run.predict([tmp_path / "a.tif", tmp_path / "b.tif"])] == [{}, {}]
    assert run.ensemble.batches == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "page", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_an_array_that_is_no_page_of_the_run_is_refused(run: Run, page: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"page 0: .*uint8"):
        list(run.predict([page]))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        launch.open_run(tmp_path)


def test_importing_the_package_imports_nothing_heavy_and_loading_a_configuration_no_tensorflow() -> None:
    program = (
        "import sys, launch\nheavy = {'numpy', 'cv2', 'tensorflow', 'ray', 'horovod', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\nlaunch.load_config('demo')\n"
        "print(sorted((heavy - {'numpy', 'cv2'}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.parametrize("pages", [3, 40])  # decoded here, and by processes in several parts
def test_a_document_has_its_pages_and_then_itself(run: Run, tmp_path: Path, pages: int) -> None:
    first, *others = [Image.fromarray(gray(255 if number % 3 else 0)) for number in range(pages)]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    found = list(run.predict([tmp_path / "a.tif", gray(0)]))
    assert [one.number for one in found] == [*range(1, pages + 1), None, 1]
    assert [one.label for one in found[:pages]] == ["light" if number % 3 else "dark" for number in range(pages)]
    assert [one.label for one in found[pages:]] == ["light", "dark"]
