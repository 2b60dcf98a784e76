"""Cost of checkpoints: training stall, time to save and load, and time from process start to the first step.

    python bench/checkpoint.py [--quick]

InceptionResNetV2 with Adam, as in the region models: weights and two moments. One worker. Stall: the time that a save
blocks the training thread, as a share of a minute; shown separately, the slowdown of the steps beside the writing.
First step: from the start of `launch/train.py` to the end of its first step, fresh, and resumed at the beginning and
at the end of an epoch; a fresh run reads no weight file.
Bars: with one save a minute, training stalls at most 1 % of the time; the first step of a resumed job ends at most 2 s
later than that of a fresh one. The figure is the larger of the two as a share of its bar.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from data_tools.config import to_mapping  # noqa: E402
from data_tools.drawn import draw_data_set  # noqa: E402
from data_tools.files import read_lines  # noqa: E402
from data_tools.shards.reader import BatchPlan, TrainBatches  # noqa: E402
from launch.config import load_config  # noqa: E402
from launch.recipe.prepare import check_shards, ensure_shards  # noqa: E402
from launch.recipe.stages import plan_recipe  # noqa: E402
from tests.helpers.faults import HOOK  # noqa: E402
from trainer.config import JobConfig  # noqa: E402
from trainer.device import prepare_device  # noqa: E402
from trainer.job import classifier_for  # noqa: E402
from trainer.job_data import open_data  # noqa: E402
from trainer.job_folder.checkpoint import CheckpointFolder  # noqa: E402
from trainer.job_folder.heartbeat import Heartbeat  # noqa: E402
from trainer.job_folder.journal import CHECKPOINTS, Journal, job_folder  # noqa: E402
from trainer.job_folder.writer import BackgroundWriter  # noqa: E402
from trainer.network.freezing import layer_names, plan_freezing  # noqa: E402
from trainer.optimizer.build import build_optimizer  # noqa: E402
from trainer.scoring.evaluate import Evaluator  # noqa: E402
from trainer.tracking.charts import Charts  # noqa: E402
from trainer.training.agreement import Coordinator  # noqa: E402
from trainer.training.loop import Loop  # noqa: E402
from trainer.training.state import (  # noqa: E402
    SnapshotBuffers,
    TrainingState,
    load_variables,
    restore_state,
    seed_counters,
    seed_generators,
)
from trainer.training.step import TrainStep  # noqa: E402
from trainer.world import World  # noqa: E402

BAR_SHARE, BAR_S = 0.01, 2.0
A_SAVE_EVERY_S = 60.0
STAGE = "bench"
PX, BATCH, PAGES_PER_CLASS = 128, 16, 8
STEPS_PER_EPOCH = 16 * PAGES_PER_CLASS // BATCH


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if both bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small backbone, one start of each kind; under a minute")
    parser.add_argument("--measure", metavar="CONFIG", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(json.dumps(measure(Path(options.measure), saves=2 if options.quick else 5)) + "\n")
        return 0
    backbone = "SmallConvNet" if options.quick else "InceptionResNetV2"
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(Path(folder), backbone)
        # In a separate process, so that the starts below find all memory and cores free.
        command = [sys.executable, __file__, "--measure", str(config), *(["--quick"] if options.quick else [])]
        saved = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        starts = first_steps(config, times=1 if options.quick else 2)
    return report(backbone, saved, starts)


def make_config(folder: Path, backbone: str) -> Path:
    """Drawn pages as shards of PX px, and the YAML file of one stage on them."""
    counts = {"train": PAGES_PER_CLASS, "val": 1, "test": 1}
    draw_data_set(folder / "pages", seed=1, pages_per_class=counts)
    labels = {split: str(folder / "pages" / "labels" / f"{split}.txt") for split in counts}
    config: dict[str, Any] = {
        "data": {"root": str(folder / "pages"), **labels},
        "regions": {"top": [0, 0, 1, 0.5]},
        "shards": {"folder": str(folder / "shards"), "height": PX, "width": PX},
        "model": {"backbone": backbone, "weights": "none"},
        "stages": {STAGE: {"image_px": PX, "epochs": 3, "global_batch": BATCH,
                           "optimizer": {"name": "adam", "learning_rate": 0.0001}}},
        "training": {"deterministic": False},
        "checkpoint": {"every_seconds": None, "keep": 1},
        "run": {"folder": str(folder / "run")},
    }  # fmt: skip
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(config))
    ensure_shards(load_config(str(path), []))
    return path


def job_of(path: Path) -> JobConfig:
    """The stage as `launch/train.py` plans it."""
    config = load_config(str(path), [])
    check_shards(config)
    return plan_recipe(config).of_stage(STAGE, None)


def measure(path: Path, *, saves: int) -> dict[str, float]:
    """Seconds of steps, saves and loads in one loop; leaves checkpoints at both ends of an epoch."""
    config = job_of(path)
    world = World.start()
    prepare_device(world, config.training, seed=1)
    run = path.parent / "run"
    folder = CheckpointFolder(job_folder(run, config.name) / CHECKPOINTS, keep=9, config=to_mapping(config))
    loop = make_loop(config, path.parent, world, CheckpointFolder(path.parent / "scratch", keep=1))
    with TrainBatches(loop.train, BatchPlan(global_batch=BATCH, seed=config.seed)) as batches:

        def step() -> float:
            began = time.perf_counter()
            loop.train_to(loop.state.step + 1, batches)
            loop.step.read_sums()  # wait for the device
            return time.perf_counter() - began

        for _ in range(3):
            step()
        loop.writer.wait()
        rows = [one_save(loop, step) for _ in range(saves)]
    result = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    snapshot = SnapshotBuffers(loop.step).take(loop.state, loop.step.read_sums().reshape(1, -1))
    for at in (1, 2 * STEPS_PER_EPOCH - 1):
        history = [{"epoch": number + 1} for number in range(at // STEPS_PER_EPOCH)]
        state = {**snapshot.state, "step": at, "history": history, "best": None}
        folder.write(type(snapshot)(at, snapshot.weights, snapshot.optimizer, state), best=None)
    began = time.perf_counter()
    found = folder.newest()
    result["load"] = time.perf_counter() - began
    if found is None:
        raise RuntimeError("the checkpoint is gone")
    load_variables(found, loop.step)
    counters = seed_counters(found.weights)
    seed_generators(loop.step.classifier.model.variables, config, rank=world.rank, counters=counters)
    restore_state(found.state, loop.step, world)
    result["restore"] = time.perf_counter() - began - result["load"]
    result["mib"] = sum(file.stat().st_size for file in folder.path(1).iterdir()) / 2**20
    return result


def one_save(loop: Loop, step: Any) -> dict[str, float]:
    """Steps alone, a save, and steps until it is written."""
    alone = statistics.median(step() for _ in range(3))
    began = time.perf_counter()
    loop.saver.save()
    stall = time.perf_counter() - began
    slowdown = 0.0
    while loop.writer.busy():
        slowdown += step() - alone
    return {"step": alone, "stall": stall, "slowdown": slowdown, "save": time.perf_counter() - began}


def make_loop(config: JobConfig, folder: Path, world: World, checkpoints: CheckpointFolder) -> Loop:
    """The loop as a job builds it."""
    data = open_data(config, Path(config.shards).parent)
    classifier = classifier_for(config, data.manifest)
    step = TrainStep(classifier, build_optimizer(config.stage.optimizer), world, config.training)
    heartbeat, writer = Heartbeat(folder, rank=0), BackgroundWriter(checkpoints)
    return Loop(
        config=config, world=world, step=step, evaluator=Evaluator(classifier, world, batch=8), train=data.train,
        val=data.val, state=TrainingState(),
        writer=writer, journal=Journal(folder, rank=0, fixed={}, heartbeat=heartbeat),
        coordinator=Coordinator(world, heartbeat, writer, config.checkpoint.agree_steps),
        freezing=plan_freezing(config.stage, layer_names(classifier)), charts=Charts(folder, on=False),
    )  # fmt: skip


def first_steps(path: Path, *, times: int) -> dict[str, list[float]]:
    """Seconds from the start of a process to its first finished step: fresh, and resumed at two positions."""
    late = 2 * STEPS_PER_EPOCH - 1
    job = path.parent / "run" / "jobs" / STAGE
    kept = {at: job / CHECKPOINTS / f"step-{at:08d}" for at in (1, late)}
    for at, checkpoint in kept.items():
        checkpoint.rename(path.parent / f"kept-{at}")
    seconds: dict[str, list[float]] = {"fresh": [], "resumed, step 1": [], f"resumed, step {late}": []}
    for number in range(times):
        for name, at in zip(seconds, (0, 1, late), strict=True):
            run = path.parent / f"start-{number}-{at}"
            if at:
                (run / "jobs" / STAGE / CHECKPOINTS).mkdir(parents=True)
                (path.parent / f"kept-{at}").rename(run / "jobs" / STAGE / CHECKPOINTS / f"step-{at:08d}")
            seconds[name].append(first_step(path, run, at + 1))
            if at:
                (run / "jobs" / STAGE / CHECKPOINTS / f"step-{at:08d}").rename(path.parent / f"kept-{at}")
    return seconds


def first_step(path: Path, run: Path, step: int) -> float:
    """Start `launch/train.py` and kill it after `step` finished steps, its first; the seconds until then."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "faults.json").write_text(json.dumps([{"job": STAGE, "step": step, "action": "kill"}]))
    command = [sys.executable, str(ROOT / "launch/train.py"), "--config", str(path), "--stage", STAGE]
    began = time.time()
    ended = subprocess.run(
        [*command, "--set", f"run.folder={run}"], check=False, capture_output=True, text=True,
        env={**os.environ, **HOOK, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    fired = read_lines(run / "jobs" / STAGE / "faults.jsonl")
    if len(fired) != 1:
        raise RuntimeError(f"not killed at step {step}: {ended.stderr[-2000:]}")
    return float(fired[0]["time"]) - began


def report(backbone: str, saved: dict[str, float], starts: dict[str, list[float]]) -> int:
    """Print the table and the line of JSON."""
    share = saved["stall"] / A_SAVE_EVERY_S
    print(f"{backbone} with Adam, {saved['mib']:.0f} MiB a checkpoint, {os.cpu_count()} cores, one worker")
    print(f"  {'step of ' + str(BATCH) + ' pages at ' + str(PX) + ' px':<34} {saved['step']:8.3f} s")
    print(f"  {'training stalled by a save':<34} {saved['stall']:8.3f} s   {100 * share:.2f} % at one a minute")
    print(f"  {'steps beside the write, slower by':<34} {saved['slowdown']:8.3f} s   in all")
    print(f"  {'save, until it is on disk':<34} {saved['save']:8.3f} s   (at the end of a step)")
    print(f"  {'verify and read':<34} {saved['load']:8.3f} s")
    print(f"  {'restore into the model':<34} {saved['restore']:8.3f} s")
    # Other work on the machine only makes a start longer.
    shortest = {name: min(values) for name, values in starts.items()}
    for name, seconds in shortest.items():
        later = "" if name == "fresh" else f"   {seconds - shortest['fresh']:+.2f} s"
        print(f"  {'first step, ' + name:<34} {seconds:8.2f} s{later}")
    later = max(shortest.values()) - shortest["fresh"]
    figure = max(share / BAR_SHARE, later / BAR_S)
    values = {"stall_share": round(share, 5), "first_step_later_s": round(later, 3)}
    print(json.dumps({"bench": "checkpoint", "figure": round(figure, 3), "bar": 1.0, "holds": figure <= 1, **values}))
    return 0 if figure <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
