"""One fold of one arm of bench/accuracy.py: a run of the product, and its record."""

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.accuracy_arms import Arm, settings_of
from data_tools.documents.data_set import SPLITS
from data_tools.files import append_line, read_json, read_lines, sha256, write_atomically, write_json
from data_tools.shards.manifest import MANIFEST
from data_tools.stop import STOPPED, StopRequest
from launch.config import PRESET_FOLDER, Config, load_config
from launch.recipe.stages import plan_recipe
from trainer.config import STACK, JobConfig
from trainer.scoring.decision import judge, read_policy
from trainer.scoring.metrics import accuracy, correct, expected_calibration_error, negative_log_likelihood
from trainer.scoring.predictions import read_predictions

ROOT = Path(__file__).resolve().parent.parent
Record = dict[str, Any]


@dataclass(frozen=True)
class Speed:
    """Seconds of a page at `px` in a step and in an evaluation, and of building and compiling a job's network."""

    px: int
    page_s: float
    evaluated_page_s: float
    start_s: float


@dataclass(frozen=True)
class Setting:
    """What all arms share. out: folder of everything; base: configuration without data and folders; budget_s: of a
    fold; pages: of the splits of a fold."""

    out: Path
    root: Path
    base: Mapping[str, Any]
    budget_s: float
    speed: Speed
    pages: Mapping[str, int]

    def settings_of(self, arm: Arm) -> list[str]:
        """The settings of an arm."""
        return settings_of(arm, regions=bool(self.base["regions"]))

    def base_of(self, arm: Arm) -> dict[str, Any]:
        """The configuration that an arm's settings change."""
        if arm.preset is None:
            return dict(self.base)
        weights = {"weights": self.base["model"]["weights"]}
        return {"preset": arm.preset, "model": weights, **{key: self.base[key] for key in ("regions", "checkpoint")}}


def speed_path(out: Path, px: int) -> Path:
    """Where a folder keeps the speed of its runs."""
    return out / f"speed-{px}.json"


def measured_speed(out: Path, base: Mapping[str, Any], *, classes: int, px: int) -> Speed:
    """The speed of one job on this machine; measured once per folder, so that a rerun trains the same epochs."""
    path = speed_path(out, px)
    if not path.exists():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
            write_json(path, child.submit(_measure, dict(base), classes, px).result())
    return Speed(**read_json(path))


def _measure(base: dict[str, Any], classes: int, px: int) -> dict[str, Any]:
    from launch.config import config_from
    from trainer.measure_speed import Calibration
    from trainer.network.classifier import Geometry

    config = config_from({**base, "data": {"root": ".", "train": "x", "val": "x", "test": "x"}})
    job = plan_recipe(config).jobs[0]
    side = config.shards.height
    found = Calibration(job).measure(job, Geometry(side, side, 1, px), classes=classes, batch=job.stage.global_batch)
    return {"px": px, "page_s": found.steps_s[1] / found.batches[1], "evaluated_page_s": found.evaluated_page_s,
            "start_s": found.startup_s}  # fmt: skip


def configured(
    setting: Setting, arm: Arm, labels: Mapping[str, str], *, shards: Path, like: Config | None = None
) -> Config:
    """The configuration of an arm on a fold, with as many epochs as fit the budget, or as many as `like` has.

    Raises:
        UserError: a setting that this version does not have.
    """
    base = setting.base_of(arm)
    shards = shards.with_name(f"{shards.name}-{arm.preset}") if arm.preset else shards
    data = {"root": str(setting.root), **labels}
    mapping = {**base, "data": data, "shards": {**base.get("shards", {}), "folder": str(shards)}}
    path = shards.with_suffix(".yaml")
    write_atomically(path, yaml.safe_dump(mapping, sort_keys=False))
    config = load_config(str(path), setting.settings_of(arm))
    if like is not None:
        epochs = {name: stage.epochs for name, stage in like.stages.items()}
    else:
        factor = _epochs_factor(setting, plan_recipe(config).jobs)
        epochs = {name: max(1, round(stage.epochs * factor)) for name, stage in config.stages.items()}
    scaled = [f"stages.{name}.epochs={count}" for name, count in epochs.items()]
    run = setting.out / "runs" / f"{arm.name}-{_identity(setting, arm, scaled, labels)}" / shards.parent.name
    return load_config(str(path), [*setting.settings_of(arm), *scaled, f"run.folder={run}"])


def _identity(setting: Setting, arm: Arm, scaled: Sequence[str], labels: Mapping[str, str]) -> str:
    """Eight hex digits of all that determines an arm's results on a fold: others are another run."""
    base = {key: value for key, value in setting.base_of(arm).items() if key != "checkpoint"}
    if arm.preset:
        base["preset"] = sha256(PRESET_FOLDER / f"{arm.preset}.yaml")
    files = [sha256(Path(labels[split])) for split in SPLITS]
    return digest([base, setting.settings_of(arm), list(scaled), files])


