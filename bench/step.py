"""Step time of the training loop against a bare compiled Keras step of the same model, batch and optimizer.

    python bench/step.py [--quick]

One worker. The loop reads shards, keeps its figures, agrees with other ranks and checks for non-finite gradients; the
bare step gets one batch that is already in memory. Both alternate, in alternating order, and the figure is the median
ratio of the turns. Bar: the loop is at most 3 % slower than the bare step. Unless --quick, then the weak scaling of
bench/scaling.py (bar: 95 %), which also runs by itself.
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
from data_tools.shards.reader import ShardSet, TrainBatches  # noqa: E402
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
from trainer.scoring.evaluate import Evaluator  # noqa: E402
from trainer.training.agreement import Coordinator  # noqa: E402
from trainer.training.loop import Loop  # noqa: E402
from trainer.training.state import TrainingState  # noqa: E402
from trainer.training.step import TrainStep, build_optimizer  # noqa: E402
from trainer.world import World  # noqa: E402

BAR = 1.03
PX = 128
TURN = 2
"""Steps per turn."""


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small backbone; under a minute")
    options = parser.parse_args()
    backbone, batch, turns = ("MobileNetV2", 16, 16) if options.quick else ("InceptionResNetV2", 16, 16)
    world = World.start()
    training = TrainingConfig(deterministic=False)
    prepare_device(world, training, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(Path(folder), backbone, batch)
        loop = make_loop(job, Path(folder), world, training)
        bare = bare_step(job, loop)
        with TrainBatches(loop.train, global_batch=batch, seed=1) as batches:
            times = take_turns(loop, batches, bare, turns)
        figure = report(backbone, batch, times)
        result = {"bench": "step", "figure": round(figure, 4), "bar": BAR, "holds": figure <= BAR}
        if not options.quick:
            turns_of = scaling.measure(scaling.Plan(scaling.make_shards(Path(folder) / "scaling"), backbone, 64, 6))
            efficiency = scaling.report(turns_of, backbone, 64)
            result |= {"scaling": round(efficiency, 4), "scaling_bar": scaling.BAR}
            result["holds"] = result["holds"] and efficiency >= scaling.BAR
    print(json.dumps(result))
    return 0 if result["holds"] else 1


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
        freezing=plan_freezing(job.stage, layer_names(classifier)),
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
    """Print the table; returns the loop's step as a multiple of the bare step, the median of the turns."""
    ours, bare = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = sorted(one / other for one, other in times)
    ratio, quarter = statistics.median(ratios), len(ratios) // 4
    print(f"{backbone} at {PX} px, batch {batch}, {os.cpu_count()} cores, {len(times)} turns of {TURN} steps")
    print(f"  {'bare Keras step':<20} {1000 * bare:9.1f} ms")
    middle = f"(half of the turns: {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})"
    print(f"  {'training loop':<20} {1000 * ours:9.1f} ms   {ratio:.3f} x   {middle}")
    return ratio


if __name__ == "__main__":
    sys.exit(main())
