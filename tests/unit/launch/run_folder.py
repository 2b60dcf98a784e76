"""Builds small run folders in the documented file formats, to test reports without a training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from trainer.scoring.decision import write_policy
from trainer.scoring.predictions import Predictions, read_predictions, write_predictions
from trainer.stack.config import StackConfig
from trainer.stack.pages import StackPayload, read_pages
from trainer.stack.policy import CROSS_FITTED, CrossFit, fit_policy

NAMES = (
    "letter",
    "form",
    "email",
    "handwritten",
    "advertisement",
    "scientific report",
    "scientific publication",
    "specification",
    "file folder",
    "news article",
    "budget",
    "invoice",
    "presentation",
    "questionnaire",
    "resume",
    "memo",
)

SKILL = {
    "holistic_128": 1.6,
    "holistic_256": 2.6,
    "top": 2.2,
    "bottom": 1.4,
    "left": 2.3,
    "right": 1.7,
    "stack": 3.4,
}
"""How far a model's logit of the true class stands above noise of deviation 1.1."""

REGION_JOBS = ("top", "bottom", "left", "right")
START = 1_790_000_000.0

VERSIONS = {
    "python": "3.11.2",
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "horovod": "0.28.1",
    "ray": "2.60.0",
}


@dataclass(frozen=True)
class RunSpec:
    """How far the run has come: jobs that are done, failed or running; how many classes and pages.

    policy: whether the stack left one; those of earlier versions did not.
    """

    done: Sequence[str] = tuple(SKILL)
    failed: Sequence[str] = ()
    running: Sequence[str] = ()
    retried: Sequence[str] = ()
    classes: int = 16
    pages: int = 320
    names: Sequence[str] = NAMES
    shards: str = "shards"
    test_ids: Sequence[str] = ()
    policy: bool = True


def build(run: Path, spec: RunSpec = RunSpec()) -> Path:
    """Write a run folder as `spec` says, and return it."""
    (run / "jobs").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(config(spec), sort_keys=False))
    classes = [{"id": i, "name": spec.names[i]} for i in range(spec.classes)]
    about = {
        "created": START,
        "versions": VERSIONS,
        "command": ["regionstack", "train-all"],
        "classes": classes,
        "jobs": list(SKILL),
    }
    (run / "run.json").write_text(json.dumps(about))
    clock = START
    for job in SKILL:
        started = START + 260 if job in REGION_JOBS else clock
        length = {"holistic_128": 95.0, "holistic_256": 160.0, "stack": 8.0}.get(job, 70.0 + 9 * len(job))
        if job in (*spec.done, *spec.failed, *spec.running):
            write_job(run, job, spec, started=started, length=length)
        clock = max(clock, started + length + 3)
    if spec.policy and set(spec.done) == set(SKILL):
        write_stack_policy(run)
    return run


def write_stack_policy(run: Path) -> None:
    """The policy as the stack's job fits it; the stack's validation outputs serve as those of its cross-fit."""
    predictions = run / "jobs" / "stack" / "predictions"
    held_out = read_predictions(predictions / "val.npz")
    write_predictions(predictions / CROSS_FITTED, held_out)
    members = tuple(name for name in SKILL if name not in ("holistic_128", "stack"))
    pages = read_pages(StackPayload(run=str(run), members=members))
    write_policy(run, fit_policy(pages, CrossFit(held_out, 5), StackConfig()))


def config(spec: RunSpec) -> dict[str, Any]:
    """The resolved configuration that such a run would have."""
    holistic = {"region": "holistic", "epochs": 6, "global_batch": 32}
    return {
        "seed": 1,
        "data": {
            "root": "pages",
            "train": "labels/train.txt",
            "val": "labels/val.txt",
            "test": "labels/test.txt",
        },
        "regions": "halves",
        "shards": {"folder": spec.shards, "height": 256, "width": 256},
        "model": {"backbone": "SmallConvNet", "weights": "none"},
        "stages": {
            "holistic_128": {**holistic, "image_px": 128, "start": "weights"},
            "holistic_256": {**holistic, "image_px": 256, "start": "holistic_128"},
            "regions": {"region": "each", "image_px": 256, "start": "holistic_256", "epochs": 6},
        },
        "stack": {"epochs": 20},
        "run": {"folder": "runs/demo"},
    }


def write_job(run: Path, job: str, spec: RunSpec, *, started: float, length: float) -> None:
    """Write one job's folder and its events."""
    folder = run / "jobs" / job
    (folder / "checkpoints" / "step-00000090").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000180").mkdir()
    (folder / "log.txt").write_text("log\n")
    state = "failed" if job in spec.failed else "running" if job in spec.running else "done"
    epochs = 6 if state == "done" else 3
    write_epochs(folder, job, epochs=epochs, started=started, length=length)
    write_events(run, job, state=state, retried=job in spec.retried, started=started, length=length)
    progress = {
        "job": job,
        "phase": "done" if state == "done" else "training",
        "epoch": epochs,
        "epochs": 6,
        "step": 30 * epochs,
        "steps": 180,
        "steps_per_epoch": 30,
        "loss": 0.41,
        "accuracy": 0.87,
        "pages_per_s": 210.0,
        "world_size": 2,
        "attempt": 1,
        "time": started + length,
    }
    (folder / "heartbeat-rank-0.json").write_text(json.dumps(progress))
    if state == "done":
        tables = {split: write_softmax(folder, job, split, spec) for split in ("val", "test")}
        write_result(folder, job, tables, started=started, length=length)


