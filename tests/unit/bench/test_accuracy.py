"""The plan of bench/accuracy.py: its folds, its rows, and how it compares two of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import error_by_chance, measure, paired, parse, share_right, spread
from bench.accuracy_arms import TODAY, arms, base_config, chosen_arms, settings_of
from bench.accuracy_folds import capped, folds_of, read_pages, splits_of, write_labels
from bench.accuracy_runs import Setting, Speed, configured, epoch_seconds
from data_tools.errors import UserError
from data_tools.labels.label import Label
from launch.recipe.stages import plan_recipe

PAGES = [
    *(Label(f"{number:03}.tif", number % 3) for number in range(90)),
    *(Label(f"bundle.tif#page={number}", 0) for number in range(1, 7)),
]


def test_every_page_is_tested_once_and_documents_stay_together() -> None:
    parts = folds_of(PAGES, 5, seed=1)
    assert sorted(page for part in parts for page in part) == sorted(PAGES)
    assert sum(any("bundle" in page.page_id for page in part) for part in parts) == 1
    for part in parts:
        counts = Counter(page.class_id for page in part if "bundle" not in page.page_id)
        assert all(4 <= counts[label] <= 8 for label in (1, 2))
    assert parts != folds_of(PAGES, 5, seed=2)
    assert parts == folds_of(PAGES[::-1], 5, seed=1) or [sorted(p) for p in parts] == [
        sorted(p) for p in folds_of(PAGES[::-1], 5, seed=1)
    ]


def test_copies_stay_together_whatever_their_documents() -> None:
    copies = (("003.tif", "006.tif"), ("006.tif", "bundle.tif#page=2"), ("gone.tif", "009.tif"))
    together = {"003.tif", "006.tif", *(f"bundle.tif#page={number}" for number in range(1, 7))}
    for seed in range(5):
        parts = folds_of(PAGES, 5, seed=seed, copies=copies)
        assert sorted(page for part in parts for page in part) == sorted(PAGES)
        holding = [number for number, part in enumerate(parts) if together & {page.page_id for page in part}]
        assert len(holding) == 1
        splits = splits_of(parts, (holding[0] + 1) % 5, val=1 / 6, seed=seed, copies=copies)
        assert sum(bool(together & {page.page_id for page in rows}) for rows in splits.values()) == 1


@pytest.mark.parametrize("fold", range(5))
def test_the_splits_of_a_fold_are_disjoint_and_complete(fold: int) -> None:
    parts = folds_of(PAGES, 5, seed=1)
    splits = splits_of(parts, fold, val=1 / 6, seed=1)
    assert sorted(page for rows in splits.values() for page in rows) == sorted(PAGES)
    assert splits["test"] == parts[fold]
    assert len(splits["val"]) == pytest.approx(len(PAGES) * 0.8 / 6, abs=6)


def test_pages_of_all_label_files(tmp_path: Path) -> None:
    for name, rows in {"a": "x.tif 1\ny.tif 2\n", "b": "z.tif 1\nx.tif 1\n"}.items():
        (tmp_path / f"{name}.txt").write_text(rows)
    pages = read_pages(tmp_path, [tmp_path / "a.txt", tmp_path / "b.txt"])
    assert pages == [Label("x.tif", 1), Label("y.tif", 2), Label("z.tif", 1)]
    assert capped(pages, 1) == pages[:2]


def test_a_row_comes_after_the_one_whose_models_it_takes_over() -> None:
    assert [arm.name for arm in chosen_arms(["pool", "mixup", TODAY])] == [TODAY, "pool", "mixup"]
    with pytest.raises(SystemExit, match="no such row"):
        chosen_arms(["mixap"])
    for arm in arms():
        assert arm.like is None or all(setting.startswith("stack.") for setting in arm.settings)


def test_a_setting_of_each_stage_is_written_out_for_added_stages_too() -> None:
    (resize,) = chosen_arms(["resize"])
    stages = {setting.split("=")[0] for setting in settings_of(resize)}
    assert {"stages.holistic_small", "stages.holistic_large"} <= stages
    (cosine,) = chosen_arms(["cosine"])
    assert "stages.holistic.schedule=cosine" in settings_of(cosine)
    assert not any("*" in setting for arm in arms() for setting in settings_of(arm))


@pytest.mark.parametrize("name", [arm.name for arm in arms()])
def test_every_row_is_a_configuration_that_takes_the_budget(name: str, tmp_path: Path) -> None:
    base = base_config(weights="w.h5", px=128, regions="halves")
    speed = Speed(px=128, page_s=1 / 60, evaluated_page_s=1 / 200, start_s=15)
    setting = Setting(tmp_path, tmp_path, base, 3600.0, speed, {"train": 800, "val": 160, "test": 240})
    labels = write_labels(tmp_path / "fold-0", {"train": PAGES, "val": PAGES, "test": PAGES})
    config = None
    for arm in chosen_arms([name]):
        config = configured(setting, arm, labels, shards=tmp_path / "fold-0" / "shards", like=config)
    assert config is not None
    jobs = plan_recipe(config).jobs
    if name == "folds_average":  # has the models of another row, but for some
        return
    total = sum(speed.start_s + job.stage.epochs * epoch_seconds(setting, job) for job in jobs)
    assert total == pytest.approx(3600, rel=0.1)
    assert config.paths.run.name == "fold-0"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--arm", "today", "mixap"], "--arm mixap: no such row"),
        (["--judge", "best"], "--judge best: no such row"),
        (["--budget", "inf"], "--budget"),
        (["--budget", "nan"], "--budget"),
        (["--px", "0"], "--px"),
        (["--px", "9000"], "--px"),
        (["--per-class", "0"], "--per-class"),
        (["--per-class", "-5"], "--per-class"),
        (["--folds", "1"], "--folds"),
        (["--fold", "5"], "--fold"),
        (["--out", __file__], "--out"),
    ],
)
def test_options_that_cannot_work_are_one_line_before_anything_is_measured(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert problem in capsys.readouterr().err.splitlines()[-1]


def test_a_fold_that_is_named_twice_counts_once() -> None:
    assert parse(["--fold", "1", "0", "1"]).fold == [1, 0]


@pytest.mark.parametrize(("more", "problem"), [
    ([], "nothing is measured there at 128 px"), (["--folds", "60"], r"--folds 60: no \w+ page is left in fold \d+"),
])  # fmt: skip
def test_a_table_of_nothing_and_folds_without_pages_are_one_line(tmp_path: Path, more: list[str], problem: str) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "all.txt").write_text("".join(f"{n}.tif {n % 2}\n" for n in range(50)))
    options = parse(["--pages", str(tmp_path), "--weights", "w.h5", "--table", *more])
    with pytest.raises(UserError, match=problem):
        measure(options, tmp_path / "out")


def test_rows_are_compared_on_the_pages_of_both() -> None:
    first = {("fold-0", str(n)): n not in (0, 1) for n in range(20)}
    second = {("fold-0", str(n)): n not in (0, 2, 3, 4) for n in range(19)}
    errors, p_value = paired(first, second)
    assert errors == 2 / 4
    assert p_value == pytest.approx(0.375)  # 1 page against 3: McNemar's mid-p
    assert paired(second, first)[0] == 4 / 2


def test_spread_is_the_standard_error_of_the_mean() -> None:
    assert spread([0.9, 0.8]) == "85.0 ± 5.0"
    assert spread([0.9]) == "90.0"


def test_a_perfect_model_has_a_calibration_error_too_by_chance() -> None:
    """Of 240 pages at confidences of 50 to 100 %, some 3 to 6 %; it falls with the root of the number of pages."""
    confidence = np.random.default_rng(3).uniform(0.5, 1, 4 * 960)
    softmax = np.stack([confidence, 1 - confidence], axis=1)
    few, many = error_by_chance(softmax[:240]), error_by_chance(softmax)
    assert 0.02 < few < 0.07
    assert many == pytest.approx(few / 4, rel=0.25)
    assert error_by_chance(np.array([[1.0, 0.0]] * 9)) == 0


def test_accepted_pages_have_an_interval() -> None:
    assert share_right(np.array([], bool)) == "–"
    assert share_right(np.array([True] * 98 + [False] * 2)) == "98.0, 93.0 to 99.4"
