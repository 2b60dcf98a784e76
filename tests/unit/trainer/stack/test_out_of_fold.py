"""A stack that is fitted on training pages, out of fold: from the files of synthetic fold jobs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import write_atomically, write_json
from tests.helpers.stacked_run import CLASS_IDS, MEMBERS, make_run, member
from trainer.scoring.decision import read_policy
from trainer.scoring.predictions import Predictions, read_predictions, write_predictions
from trainer.stack.config import StackConfig
from trainer.stack.fit import fit_stack
from trainer.stack.job import out_of_fold_use, run, validation_use
from trainer.stack.pages import StackPayload, read_pages

FOLDS, TRAIN = 3, 300
FOLD_JOBS = {name: [f"{name}_fold{number}" for number in range(1, FOLDS + 1)] for name in MEMBERS}


def make_folds(folder: Path, *, retrained: bool, share: float | None = None, fitted: int = TRAIN) -> Path:
    """The jobs of all folds: each has predicted every third training page, validation and test."""
    if retrained:
        make_run(folder)
        for name in MEMBERS:
            write_json(folder / "jobs" / name / "result.json", {"region": name, "selection_share": share})
    for name, jobs in FOLD_JOBS.items():
        train = member(name, "train", count=fitted, skill=MEMBERS[name])
        for number, job in enumerate(jobs):
            predictions = folder / "jobs" / job / "predictions"
            write_predictions(predictions / "train.npz", train.rows(np.arange(fitted) % FOLDS == number))
            for split, count in (("val", 90), ("test", 400)):
                rows = member(name, split, count=count, skill=MEMBERS[name] - 0.2 * number)
                write_predictions(predictions / f"{split}.npz", rows)
            result = {"region": "holistic" if name.startswith("holistic") else name, "stage": "s", "world_size": 1,
                      "epochs": 2, "selection_share": share, "versions": {}, "weights_digest": job, "parameters": 7,
                      "seconds": 2.0, "train_seconds": 1.0, "ended": 7.0}  # fmt: skip
            write_json(folder / "jobs" / job / "result.json", result)
            write_atomically(folder / "jobs" / job / "config.yaml", f"name: {job}\nfold: {{number: 1, of: 3}}\n")
    return folder


def payload(folder: Path, **config: Any) -> dict[str, Any]:
    return {"run": str(folder), "members": list(MEMBERS), "fold_jobs": FOLD_JOBS, "seed": 3,
            "config": {"epochs": 3, "folds": FOLDS, **config}}  # fmt: skip


def job_of(folder: Path, **config: Any) -> StackPayload:
    fold_jobs = {name: tuple(jobs) for name, jobs in FOLD_JOBS.items()}
    stack = StackConfig(folds=FOLDS, **config)
    return StackPayload(run=str(folder), members=tuple(MEMBERS), seed=3, config=stack, fold_jobs=fold_jobs)


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = make_folds(tmp_path_factory.mktemp("retrained"), retrained=True)
    return folder, run(payload(folder))


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = make_folds(tmp_path_factory.mktemp("averaged"), retrained=False)
    return folder, run(payload(folder, members="average"))


def test_each_member_has_outputs_for_every_training_page(retrained: tuple[Path, dict[str, Any]]) -> None:
    folder, result = retrained
    for name, skill in MEMBERS.items():
        rows = read_predictions(folder / "jobs" / name / "predictions" / "train.npz")
        expected = member(name, "train", count=TRAIN, skill=skill).sorted()
        assert rows.ids.tolist() == expected.ids.tolist()
        assert np.array_equal(rows.softmax, expected.softmax)
        right = (rows.softmax.argmax(axis=1) == rows.labels).mean()
        assert result["out_of_fold"]["accuracy"][name] == pytest.approx(right)
    assert (result["out_of_fold"]["folds"], result["out_of_fold"]["fitted_on"]) == (FOLDS, TRAIN)


def test_the_stack_is_fitted_on_training_pages_and_the_policy_on_validation(
    retrained: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = retrained
    job = job_of(folder, epochs=3)
    pages = read_pages(job)
    assert pages.fitted.ids.tolist() == [f"train/{number:04d}.tif" for number in range(TRAIN)]
    expected = fit_stack(pages.fitted, job.config, seed=3)
    rows = read_predictions(folder / "jobs" / "stack" / "predictions" / "val.npz")
    assert np.array_equal(rows.softmax, expected.probabilities(pages.val.softmax))
    policy = read_policy(folder)
    assert policy is not None
    assert (policy.pages, policy.folds) == (90, 0), "all validation pages are new to the stack: no cross-fit"
    assert result["out_of_fold"]["calibrated_on"] == 90
    assert result["test_accuracy"] > max(s["test"]["accuracy"] for s in result["members_scores"].values())


def test_no_validation_label_reaches_the_fit(retrained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    other = make_folds(tmp_path, retrained=True)
    for name in MEMBERS:
        path = other / "jobs" / name / "predictions" / "val.npz"
        rows = read_predictions(path)
        write_predictions(path, Predictions(rows.ids, (rows.labels + 1) % len(CLASS_IDS), rows.softmax, rows.class_ids))
    pages, changed = (read_pages(job_of(folder)) for folder in (retrained[0], other))
    assert not np.array_equal(pages.val.labels, changed.val.labels)
    assert np.array_equal(pages.fitted.softmax, changed.fitted.softmax)
    assert np.array_equal(pages.fitted.labels, changed.fitted.labels)


def test_an_averaged_member_is_the_mean_of_its_folds(averaged: tuple[Path, dict[str, Any]]) -> None:
    folder, result = averaged
    for name, jobs in FOLD_JOBS.items():
        for split in ("val", "test"):
            each = [read_predictions(folder / "jobs" / job / "predictions" / f"{split}.npz") for job in jobs]
            mean = read_predictions(folder / "jobs" / name / "predictions" / f"{split}.npz")
            assert mean.ids.tolist() == each[0].ids.tolist()
            np.testing.assert_allclose(mean.softmax, np.mean([rows.softmax for rows in each], axis=0), atol=1e-7)
    assert result["out_of_fold"]["members"] == "average"
    assert result["paired_test"]["against"] == "holistic_256"


def test_leak_free_selection_is_checked_for_every_fold(tmp_path: Path) -> None:
    folder = make_folds(tmp_path, retrained=True, share=0.4)
    job = job_of(folder, leak_free=True, selection_share=0.4)
    pages = read_pages(job)
    assert 0 < pages.fitted_on.sum() < 90
    use, out_of_fold = validation_use(job, pages), out_of_fold_use(job, pages)
    assert out_of_fold is not None
    assert use["selected_on"] + out_of_fold["calibrated_on"] == use["validation_pages"] == 90
    assert out_of_fold["fitted_on"] == TRAIN, "the stack needs no validation page"
    write_json(folder / "jobs" / "left_fold2" / "result.json", {"region": "left", "selection_share": None})
    with pytest.raises(UserError, match="left_fold2 did not select"):
        read_pages(job)


def test_class_weights_are_those_of_the_training_pages(tmp_path: Path) -> None:
    folder = make_folds(tmp_path, retrained=True)
    job = replace(job_of(folder), class_weights="balanced")
    fitted = read_pages(job).fitted
    assert fitted.weights is not None
    sums = np.bincount(fitted.labels, weights=fitted.weights)
    np.testing.assert_allclose(sums, TRAIN / len(CLASS_IDS))


def rewritten(folder: Path, job: str, rows: Predictions) -> None:
    write_predictions(folder / "jobs" / job / "predictions" / "train.npz", rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda folder: (folder / "jobs/top_fold2/predictions/train.npz").unlink(),
            ["top_fold2", "no such predictions"],
        ),
        (
            lambda folder: rewritten(folder, "top_fold2", member("top", "train", count=TRAIN, skill=1.0)),
            ["top/predictions/train.npz", "is repeated"],
        ),
        (
            lambda folder: rewritten(
                folder, "top_fold2", member("top", "train", count=TRAIN, skill=1.0).rows(np.arange(1, TRAIN - 3, 3))
            ),
            ["train/0298.tif", "top"],
        ),
    ],
)
def test_folds_that_do_not_make_up_the_training_pages(tmp_path: Path, change: Any, words: list[str]) -> None:
    folder = make_folds(tmp_path, retrained=True)
    change(folder)
    with pytest.raises(UserError) as caught:
        read_pages(job_of(folder))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