def digest(value: Any) -> str:
    """Eight hex digits of plain data."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=4).hexdigest()


def _epochs_factor(setting: Setting, jobs: Sequence[JobConfig]) -> float:
    """By what to multiply all epochs so that the jobs, one after the other, take the budget; 0 if it is too small."""
    epochs_s = sum(job.stage.epochs * epoch_seconds(setting, job) for job in jobs)
    return max(setting.budget_s - len(jobs) * setting.speed.start_s, 0.0) / epochs_s


def epoch_seconds(setting: Setting, job: JobConfig) -> float:
    """Estimated seconds of an epoch: its steps, BatchNorm's statistics, and the evaluation."""
    scale = (job.stage.image_px / setting.speed.px) ** 2
    batch = job.stage.global_batch
    pages = setting.pages["train"] * (1 if job.fold is None else 1 - 1 / job.fold.of)
    evaluated = min(job.training.batchnorm_batches * batch, pages) + setting.pages["val"]
    return scale * (pages * setting.speed.page_s + evaluated * setting.speed.evaluated_page_s)


def record_path(config: Config, out: Path) -> Path:
    """The record of a finished run."""
    run = config.paths.run
    return out / "results" / run.parent.name / f"{run.name}.json"


def run_fold(config: Config, arm: Arm, *, out: Path, like: Config | None, keep: bool) -> Record | None:
    """Train what is left of a run; its record, None if the run fails. Exits at a stop request.

    like: the run whose trained models it takes over. keep: keep checkpoints.
    """
    path = record_path(config, out)
    if path.exists():
        return dict(read_json(path))
    run, status = config.paths.run, 0
    if like is not None:
        take_over(like.paths.run, run, [job.name for job in plan_recipe(config).jobs])
    if not converted(config):  # once for all arms, so it is not part of an arm's minutes
        status = regionstack(config, "convert")
    status = status or timed(run, lambda: regionstack(config, "train"))
    if status == STOPPED:
        raise SystemExit("stopped; the same command continues")
    if status:
        sys.stderr.write(f"{arm.name}, {run.name}: failed; see {run / 'bench.log'}\n")
        return None
    minutes = sum(line["seconds"] for line in read_lines(run / "wall.jsonl")) / 60
    before = 0.0 if like is None else read_json(record_path(like, out))["minutes"]
    record = {"arm": arm.name, "fold": run.name, "minutes": minutes + before, **figures(config)}
    write_json(path, record)
    if not keep:
        for checkpoints in run.glob("jobs/*/checkpoints"):
            shutil.rmtree(checkpoints)
    return record


def take_over(source: Path, run: Path, jobs: Sequence[str]) -> None:
    """Copy finished training jobs into a run that has none, without their checkpoints."""
    if (run / "jobs").exists():
        return
    staging = run.with_name(f".{run.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for job in jobs:
        shutil.copytree(source / "jobs" / job, staging / "jobs" / job, ignore=shutil.ignore_patterns("checkpoints"))
    if (source / "weights").exists():
        shutil.copytree(source / "weights", staging / "weights")
    staging.rename(run)


def timed(run: Path, work: Callable[[], int]) -> int:
    """Call `work` and add its duration to the run's, however it ends."""
    began = time.monotonic()
    try:
        return work()
    finally:
        append_line(run / "wall.jsonl", {"seconds": time.monotonic() - began})


def converted(config: Config) -> bool:
    """Whether the shards of a fold are complete."""
    sets = [config.paths.shard_set(split, region) for split in SPLITS for region in config.boxes]
    return all((folder / MANIFEST).exists() for folder in sets)


def regionstack(config: Config, command: str) -> int:
    """A command in a process of its own, on all cores; its exit status. `train`: all jobs, one after the other."""
    from launch.config import resolved

    run = config.paths.run
    run.mkdir(parents=True, exist_ok=True)
    path = run / "bench.yaml"
    write_atomically(path, yaml.safe_dump(resolved(config), sort_keys=False))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    arguments = [sys.executable, "-m", "launch.cli", command, "--config", str(path)]
    with (run / "bench.log").open("a") as log:
        child = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
        # It saves, and exits with STOPPED.
        with StopRequest(on_signal=lambda numbers: child.terminate()):
            return child.wait()


def figures(config: Config) -> Record:
    """Figures of all models of a finished run on its test pages, and which pages each has right."""
    run = config.paths.run
    names = (*plan_recipe(config).members, STACK)
    found = {name: read_predictions(run / "jobs" / name / "predictions" / "test.npz") for name in names}
    labels = found[STACK].labels
    judged = judge(read_policy(run), {name: one.softmax for name, one in found.items()})
    accepted = np.array(judged.decisions) == "accepted"
    scores = {
        name: {
            "accuracy": accuracy(labels, softmax),
            "nll": negative_log_likelihood(labels, softmax),
            "ece": expected_calibration_error(labels, softmax),
        }
        for name, softmax in judged.probabilities.items()
    }
    right = {name: correct(labels, softmax) for name, softmax in judged.probabilities.items()}
    return {
        "epochs": {name: stage.epochs for name, stage in config.stages.items()},
        "holistic": names[0],
        "scores": scores,
        "accepted": accepted.astype(int).tolist(),
        "softmax": judged.probabilities[STACK].astype(float).tolist(),
        "labels": labels.tolist(),
        "ids": found[STACK].ids.tolist(),
        "right": {name: one.astype(int).tolist() for name, one in right.items()},
    }
