"""One stage under real horovodrun: equal ranks, exact resumption, one-line errors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_tools.files import read_json, read_lines
from data_tools.shards.reader import BatchPlan, ShardSet, TrainBatches
from data_tools.stop import STOPPED
from launch.config import load_config
from launch.recipe.jobs import payload
from launch.recipe.stages import plan_recipe
from tests.helpers.commands import horovodrun, regionstack
from tests.helpers.faults import HOOK, PLAN_FILE, InjectedFault
from trainer.job import run
from trainer.network.weights import load_arrays

TRAIN = "launch/train.py"
TIMES = ("seconds", "time", "pages_per_s")


def train(config: Path, folder: Path, stage: str, *more: str, workers: int = 2, **options: Any) -> str:
    settings = ["--config", str(config), "--set", f"run.folder={folder}", "--stage", stage, *more]
    return horovodrun(workers, TRAIN, *settings, **options)


def outcome(folder: Path, job: str) -> dict[str, Any]:
    """Everything that two equal runs share: figures, digests, predictions; no times."""
    job_folder = folder / "jobs" / job
    result = read_json(job_folder / "result.json")
    history = [{k: v for k, v in row.items() if k not in TIMES} for row in read_lines(job_folder / "metrics.jsonl")]
    predictions = {split: (job_folder / "predictions" / f"{split}.npz").read_bytes() for split in ("val", "test")}
    kept = ("weights_digest", "best_epoch", "best_checkpoint", "val_accuracy", "test_accuracy", "val_loss", "test_loss")
    return {"history": history, **{key: result[key] for key in kept}, **predictions}


@pytest.fixture(scope="session")
def unharmed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose first stage two workers trained without interruption."""
    folder = tmp_path_factory.mktemp("unharmed") / "run"
    train(tiny, folder, "holistic_16", as_installed=True)
    return folder


def test_a_stage_on_two_workers(unharmed: Path) -> None:
    job = unharmed / "jobs" / "holistic_16"
    result = read_json(job / "result.json")
    assert (result["world_size"], result["epochs"], result["start"]["kind"]) == (2, 3, "fresh")
    history = read_lines(job / "metrics.jsonl")
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["step"] for row in history] == [4, 8, 12], "96 pages in batches of 24"
    best = max(history, key=lambda row: row["val_accuracy"])
    assert (result["best_epoch"], result["val_accuracy"]) == (best["epoch"], best["val_accuracy"])
    assert result["weights_digest"] == best["weights_digest"], "the best epoch's weights were loaded and recorded"
    predictions = np.load(job / "predictions" / "test.npz", allow_pickle=False)
    assert predictions["softmax"].shape == (32, 16)
    accuracy = (predictions["softmax"].argmax(axis=1) == predictions["labels"]).mean()
    assert accuracy == pytest.approx(result["test_accuracy"])
    assert len(set(predictions["ids"].tolist())) == 32
    assert "rank 1" in (job / "log-rank-001.txt").read_text(), "both ranks trained"


def test_the_same_command_again_trains_nothing(tiny: Path, unharmed: Path) -> None:
    before = outcome(unharmed, "holistic_16")
    result = (unharmed / "jobs" / "holistic_16" / "result.json").stat().st_mtime_ns
    train(tiny, unharmed, "holistic_16")
    assert (unharmed / "jobs" / "holistic_16" / "result.json").stat().st_mtime_ns == result
    assert outcome(unharmed, "holistic_16") == before


@pytest.mark.parametrize(
    ("step", "rank", "phase"),
    [
        (2, 0, "training"),  # before the first checkpoint
        (8, 1, "evaluating"),  # the other rank, between two epochs
    ],
)
def test_killed_and_resumed_equals_never_killed(
    tiny: Path, unharmed: Path, tmp_path: Path, step: int, rank: int, phase: str
) -> None:
    plan = tmp_path / "faults.json"
    plan.write_text(json.dumps([{"job": "holistic_16", "step": step, "rank": rank, "phase": phase, "action": "kill"}]))
    folder = tmp_path / "run"
    train(tiny, folder, "holistic_16", env={"REGIONSTACK_FAULTS": str(plan)}, status=None)
    fired = read_lines(folder / "jobs" / "holistic_16" / "faults.jsonl")
    assert [(fault["step"], fault["rank"]) for fault in fired] == [(step, rank)]
    assert not (folder / "jobs" / "holistic_16" / "result.json").exists()
    train(tiny, folder, "holistic_16", env={"REGIONSTACK_FAULTS": str(plan)})
    assert outcome(folder, "holistic_16") == outcome(unharmed, "holistic_16")


