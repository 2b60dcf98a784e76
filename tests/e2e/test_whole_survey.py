"""A complete survey, from label files to the HTML page, on drawn pages with planted faults and on real pages."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_tools.documents.data_set import DataConfig
from data_tools.documents.regions import HOLISTIC, PRESETS, WHOLE_PAGE
from data_tools.drawn import draw_data_set
from data_tools.survey.results import results
from data_tools.survey.survey import Survey, survey
from launch.report.survey.page import notes, write_survey
from tests.helpers.parsed_page import checked
from tests.helpers.perturbed_pages import CHANGES

REGIONS = {HOLISTIC: WHOLE_PAGE} | PRESETS["das2018"]
COUNTS = {"train": 3, "val": 1, "test": 2}


def config(root: Path) -> DataConfig:
    labels = {split: str(root / "labels" / f"{split}.txt") for split in COUNTS}
    names = root / "classes.txt"
    return DataConfig(root=str(root), class_names=str(names) if names.exists() else None, **labels)


def add(root: Path, split: str, name: str, content: bytes | None, class_id: int = 3) -> None:
    """Add one page to a split; without content, only its line."""
    if content is not None:
        (root / name).write_bytes(content)
    with (root / "labels" / f"{split}.txt").open("a") as file:
        file.write(f"{name} {class_id}\n")


def pictured(page: "np.typing.NDArray[np.uint8]", suffix: str = ".png") -> bytes:
    done, content = cv2.imencode(suffix, page)
    assert done
    return bytes(content)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pages with two leaks, a copy within train, unreadable, blank and black pages."""
    root = tmp_path_factory.mktemp("survey") / "pages"
    draw_data_set(root, seed=3, pages_per_class=COUNTS, height=700)
    first, second, third = ((root / "labels/train.txt").read_text().split()[place] for place in (0, 2, 60))
    page = cv2.imread(str(root / second), cv2.IMREAD_GRAYSCALE)
    add(root, "test", "copy.png", pictured(cv2.imread(str(root / first), cv2.IMREAD_GRAYSCALE)))
    add(root, "test", "rescan.png", pictured(CHANGES["skew 0.5"](page, np.random.default_rng(0))))
    shutil.copy(root / third, root / "same.tif")
    add(root, "train", "same.tif", None)
    add(root, "test", "gone.tif", None)
    add(root, "val", "cut.png", pictured(page)[:700])
    random = np.random.default_rng(1)
    for number, split in enumerate(("train", "test", "test")):
        noise = np.clip(random.normal(248, 3, (700, 520)), 0, 255).astype(np.uint8)
        add(root, split, f"blank{number}.png", pictured(noise))
    for split in ("train", "test"):
        add(root, split, f"white-{split}.png", pictured(np.full((700, 520), 255, np.uint8)))
    add(root, "train", "black.png", pictured(np.zeros((700, 520), np.uint8)))
    return root


@pytest.fixture(scope="module")
def found(troubled: Path) -> Survey:
    return survey(config(troubled), seed=1, workers=2)


def test_the_planted_faults_are_found_and_nothing_else(found: Survey) -> None:
    assert found.leaked == ["copy.png", "rescan.png", "white-test.png"]
    kinds = {kind: [m.page_id for m in found.measures.values() if m.kind == kind] for kind in ("black", "unreadable")}
    assert kinds == {"black": ["black.png"], "unreadable": ["cut.png", "gone.tif"]}
    assert sum(measure.kind == "blank" for measure in found.measures.values()) == 5
    # Blank pages of different pixels are not duplicates of each other; two white ones are copies.
    assert sorted((group.kind, group.content, len(group.entries)) for group in found.groups) == [
        ("exact", "blank", 2),
        ("exact", "page", 2),
        ("exact", "page", 2),
        ("near", "page", 2),
    ]


def test_the_page_is_self_contained_and_complete(found: Survey, tmp_path: Path) -> None:
    path = write_survey(found, tmp_path / "survey", regions=REGIONS)
    page = checked(path)
    assert all(note in page.text for note in notes(results(found)))
    assert {"rescan.png", "copy.png"} <= page.images.keys(), "near and exact duplicates are shown"
    assert all(text in page.text for text in ("left_body", "black.png", "cut.png", "gone.tif", "no such file"))
    assert len(page.images) > 50
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "duplicates.jsonl", "leaked.txt", "pages.jsonl", "pictures", "survey.html", "survey.json",
    ]  # fmt: skip
    assert (path.parent / "leaked.txt").read_text().split() == found.leaked


def test_workers_and_order_change_nothing(found: Survey, troubled: Path) -> None:
    alone = survey(config(troubled), seed=1, workers=1)
    assert dict(alone.measures) == dict(found.measures)
    assert alone.groups == found.groups


def test_a_sample_is_reported_as_one(troubled: Path, tmp_path: Path) -> None:
    some = survey(config(troubled), seed=1, sample=30, workers=1)
    assert len(some.measures) == 30
    page = checked(write_survey(some, tmp_path / "survey", regions=REGIONS))
    assert notes(results(some))[0] in page.text
    assert json.loads((tmp_path / "survey/survey.json").read_text())["complete"] is False


@pytest.mark.real_pages
def test_real_pages_have_no_duplicates_but_planted_ones(real_pages: Path, tmp_path: Path) -> None:
    root = tmp_path / "pages"
    shutil.copytree(real_pages / "labels", root / "labels")
    (root / "images").symlink_to(real_pages / "images")
    lines = (root / "labels/train.txt").read_text().splitlines()
    for number, change in enumerate(("noise 25", "skew 1", "black and white", "60 % size", "rescan")):
        name = lines[number * 7].rsplit(" ", 1)[0]
        page = cv2.imread(str(root / name), cv2.IMREAD_GRAYSCALE)
        add(root, "test", f"planted{number}.png", pictured(CHANGES[change](page, np.random.default_rng(2))))
    found = survey(replace(config(root), outside_links="follow"), seed=1, workers=2)
    assert found.leaked == [f"planted{number}.png" for number in range(5)]
    assert [len(group.entries) for group in found.groups] == [2] * 5
    assert all(measure.kind == "page" for measure in found.measures.values())