def write_epochs(folder: Path, job: str, *, epochs: int, started: float, length: float) -> None:
    """The learning curve, with a learning rate that falls once."""
    rows = []
    for epoch in range(1, epochs + 1):
        gain = 1 - np.exp(-epoch / 2.2)
        rows.append(
            {
                "epoch": epoch,
                "step": 30 * epoch,
                "train_loss": 2.7 * (1 - gain) + 0.1,
                "train_accuracy": 0.94 * gain,
                "val_loss": 2.7 * (1 - gain) + 0.25 + 0.03 * epoch,
                "val_accuracy": 0.88 * gain - 0.002 * epoch,
                "learning_rate": 0.1 if epoch < 5 else 0.09,
                "seconds": length / 6,
                "pages_per_s": 210.0,
                "weights_digest": f"{job}-{epoch}",
                "time": started + length * epoch / 6,
            }
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_events(run: Path, job: str, *, state: str, retried: bool, started: float, length: float) -> None:
    """The driver's events of the job: on its own slots if it trains a region, otherwise on all."""
    place = REGION_JOBS.index(job) if job in REGION_JOBS else -1
    host = f"node{place // 2 + 1}"
    first = 2 * (place % 2)
    slots = (
        [f"{host}:{first}", f"{host}:{first + 1}"] if place >= 0 else [f"node{h}:{i}" for h in (1, 2) for i in range(4)]
    )
    group = {host: 2} if place >= 0 else {"node1": 4, "node2": 4}
    common = {"job": job, "group": group, "slots": slots}
    events: list[dict[str, Any]] = [{"time": started, "event": "started", **common, "attempt": 1}]
    if retried:
        events.append(
            {
                "time": started + 20,
                "event": "retried",
                **common,
                "attempt": 1,
                "error": "rank 1 on node1: killed",
            }
        )
        events.append({"time": started + 22, "event": "started", **common, "attempt": 2})
    if state == "done":
        events.append({"time": started + length, "event": "done", **common, "attempt": 1})
    if state == "failed":
        error = "rank 0 on node1: ValueError: loss is <nan> & not finite\nTraceback (most recent call last):\n  …"
        events.append({"time": started + length, "event": "failed", **common, "attempt": 1, "error": error})
    with (run / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def write_softmax(folder: Path, job: str, split: str, spec: RunSpec) -> dict[str, float]:
    """The model's outputs: noise shared by all models in part, so that they err on some of the same pages."""
    rng = np.random.default_rng(7 if split == "test" else 8)
    labels = (np.arange(spec.pages) % spec.classes).astype(np.int32)
    hard = rng.normal(size=(spec.pages, spec.classes))
    own = np.random.default_rng(sum(job.encode())).normal(size=(spec.pages, spec.classes))
    logits = 0.8 * hard + 0.8 * own
    logits[np.arange(spec.pages), labels] += SKILL[job]
    near = (labels + 1) % spec.classes
    logits[np.arange(spec.pages), near] += 0.9 * (labels % 3 == 0)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    named = spec.test_ids if split == "test" else ()
    ids = np.array(named or [f"images/{split}-{i:05d}.tif" for i in range(spec.pages)])
    path = folder / "predictions" / f"{split}.npz"
    rows = Predictions(ids, labels, softmax.astype(np.float32), np.arange(spec.classes, dtype=np.int64))
    write_predictions(path, rows)
    return {"accuracy": float((softmax.argmax(1) == labels).mean())}


def write_result(folder: Path, job: str, tables: dict[str, dict[str, float]], *, started: float, length: float) -> None:
    """The job's final record."""
    source = {"holistic_128": None, "holistic_256": "holistic_128", "stack": None}.get(job, "holistic_256")
    start = {
        "kind": "warm_start" if source else "fresh",
        "from": f"jobs/{source}/checkpoints/step-00000180" if source else None,
        "digest": f"digest-of-{source}" if source else None,
    }
    result: dict[str, Any] = {
        "job": job,
        "region": "holistic" if job.startswith("holistic") else job,
        "stage": job,
        "world_size": 2,
        "epochs": 6,
        "best_epoch": 5,
        "best_checkpoint": "step-00000150",
        "val_accuracy": tables["val"]["accuracy"],
        "test_accuracy": tables["test"]["accuracy"],
        "val_loss": 0.5,
        "test_loss": 0.6,
        "parameters": 1234567,
        "weights_digest": f"digest-of-{job}",
        "start": start,
        "seconds": length,
        "started": started,
        "ended": started + length,
        "versions": VERSIONS,
    }
    if job == "stack":
        result["members"] = [name for name in SKILL if name not in ("holistic_128", "stack")]
    (folder / "result.json").write_text(json.dumps(result))
