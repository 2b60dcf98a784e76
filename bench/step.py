"""Step time of the training loop against a bare compiled Keras step of the same model, batch and optimizer.

    python bench/step.py [--quick]

One worker, float32. The loop reads shards, keeps its figures, agrees with other ranks and checks for non-finite
gradients; the bare step gets one batch that is already in memory, and BatchNorm as Keras computes it. Both alternate,
in alternating order, and the figure is the median over the turns of the bare step's time as a multiple of the loop's.
Bars: 1.4 x for MobileNetV2 (batch 32), 1.08 x for InceptionResNetV2 (batch 16; not with --quick). Unless --quick, then
the collectives of bench/scaling.py (bar: 97 %), which also runs by itself.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from bench import scaling  # noqa: E402
from data_tools.conversion.convert import DataConfig, ShardConfig, convert  # noqa: E402
from data_tools.drawn import draw_data_set  # noqa: E402
from data_tools.shards.reader import BatchPlan, ShardSet, TrainBatches  # noqa: E402
from trainer.config import (  # noqa: E402
    CheckpointConfig,
    JobConfig,
    ModelConfig,
    OptimizerConfig,
    StageConfig,
    TrainingConfig,
)
from trainer.device import prepare_device  # noqa: E402
from trainer.job import classifier_for  # noqa: E402
from trainer.job_folder.checkpoint import CheckpointFolder  # noqa: E402
from trainer.job_folder.heartbeat import Heartbeat  # noqa: E402
from trainer.job_folder.journal import Journal  # noqa: E402
from trainer.job_folder.writer import BackgroundWriter  # noqa: E402
from trainer.network.freezing import layer_names, plan_freezing  # noqa: E402
from trainer.optimizer.build import build_optimizer  # noqa: E402
from trainer.scoring.evaluate import Evaluator  # noqa: E402
from trainer.tracking.charts import Charts  # noqa: E402
from trainer.training.agreement import Coordinator  # noqa: E402
from trainer.training.loop import Loop  # noqa: E402
from trainer.training.state import TrainingState  # noqa: E402
from trainer.training.step import TrainStep  # noqa: E402
from trainer.world import World  # noqa: E402

BATCH = {"MobileNetV2": 32, "InceptionResNetV2": 16}
BARS = {"MobileNetV2": 1.4, "InceptionResNetV2": 1.08}
PX = 128
TURNS = 16
TURN = 2
"""Steps per turn."""


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small backbone; under a minute")
    options = parser.parse_args()
    world = World.start()
    training = TrainingConfig(deterministic=False)
    prepare_device(world, training, seed=1)
    result: dict[str, Any] = {"bench": "step", "figure": {}, "bar": {}}
    with tempfile.TemporaryDirectory() as folder:
        for backbone in ("MobileNetV2",) if options.quick else BARS:
            result["figure"][backbone] = round(speed_up(backbone, Path(folder) / backbone, world, training), 4)
            result["bar"][backbone] = BARS[backbone]
        result["holds"] = all(result["figure"][name] >= bar for name, bar in result["bar"].items())
        if not options.quick:
            plan = scaling.Plan(scaling.make_shards(Path(folder) / "scaling"), "InceptionResNetV2", 64, 6)
            efficiency = scaling.report(scaling.measure(plan), "InceptionResNetV2", 64)
            result |= {"scaling": round(efficiency, 4), "scaling_bar": scaling.BAR}
            result["holds"] = result["holds"] and efficiency >= scaling.BAR
    print(json.dumps(result))
    return 0 if result["holds"] else 1


def speed_up(backbone: str, folder: Path, world: World, training: TrainingConfig) -> float:
    """Measure one network; how many times faster the loop's step is than the bare one."""
    batch = BATCH[backbone]
    job = make_job(folder, backbone, batch)
    loop = make_loop(job, folder, world, training)
    bare = bare_step(job, loop)
    with TrainBatches(loop.train, BatchPlan(global_batch=batch, seed=1)) as batches:
        times = take_turns(loop, batches, bare, TURNS)
    return report(backbone, batch, times)