def test_on_a_stop_request_all_ranks_save_the_same_step_and_exit(tiny: Path, unharmed: Path, tmp_path: Path) -> None:
    plan = tmp_path / "faults.json"
    plan.write_text(json.dumps([{"job": "holistic_16", "step": 5, "rank": 1, "action": "term"}]))
    folder = tmp_path / "run"
    output = train(tiny, folder, "holistic_16", env={"REGIONSTACK_FAULTS": str(plan)}, status=None)
    assert "holistic_16: stopped at step 5, saved; run the same command again" in output
    assert f"Exit code: {STOPPED}" in output, "horovodrun reports the first rank's exit status"
    assert (folder / "jobs" / "holistic_16" / "checkpoints" / "step-00000005").is_dir()
    train(tiny, folder, "holistic_16")
    assert outcome(folder, "holistic_16") == outcome(unharmed, "holistic_16")


def test_augmentation_changes_what_is_learned(tiny: Path, tmp_path: Path) -> None:
    digests = set()
    for shift in (0.0, 0.1):
        settings = ["stages.holistic_16.epochs=1", f"stages.holistic_16.augment.shift={shift}"]
        job = plan_recipe(load_config(str(tiny), settings)).of_stage("holistic_16", None)
        digests.add(run(payload(job, tmp_path / f"shift-{shift}"))["weights_digest"])
    assert len(digests) == 2


def test_mixed_and_erased_pages_are_the_same_after_an_interruption(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["stages.holistic_16.augment={mixup: 0.4, cutmix: 1.0, erase: 0.5}", "stages.holistic_16.epochs=2"]
    job = plan_recipe(load_config(str(tiny), settings)).of_stage("holistic_16", None)
    for name, value in HOOK.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "interrupted"
    folder.mkdir()
    (folder / PLAN_FILE).write_text(json.dumps([{"job": "holistic_16", "step": 5, "action": "raise"}]))
    with pytest.raises(InjectedFault):
        run(payload(job, folder))
    run(payload(job, folder))
    run(payload(job, tmp_path / "unharmed"))
    resumed, expected = outcome(folder, "holistic_16"), outcome(tmp_path / "unharmed", "holistic_16")
    assert read_lines(folder / "jobs" / "holistic_16" / "faults.jsonl")[0]["step"] == 5
    assert resumed == expected
    assert all(0 < row["train_accuracy"] < 1 for row in expected["history"])


def test_a_warm_start_of_the_next_stage_without_horovodrun(tiny: Path, unharmed: Path) -> None:
    regionstack("train", "--config", str(tiny), "--set", f"run.folder={unharmed}", "--stage", "holistic_32px")
    result = read_json(unharmed / "jobs" / "holistic_32px" / "result.json")
    source = read_json(unharmed / "jobs" / "holistic_16" / "result.json")
    assert result["world_size"] == 1
    assert result["start"]["kind"] == "warm_start"
    assert (result["start"]["from"], result["start"]["digest"]) == ("holistic_16", source["weights_digest"])


def test_a_broken_all_reduce_is_caught(tiny: Path, tmp_path: Path) -> None:
    output = horovodrun(
        2, "tests/multiprocess/programs/without_all_reduce.py", "--config", str(tiny), "--set",
        f"run.folder={tmp_path / 'run'}", "--stage", "holistic_16", status=None,
    )  # fmt: skip
    assert "hold other weights than rank 0" in output
    assert not list((tmp_path / "run" / "jobs" / "holistic_16").glob("checkpoints/step-*")), "no checkpoint was saved"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("stages.holistic_16.global_batch=25", "25 cannot be divided among 2 workers; nearest: 24 or 26"),
        ("stages.holistic_16.image_px=40", "40 is more than the height of the stored pages, 32 px"),
    ],
)
def test_an_invalid_setting_is_one_line_and_no_result(tiny: Path, tmp_path: Path, setting: str, words: str) -> None:
    folder = tmp_path / "run"
    output = train(tiny, folder, "holistic_16", "--set", setting, status=None)
    assert words in output
    assert "stderr>:Traceback" not in output, "horovodrun prints its own traceback; the ranks must not"
    assert not (folder / "jobs" / "holistic_16" / "result.json").exists()


