"""The drawn demo pages: same seed, same bytes; honest labels; sixteen classes that differ."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_tools.drawn import CLASS_NAMES, draw_data_set
from data_tools.drawn.classes import draw_page
from data_tools.drawn.data_set import LABEL_NOISE, MARKER, SPLITS, label_lines
from data_tools.errors import UserError

FEW = {"train": 2, "val": 1, "test": 1}
HEIGHT = 120


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "pages"
    assert draw_data_set(folder, seed=1, pages_per_class=FEW, height=HEIGHT)
    return folder


def test_the_same_seed_gives_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    draw_data_set(tmp_path / "again", seed=1, pages_per_class=FEW, height=HEIGHT)
    assert contents(tmp_path / "again") == contents(drawn)


def test_another_seed_gives_other_pages(drawn: Path, tmp_path: Path) -> None:
    draw_data_set(tmp_path / "other", seed=2, pages_per_class=FEW, height=HEIGHT)
    ours, theirs = contents(drawn), contents(tmp_path / "other")
    pages = [path for path in ours if path.endswith(".tif")]
    assert not [path for path in pages if ours[path] == theirs[path]]


def test_worker_processes_draw_the_same_bytes(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_tools.drawn.data_set._FEW", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    draw_data_set(tmp_path / "spawned", seed=1, pages_per_class=FEW, height=HEIGHT)
    assert contents(tmp_path / "spawned") == contents(drawn)


def test_a_larger_set_starts_with_the_pages_of_a_smaller_one(drawn: Path, tmp_path: Path) -> None:
    draw_data_set(tmp_path / "larger", seed=1, pages_per_class={"train": 3, "val": 1, "test": 1}, height=HEIGHT)
    small, large = contents(drawn), contents(tmp_path / "larger")
    assert all(large[path] == content for path, content in small.items() if path.endswith(".tif"))
    assert large["labels/train.txt"].startswith(small["labels/train.txt"])


def test_label_files_name_each_page_once_in_the_official_format(drawn: Path) -> None:
    named = []
    for split in SPLITS:
        for line in (drawn / "labels" / f"{split}.txt").read_text().splitlines():
            path, class_id = line.split(" ")
            assert path.startswith(f"images/{split}/") and 0 <= int(class_id) < 16
            named.append(path)
    pages = [path for path in contents(drawn) if path.endswith(".tif")]
    assert sorted(named) == sorted(pages) and len(pages) == 16 * sum(FEW.values())
    assert (drawn / "classes.txt").read_text().splitlines() == list(CLASS_NAMES)


def test_class_ids_are_rvl_cdips() -> None:
    assert len(CLASS_NAMES) == 16
    assert (CLASS_NAMES[0], CLASS_NAMES[8], CLASS_NAMES[15]) == ("letter", "file folder", "memo")


def test_only_train_labels_are_noisy() -> None:
    def wrong(split: str) -> float:
        lines = [line.rsplit(" ", 1) for line in label_lines(split, seed=1, pages=400)]
        return sum(CLASS_NAMES[int(label)].replace(" ", "_") not in path for path, label in lines) / len(lines)

    assert wrong("train") == pytest.approx(LABEL_NOISE, abs=0.01)
    assert wrong("val") == wrong("test") == 0


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_a_page_is_gray_inked_and_of_the_height_asked(class_name: str) -> None:
    for number in range(6):
        page = draw_page(class_name, np.random.default_rng([3, number]), height=200)
        assert page.dtype == np.uint8 and page.shape[0] == 200 and 130 <= page.shape[1] <= 300
        assert np.ptp(page) > 60, "a page without ink"


def test_every_class_has_a_look_of_its_own() -> None:
    # Mean darkness over an 8 x 6 grid, averaged over pages: no two classes may agree in every cell.
    def look(class_name: str) -> NDArray[np.float64]:
        pages = [draw_page(class_name, np.random.default_rng([4, number]), height=160) for number in range(12)]
        return np.mean([page[:160, :112].reshape(8, 20, 4, 28).mean(axis=(1, 3)) for page in pages], axis=0)

    looks = {name: look(name) for name in CLASS_NAMES}
    apart = [np.abs(looks[a] - looks[b]).max() for a in CLASS_NAMES for b in CLASS_NAMES if a < b]
    assert min(apart) > 4, "two classes look alike on average"


def test_a_second_call_draws_nothing(drawn: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in drawn.rglob("*")}
    assert not draw_data_set(drawn, seed=1, pages_per_class=FEW, height=HEIGHT)
    assert before == {file: file.stat().st_mtime_ns for file in drawn.rglob("*")}


def test_other_settings_are_refused_by_name(drawn: Path) -> None:
    with pytest.raises(UserError, match=r"seed: 1 -> 9"):
        draw_data_set(drawn, seed=9, pages_per_class=FEW, height=HEIGHT)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        draw_data_set(tmp_path, seed=1, pages_per_class=FEW)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("pages", "height", "text"),
    [({"train": 1}, 120, "val"), ({**FEW, "val": 0}, 120, "pages_per_class.val"), (FEW, 20, "height")],
)
def test_impossible_settings_are_refused(tmp_path: Path, pages: dict[str, int], height: int, text: str) -> None:
    with pytest.raises(UserError, match=text):
        draw_data_set(tmp_path / "pages", seed=1, pages_per_class=pages, height=height)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind_and_progress_counts_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def stop_half_way(done: int, total: int) -> None:
        seen.append((done, total))
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_data_set(tmp_path / "pages", seed=1, pages_per_class=FEW, height=HEIGHT, progress=stop_half_way)
    assert not list(tmp_path.iterdir()) and Counter(total for _, total in seen) == {64: len(seen)}
    draw_data_set(
        tmp_path / "pages", seed=1, pages_per_class=FEW, height=HEIGHT, progress=lambda *now: seen.append(now)
    )
    assert seen[-1] == (64, 64) and (tmp_path / "pages" / MARKER).is_file()