def make_job(folder: Path, backbone: str, batch: int) -> JobConfig:
    """Drawn pages as shards of PX px, and a job on them."""
    pages = folder / "pages"
    draw_data_set(pages, seed=1, pages_per_class={"train": 8, "val": 1, "test": 1})
    labels = {split: str(pages / "labels" / f"{split}.txt") for split in ("train", "val", "test")}
    shards = ShardConfig(folder=str(folder / "shards"), height=PX, width=PX)
    convert(DataConfig(root=str(pages), **labels), shards, regions={}, seed=1)
    stage = StageConfig(image_px=PX, global_batch=batch, optimizer=OptimizerConfig(learning_rate=0.01))
    return JobConfig(
        name="bench", stage_name="bench", region="holistic", shards=str(folder / "shards"), seed=1, stage=stage,
        model=ModelConfig(backbone=backbone, weights="none"), training=TrainingConfig(deterministic=False),
        checkpoint=CheckpointConfig(every_seconds=None),
    )  # fmt: skip


def make_loop(job: JobConfig, folder: Path, world: World, training: TrainingConfig) -> Loop:
    """The loop as a job builds it."""
    train, val = (ShardSet.open(Path(job.shards) / split / "holistic") for split in ("train", "val"))
    classifier = classifier_for(job, train.manifest)
    step = TrainStep(classifier, build_optimizer(job.stage.optimizer), world, training)
    heartbeat, writer = Heartbeat(folder, rank=0), BackgroundWriter(CheckpointFolder(folder / "checkpoints", keep=1))
    return Loop(
        config=job, world=world, step=step, evaluator=Evaluator(classifier, world, batch=8), train=train, val=val,
        state=TrainingState(),
        writer=writer, journal=Journal(folder, rank=0, fixed={}, heartbeat=heartbeat),
        coordinator=Coordinator(world, heartbeat, writer, job.checkpoint.agree_steps),
        freezing=plan_freezing(job.stage, layer_names(classifier)), charts=Charts(folder, on=False),
    )  # fmt: skip


def bare_step(job: JobConfig, loop: Loop) -> Callable[[], Any]:
    """A hand-written step: the same network, optimizer and loss, one batch in memory."""
    import keras
    import tensorflow as tf

    classifier = classifier_for(job, loop.train.manifest)
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(classifier.model.trainable_variables)
    images = tf.constant(loop.train.gather(np.arange(job.stage.global_batch)))
    labels = tf.constant(loop.train.labels[: job.stage.global_batch])

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            logits = classifier.logits(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = classifier.model.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    return lambda: step().numpy()


def take_turns(loop: Loop, batches: TrainBatches, bare: Callable[[], Any], turns: int) -> list[tuple[float, float]]:
    """Seconds per step of (the loop, the bare step) by turn; the first turn, which compiles, is discarded."""

    def ours() -> None:
        loop.train_to(loop.state.step + TURN, batches)
        loop.step.read_sums()  # wait for the device

    def theirs() -> None:
        for _ in range(TURN):
            bare()

    times = []
    for turn in range(turns + 1):
        pair = dict.fromkeys((ours, theirs) if turn % 2 else (theirs, ours), 0.0)
        for action in pair:
            began = time.perf_counter()
            action()
            pair[action] = (time.perf_counter() - began) / TURN
        times.append((pair[ours], pair[theirs]))
    return times[1:]


def report(backbone: str, batch: int, times: list[tuple[float, float]]) -> float:
    """Print the table; returns the bare step as a multiple of the loop's, the median of the turns."""
    ours, bare = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = sorted(other / one for one, other in times)
    ratio, quarter = statistics.median(ratios), len(ratios) // 4
    print(f"{backbone} at {PX} px, batch {batch}, {os.cpu_count()} cores, {len(times)} turns of {TURN} steps")
    print(f"  {'bare Keras step':<20} {1000 * bare:9.1f} ms")
    middle = f"(half of the turns: {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})"
    print(f"  {'training loop':<20} {1000 * ours:9.1f} ms   {ratio:.3f} x faster   {middle}")
    return ratio


if __name__ == "__main__":
    sys.exit(main())
