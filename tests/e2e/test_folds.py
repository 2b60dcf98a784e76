"""Out-of-fold stacking end to end: no label reaches the outputs of its own page; killed and resumed; averages."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.convert import convert
from data_tools.files import read_json, read_lines
from data_tools.shards.reader import ShardSet
from launch.config import load_config
from tests.helpers.commands import ROOT, regionstack, run
from tests.helpers.run_folders import copy_without
from trainer.scoring.decision import calibrate, read_policy
from trainer.scoring.predictions import read_predictions
from trainer.training.split import fold_of

SETTINGS = (
    "stack.folds=2", "stack.members=average", "stack.epochs=2", "data.class_weights=balanced",
    "regions={top: [0, 0, 1, 0.5], bottom: [0, 0.5, 1, 1]}", "stages.holistic_32px=null",
    "stages.regions.start=holistic_16", "stages.holistic_16.epochs=2", "stages.holistic_16.optimizer.ema_decay=0.5",
)  # fmt: skip
MEMBERS = ("holistic_16", "top", "bottom")
JOBS = tuple(f"{member}_fold{number}" for member in MEMBERS for number in (1, 2))


def train(config: Path, folder: Path, *more: str, plan: Path | None = None) -> str:
    """All jobs in one process, one after the other; with a plan of faults, until one ends it."""
    settings = [f"run.folder={folder}", *SETTINGS, *more]
    arguments = ["--config", str(config), *(part for setting in settings for part in ("--set", setting))]
    faults = {} if plan is None else {"REGIONSTACK_FAULTS": str(plan)}
    return run([sys.executable, str(ROOT / "launch" / "train.py"), *arguments], env=faults, status=None if plan else 0)


def out_of_fold(folder: Path, job: str) -> dict[str, bytes]:
    """The bits of a job's outputs for the training pages, by page id."""
    rows = read_predictions(folder / "jobs" / job / "predictions" / "train.npz")
    return {page_id: row.tobytes() for page_id, row in zip(rows.ids.tolist(), rows.softmax, strict=True)}