def test_a_loss_that_is_not_finite_ends_the_job_with_its_batch(tiny: Path, tmp_path: Path) -> None:
    """All ranks agree; the message and the file name the step and its pages, and no checkpoint contains it."""
    settings = [
        "stages.holistic_16.optimizer={name: sgd, learning_rate: 1.0e+30}",
        "checkpoint.agree_steps=4", "checkpoint.every_steps=null",
    ]  # fmt: skip
    folder = tmp_path / "run"
    output = train(tiny, folder, "holistic_16", *(p for s in settings for p in ("--set", s)), status=None)
    job = folder / "jobs" / "holistic_16"
    assert "stderr>:Traceback" not in output
    assert not list(job.glob("checkpoints/step-*")), "weights were saved"
    shards = ShardSet.open(tiny.parent / "shards" / "train" / "holistic")
    with TrainBatches(shards, BatchPlan(global_batch=24, seed=1), start_step=1) as batches:
        expected = next(batches)
    with np.load(job / "not-finite-step-00000002.npz", allow_pickle=False) as file:
        assert file["step"] == 2
        assert [page.decode() for page in file["ids"]] == shards.ids[expected.positions].tolist()
        assert np.array_equal(file["images"], expected.images)
        assert np.array_equal(file["labels"], expected.labels)
        assert file["losses"].shape == (24,)
        failed = np.flatnonzero(~np.isfinite(file["losses"]))
    assert f"step 2: the loss is not finite on {len(failed)} of 24 pages" in output
    assert shards.ids[expected.positions[failed[0]]] in output


def test_gradients_that_overflow_in_the_compressed_all_reduce_are_named(tiny: Path, tmp_path: Path) -> None:
    """Loss and gradients are finite on both ranks; Horovod's float16 copies are not."""
    settings = [
        "stages.holistic_16.optimizer={name: sgd, learning_rate: 1.0e+6}", "training.compression=fp16",
        "checkpoint.agree_steps=4", "checkpoint.every_steps=null",
    ]  # fmt: skip
    folder = tmp_path / "run"
    output = train(tiny, folder, "holistic_16", *(p for s in settings for p in ("--set", s)), status=None)
    assert "set training.compression: none" in output
    assert "stderr>:Traceback" not in output
    with np.load(folder / "jobs" / "holistic_16" / "not-finite-step-00000002.npz", allow_pickle=False) as file:
        assert np.isfinite(file["losses"]).all()


def test_with_every_option_a_killed_job_resumes_to_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    """With averaged weights, micro-batches, clipping and warm-up, killed and resumed == never killed."""
    settings = [
        "stages.holistic_16.micro_batches=2", "stages.holistic_16.optimizer.ema_decay=0.9",
        "stages.holistic_16.optimizer.clip_norm=0.5", "stages.holistic_16.optimizer.warmup_epochs=2",
        "checkpoint.agree_steps=5", "training.label_smoothing=0.1",
        f"cluster.horovod.timeline={tmp_path / 'time.json'}",
    ]  # fmt: skip
    more = [part for setting in settings for part in ("--set", setting)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(tiny, whole, "holistic_16", *more)
    plan = tmp_path / "faults.json"
    plan.write_text(json.dumps([{"job": "holistic_16", "step": 8, "rank": 1, "action": "kill"}]))
    train(tiny, killed, "holistic_16", *more, env={"REGIONSTACK_FAULTS": str(plan)}, status=None)
    job = killed / "jobs" / "holistic_16"
    assert [fault["step"] for fault in read_lines(job / "faults.jsonl")] == [8]
    train(tiny, killed, "holistic_16", *more, env={"REGIONSTACK_FAULTS": str(plan)})
    assert "start: own checkpoint of step" in (job / "log.txt").read_text()
    assert outcome(killed, "holistic_16") == outcome(whole, "holistic_16")
    found = outcome(whole, "holistic_16")
    assert found["weights_digest"] == found["history"][found["best_epoch"] - 1]["weights_digest"], "the averages"
    best = whole / "jobs" / "holistic_16" / found["best_checkpoint"]
    averages, beside = load_arrays(best / "weights.safetensors"), load_arrays(best / "optimizer.safetensors")
    assert beside["average_updates"] == 4 * found["best_epoch"]
    assert not np.array_equal(beside["running/logits/kernel"], averages["logits/kernel"])
    assert '"name": "NEGOTIATE_ALLREDUCE"' in (tmp_path / "time.json").read_text().replace("GROUPED_", "")


def test_a_changed_configuration_is_refused(tiny: Path, unharmed: Path) -> None:
    output = train(tiny, unharmed, "holistic_16", "--set", "stages.holistic_16.epochs=9", status=None)
    assert "stages.holistic_16.epochs: 3 -> 9" in output


def test_the_job_folder_holds_its_configuration(unharmed: Path) -> None:
    config = yaml.safe_load((unharmed / "jobs" / "holistic_16" / "config.yaml").read_text())
    assert (config["stage"]["epochs"], config["seed"], config["region"]) == (3, 1, "holistic")
