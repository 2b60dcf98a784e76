"""The predict command decodes pages one at a time and keeps none of them."""

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_tools.documents.pixels import PageError
from launch import api
from launch.commands import score
from launch.config import load_config, resolved
from trainer.serving import ensemble

CLASSES = 16


class Page(np.ndarray):
    """A decoded page whose life can be watched."""


class Brightness:
    """Stands in for the models: the softmax depends on the page's gray level alone."""

    def __init__(self) -> None:
        self.class_ids = list(range(CLASSES))

    def predict(self, regions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        mean = regions["holistic"].mean(axis=(1, 2, 3)) / 255
        softmax = np.full((len(mean), CLASSES), 0.0, np.float32)
        softmax[:, 0], softmax[:, 1] = mean, 1 - mean
        return {"holistic_32": softmax, "stack": softmax}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, int]:
    """Number of decoded pages alive, and the most at one time; page N.tif is all of gray level N."""
    count = {"alive": 0, "most": 0}

    def gone() -> None:
        count["alive"] -= 1

    def read_page(path: Path, *, color: bool = False) -> Any:
        if path.name == "broken.tif":
            raise PageError("not an image")
        page = np.full((40, 30), int(path.stem) % 256, np.uint8).view(Page)
        weakref.finalize(page, gone)
        count["alive"] += 1
        count["most"] = max(count["most"], count["alive"])
        return page

    monkeypatch.setattr(api, "read_page", read_page)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(resolved(load_config("demo"))))
    about = {
        "classes": [{"id": number, "name": f"class {number}"} for number in range(CLASSES)],
        "regions": {"holistic": [0.0, 0.0, 1.0, 1.0]},
        "page": {"height": 32, "width": 32, "channels": 1},
        "shards": "shards",
        "labels": {},
    }
    (tmp_path / "run.json").write_text(json.dumps(about))
    monkeypatch.setattr(ensemble, "open_ensemble", lambda run, regions: Brightness())
    return count


@pytest.mark.parametrize("html", [False, True])
def test_no_more_pages_are_decoded_at_a_time_however_many_there_are(
    decoded: dict[str, int], tmp_path: Path, html: bool
) -> None:
    names = [*(f"{number}.tif" for number in range(100)), "broken.tif", *(f"{number}.tif" for number in range(90, 150))]
    file = tmp_path / "out.json"
    page = tmp_path / "out.html" if html else None
    assert score.predict(tmp_path, [Path(name) for name in names], html=page, json_file=file) == 0
    assert decoded["most"] <= 2, "the page at hand, and the one before it"
    rows = json.loads(file.read_text())["pages"]
    assert [row["page"] for row in rows] == [f"{number}.tif" for number in range(150)], "each once, in order"
    given = [row["models"]["stack"][0] for row in rows]
    assert given == pytest.approx([number / 255 for number in range(150)], abs=1e-6)


def test_without_a_readable_page_the_status_says_so(decoded: dict[str, int], tmp_path: Path) -> None:
    assert score.predict(tmp_path, [Path("broken.tif")], html=None, json_file=tmp_path / "out.json") == 1
    assert not (tmp_path / "out.json").exists()