@pytest.fixture(scope="module")
def folded(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two folds, and its output in `output.txt` beside it."""
    folder = tmp_path_factory.mktemp("folded") / "run"
    (folder.parent / "output.txt").write_text(train(tiny, folder))
    return folder


def training_pages(config: Path) -> tuple[list[str], np.ndarray]:
    shards = ShardSet.open(load_config(str(config)).paths.shard_set("train", "holistic"))
    return shards.ids.tolist(), shards.labels


def test_every_training_page_once_by_a_model_of_its_fold(tiny: Path, folded: Path) -> None:
    ids, labels = training_pages(tiny)
    fold = dict(zip(ids, fold_of(ids, labels, folds=2, seed=1).tolist(), strict=True))
    for member in MEMBERS:
        joined = out_of_fold(folded, member)
        assert sorted(joined) == sorted(ids)
        for number in (1, 2):
            own = out_of_fold(folded, f"{member}_fold{number}")
            assert set(own) == {page_id for page_id in ids if fold[page_id] == number - 1}
            assert own.items() <= joined.items()
    for job in JOBS:
        result = read_json(folded / "jobs" / job / "result.json")
        assert result["fold"] == {"number": int(job[-1]), "of": 2, "grouped": False}
        origin = result["start"]["from"]
        assert origin == (None if job.startswith("holistic") else f"holistic_16_fold{job[-1]}")
    use = read_json(folded / "jobs" / "stack" / "result.json")["out_of_fold"]
    assert (use["fitted_on"], use["calibrated_on"]) == (96, 32)


def changeable(ids: Sequence[str], labels: np.ndarray) -> tuple[int, int]:
    """A page and another class for it with which all pages stay in their folds: classes are spread evenly."""
    fold = fold_of(ids, labels, folds=2, seed=1)
    for place in range(len(ids)):
        for label in range(16):
            changed = labels.copy()
            changed[place] = label
            if label != labels[place] and np.array_equal(fold_of(ids, changed, folds=2, seed=1), fold):
                return place, label
    raise AssertionError("every change of a label moves pages between the folds")


def test_the_label_of_a_page_does_not_change_its_own_outputs(tiny: Path, folded: Path, tmp_path: Path) -> None:
    ids, labels = training_pages(tiny)
    place, label = changeable(ids, labels)
    config = load_config(str(tiny), [f"shards.folder={tmp_path / 'shards'}", f"data.train={tmp_path / 'train.txt'}"])
    lines = (config.paths.data_root / "labels" / "train.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{ids[place]} ")]
    assert len(kept) == len(lines) - 1
    (tmp_path / "train.txt").write_text("\n".join([*kept, f"{ids[place]} {label}", ""]))
    convert(config.data, config.shards, regions=config.boxes, seed=config.seed, workers=1)
    changed = [f"shards.folder={tmp_path / 'shards'}", f"data.train={tmp_path / 'train.txt'}"]
    train(tiny, tmp_path / "run", *changed, "regions={top: [0, 0, 1, 0.5]}")  # one region is enough
    for member in ("holistic_16", "top"):
        before, after = out_of_fold(folded, member), out_of_fold(tmp_path / "run", member)
        assert before[ids[place]] == after[ids[place]], "its outputs have the same bits"
        assert sum(before[page_id] != after[page_id] for page_id in ids) > 20, "the other fold learned the new label"


def test_killed_and_resumed_equals_never_killed(tiny: Path, folded: Path, tmp_path: Path) -> None:
    folder = copy_without(folded, tmp_path / "run", ("bottom_fold2", *MEMBERS, "stack"))
    plan = tmp_path / "faults.json"
    plan.write_text(json.dumps([{"job": "bottom_fold2", "step": 4, "rank": 0, "action": "kill"}]))
    train(tiny, folder, plan=plan)
    assert [fault["step"] for fault in read_lines(folder / "jobs" / "bottom_fold2" / "faults.jsonl")] == [4]
    train(tiny, folder)
    (step,) = re.findall(r"start: own checkpoint of step (\d+)", (folder / "jobs/bottom_fold2/log.txt").read_text())
    assert 0 < int(step) < 4
    assert out_of_fold(folder, "bottom") == out_of_fold(folded, "bottom")
    for job in (*MEMBERS, "bottom_fold2", "stack"):
        digests = [read_json(where / "jobs" / job / "result.json")["weights_digest"] for where in (folder, folded)]
        assert digests[0] == digests[1], job


def test_averaged_members_answer_for_new_pages_as_recorded(tiny: Path, folded: Path, tmp_path: Path) -> None:
    recorded = read_predictions(folded / "jobs" / "stack" / "predictions" / "test.npz")
    pages = [str(tiny.parent / "pages" / page_id) for page_id in recorded.ids[:3].tolist()]
    regionstack("predict", str(folded), *pages, "--json", str(tmp_path / "p.json"), "--all")
    answers = json.loads((tmp_path / "p.json").read_text())["answers"]
    policy = read_policy(folded)
    assert policy is not None
    for model in ("stack", *MEMBERS):
        rows = read_predictions(folded / "jobs" / model / "predictions" / "test.npz")
        found = np.array([list(answer["probabilities"][model].values()) for answer in answers])
        np.testing.assert_allclose(found, calibrate(policy, {model: rows.softmax[:3]})[model], atol=2e-5)


def test_status_and_report_know_the_folds(folded: Path) -> None:
    output = regionstack("status", str(folded))
    assert all(job in output for job in (*JOBS, "stack"))
    data = read_json(folded / "metrics.json")
    assert {name: model.get("fold_of") for name, model in data["models"].items()} == {
        **{job: job.rsplit("_", 1)[0] for job in JOBS}, **dict.fromkeys(MEMBERS), "stack": None,
    }  # fmt: skip
    assert data["comparison"]["second"] == "holistic_16"
    assert data["headline"]["jobs_done"] == data["headline"]["jobs"] == len(JOBS) + len(MEMBERS) + 1
    assert any("out of fold" in line for line in data["warnings"])
