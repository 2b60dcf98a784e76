"""A few training steps with each of many settings, as one rank of a world.

Rank 0 writes FOLDER/CASE.npz: the weights that are evaluated after the last step, by name, how far all of them together
have moved, and the mean loss after each step. The global batches are the same for every number of workers. Ranks that
hold different weights end the program.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.augment.mix import mix, plan_mix
from trainer.config import ModelConfig, OptimizerConfig, TrainingConfig
from trainer.network.classifier import Classifier, Geometry, build_classifier
from trainer.network.weights import is_seed, weights_digest
from trainer.optimizer.build import build_optimizer
from trainer.optimizer.layer_rates import rate_shares
from trainer.training.gradients import MixedLabels
from trainer.training.step import TrainStep
from trainer.world import World

PX, CLASSES, GLOBAL_BATCH, STEPS = 32, 4, 24, 5
WEIGHTS = (4.0, 0.25, 1.0, 2.0)
"""Far from equal, so that parts of a batch have different sums of weights."""
MOMENTUM = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}


@dataclass(frozen=True)
class Case:
    """Settings of one run; batch_norm: whether the network has BatchNorm; pages_seed: of the pages.

    augment: its mixing applies.
    """

    optimizer: dict[str, Any] = field(default_factory=lambda: dict(MOMENTUM))
    training: dict[str, Any] = field(default_factory=dict)
    micro_batches: int = 1
    batch_norm: bool = False
    class_weights: tuple[float, ...] | None = None
    pages_seed: int = 3
    augment: AugmentConfig = field(default_factory=AugmentConfig)


MIXED = AugmentConfig(mixup=1.0, cutmix=1.0)
CASES: dict[str, Case] = {
    "plain": Case(),
    "overlapped": Case(training={"deterministic": False}),
    "clipped": Case(optimizer={**MOMENTUM, "clip_norm": 0.05}),
    "adam": Case(optimizer={"name": "adam", "learning_rate": 0.002, "weight_decay": 0.1}),
    "smoothed": Case(training={"label_smoothing": 0.1}, optimizer={**MOMENTUM, "weight_decay": 0.1}),
    "micro": Case(micro_batches=3),
    "weighted": Case(class_weights=WEIGHTS, training={"label_smoothing": 0.1}),
    "weighted_micro": Case(class_weights=WEIGHTS, training={"label_smoothing": 0.1}, micro_batches=3),
    "mixed": Case(augment=MIXED),
    "mixed_weighted_micro": Case(
        augment=MIXED, class_weights=WEIGHTS, training={"label_smoothing": 0.1}, micro_batches=3
    ),
    "averaged": Case(optimizer={**MOMENTUM, "ema_decay": 0.9}),
    "compiled": Case(training={"jit_compile": True, "deterministic": False}),
    "compressed": Case(training={"compression": "fp16"}),
    "bfloat16": Case(training={"precision": "mixed_bfloat16"}),
    "float16": Case(training={"precision": "mixed_float16"}, optimizer={**MOMENTUM, "clip_norm": 0.05}),
    "statistics": Case(batch_norm=True),
    **{
        f"synchronized_{seed}": Case(batch_norm=True, training={"synchronized_batch_norm": True}, pages_seed=seed)
        for seed in (3, 4, 5)
    },
    "everything": Case(
        batch_norm=True,
        micro_batches=2,
        optimizer={**MOMENTUM, "clip_norm": 1.0, "weight_decay": 0.01, "ema_decay": 0.9, "layer_decay": 0.8},
        training={"label_smoothing": 0.1, "compression": "fp16"},
    ),
    "again": Case(),
}


def network(batch_norm: bool) -> Classifier:
    """SmallConvNet, or a similar network without BatchNorm; the same weights in every process."""
    import keras

    keras.utils.set_random_seed(1)
    if batch_norm:
        config = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,), dropout=0.0)
        return build_classifier(config, Geometry(PX, PX, 1, PX), classes=CLASSES)
    policy = keras.mixed_precision.dtype_policy()
    keras.utils.clear_session(free_memory=False)
    keras.mixed_precision.set_dtype_policy(policy)
    layers = keras.layers
    inputs = keras.Input((PX, PX, 1), dtype="uint8", name="pages")
    x = layers.Rescaling(1 / 127.5, -1.0, dtype="float32", name="scale")(inputs)
    for number, width in enumerate((8, 16), start=1):
        x = layers.Conv2D(width, 3, strides=2, activation="relu", name=f"conv_{number}")(x)
    x = layers.Dense(16, activation="relu", name="dense")(layers.GlobalAveragePooling2D(name="pool")(x))
    logits = layers.Dense(CLASSES, dtype="float32", name="logits")(x)
    model = keras.Model(inputs, layers.Softmax(dtype="float32", name="probabilities")(logits))
    return Classifier(model, keras.Model(inputs, logits), model)


def batches(world: World, case: Case) -> list[tuple[np.ndarray, np.ndarray, MixedLabels | None]]:
    """This rank's part of the global batches: noise, brighter from class to class."""
    random = np.random.default_rng(case.pages_seed)
    parts = []
    for number in range(STEPS):
        labels = random.integers(0, CLASSES, GLOBAL_BATCH).astype(np.int32)
        noise = random.integers(0, 120, (GLOBAL_BATCH, PX, PX, 1))
        images = (noise + 40 * labels[:, None, None, None]).astype(np.uint8)
        part = slice(GLOBAL_BATCH * world.rank // world.size, GLOBAL_BATCH * (world.rank + 1) // world.size)
        mixed = mixed_part(images, labels, part, case.augment, number) if case.augment.mixes else None
        parts.append((images[part], labels[part], mixed))
    return parts


def mixed_part(images: np.ndarray, labels: np.ndarray, part: slice, augment: AugmentConfig, number: int) -> MixedLabels:
    """Mix this rank's part of the global batch in place; the other half of its labels."""
    plan = plan_mix(augment, range(part.start, part.stop), start=(1, 0, number), batch=GLOBAL_BATCH, size=(PX, PX))
    mix(images[part], images[plan.partners], plan)  # indexing by numbers copies the partners
    return MixedLabels(labels[plan.partners], plan.shares)


def run(case: Case, world: World) -> dict[str, np.ndarray]:
    """Train; the weights that count, `moved`, the norm of their change, and `losses`, the mean loss after each step."""
    import keras
    import tensorflow as tf

    training = TrainingConfig(**case.training)
    keras.mixed_precision.set_global_policy(training.precision)
    optimizer = OptimizerConfig(**case.optimizer)
    classifier = network(case.batch_norm)
    step = TrainStep(
        classifier,
        build_optimizer(optimizer, precision=training.precision, shares=rate_shares(classifier, optimizer.layer_decay)),
        world,
        training,
        micro_batches=case.micro_batches,
        ema_decay=optimizer.ema_decay,
        class_weights=case.class_weights,
    )
    variables = [v for v in classifier.model.variables if not is_seed(v)]
    start = [v.numpy().copy() for v in variables]
    pages, losses = batches(world, case), []
    for number, (images, labels, mixed) in enumerate(pages, start=1):
        step.set_learning_rate(optimizer.learning_rate * number / STEPS)  # a rate for each step, as in warm-up
        halves = None if mixed is None else MixedLabels(tf.constant(mixed.labels), tf.constant(mixed.shares))
        step(tf.constant(images), tf.constant(labels), mix=halves)
        loss, _, seen = world.gather(step.read_sums().reshape(1, -1), name="sums").sum(axis=0)
        losses.append(loss / seen)
    if int(step.first_nonfinite_step.numpy()):
        raise SystemExit("a step was not finite")
    world.check_equal(weights_digest(variables), step=STEPS)
    with step.evaluated_weights():
        weights = {v.path: v.numpy() for v in variables}
    squares = [np.square(weights[v.path] - before).sum() for v, before in zip(variables, start, strict=True)]
    return {**weights, "losses": np.array(losses), "moved": np.sqrt(np.sum(squares))}


def run_cases(folder: Path, world: World) -> None:
    """Run every case in turn."""
    for name, case in CASES.items():
        arrays = run(case, world)
        if world.rank == 0:
            np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)
