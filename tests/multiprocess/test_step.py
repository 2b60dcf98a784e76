"""The compiled training step alone: each setting has its effect, in a world of one."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trainer.config import ModelConfig, OptimizerConfig, TrainingConfig
from trainer.network.classifier import Classifier, Geometry, build_classifier
from trainer.network.weights import is_seed, weights_digest
from trainer.optimizer.build import build_optimizer
from trainer.soft_targets.config import Distillation
from trainer.soft_targets.loss import SoftTargets, student_losses
from trainer.training.step import TrainStep
from trainer.world import CPU_CYCLE_MS, World

CLASSES, BATCH = 4, 8
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def world() -> World:
    return World.start()


def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (BATCH, 32, 32, 1), dtype=np.uint8), np.arange(BATCH, dtype=np.int32) % CLASSES


def network(dropout: float = 0.0) -> Classifier:
    import keras

    keras.utils.set_random_seed(1)
    config = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,), dropout=dropout)
    return build_classifier(config, Geometry(32, 32, 1, 16), classes=CLASSES)


def one_step(
    world: World, training: TrainingConfig | None = None, **optimizer: Any
) -> tuple[Arrays, Arrays, TrainStep]:
    """Trainable weights before and after one step, and the step."""
    classifier = network()
    training = training or TrainingConfig()
    made = build_optimizer(OptimizerConfig(**{"learning_rate": 1.0, **optimizer}), precision=training.precision)
    step = TrainStep(classifier, made, world, training)
    before = {v.path: v.numpy().copy() for v in classifier.model.trainable_variables}
    step(*batch())
    return before, {v.path: v.numpy().copy() for v in classifier.model.trainable_variables}, step


def moved(before: Arrays, after: Arrays) -> float:
    """Global norm of the change."""
    return float(np.sqrt(sum(np.square(after[name] - before[name]).sum() for name in before)))


def test_on_cpus_horovod_looks_less_often_for_work(world: World) -> None:
    del world
    assert os.environ["HOROVOD_CYCLE_TIME"] == CPU_CYCLE_MS


def test_the_sums_are_those_of_the_batch(world: World) -> None:
    classifier = network()
    images, labels = batch()
    logits = np.asarray(classifier.logits(images, training=True))
    logits = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(BATCH), labels]
    _, _, step = one_step(world)
    loss, correct, pages = step.read_sums()
    assert loss == pytest.approx(losses.sum(), rel=1e-5)
    assert (correct, pages) == ((logits.argmax(axis=1) == labels).sum(), BATCH)


def test_label_smoothing_is_the_mix_with_the_uniform_distribution(world: World) -> None:
    images, labels = batch()
    logits = np.asarray(network().logits(images, training=True), np.float64)
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = 0.9 * np.eye(CLASSES)[labels] + 0.1 / CLASSES
    _, _, step = one_step(world, TrainingConfig(label_smoothing=0.1))
    assert step.read_sums()[0] == pytest.approx(-(targets * log_softmax).sum(), rel=1e-5)


def test_clipping_bounds_the_norm_of_all_gradients_together(world: World) -> None:
    free = moved(*one_step(world)[:2])
    assert free > 0.02, "the bound below must bind"
    assert moved(*one_step(world, clip_norm=0.01)[:2]) == pytest.approx(0.01, rel=1e-3)
    assert moved(*one_step(world, clip_norm=1e6)[:2]) == pytest.approx(free, rel=1e-5)


def test_weight_decay_is_decoupled_from_the_gradients(world: World) -> None:
    before, plain, _ = one_step(world, learning_rate=0.1)
    _, decayed, _ = one_step(world, learning_rate=0.1, weight_decay=0.5)
    name = "dense_1/kernel"
    np.testing.assert_allclose(decayed[name], plain[name] - 0.1 * 0.5 * before[name], atol=1e-6)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_low_and_keeps_weights_and_outputs_in_float32(world: World, precision: Any) -> None:
    import keras

    keras.mixed_precision.set_global_policy(precision)
    try:
        before, after, step = one_step(world, TrainingConfig(precision=precision), learning_rate=0.1)
        model = step.classifier.model
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
        assert step.classifier.backbone.layers[1].compute_dtype == precision.removeprefix("mixed_")
        assert model.output.dtype == "float32"
        assert 0 < moved(before, after) < np.inf
        scaled = any("scale" in v.path for v in step.optimizer.variables)
        assert scaled == (precision == "mixed_float16"), "small gradients vanish in float16 alone"
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def half_precision() -> Iterator[TrainingConfig]:
    import keras

    keras.mixed_precision.set_global_policy("mixed_float16")
    yield TrainingConfig(precision="mixed_float16")
    keras.mixed_precision.set_global_policy("float32")


def test_loss_scaling_finds_its_scale_and_then_follows_the_same_gradients(
    world: World, half_precision: TrainingConfig
) -> None:
    classifier = network()
    optimizer = build_optimizer(OptimizerConfig(learning_rate=1.0, clip_norm=0.01), precision="mixed_float16")
    step = TrainStep(classifier, optimizer, world, half_precision)
    optimizer.dynamic_scale.assign(2.0**30)
    before = {v.path: v.numpy().copy() for v in classifier.model.variables if not is_seed(v)}
    step(*batch())
    assert float(optimizer.dynamic_scale.numpy()) == 2.0**29, "too large a scale is halved"
    after = {v.path: v.numpy() for v in classifier.model.variables if not is_seed(v)}
    assert all(np.array_equal(after[name], before[name]) for name in before), "neither weights nor statistics moved"
    while int(optimizer.iterations.numpy()) == 0 and float(optimizer.dynamic_scale.numpy()) > 1:
        step(*batch())
    assert int(step.first_nonfinite_step.numpy()) == 0, "overflow is no fault"
    moves = {v.path: v.numpy() for v in classifier.model.trainable_variables}
    assert moved({name: before[name] for name in moves}, moves) == pytest.approx(0.01, rel=1e-3), "clipped unscaled"


def test_what_no_scale_mends_is_a_fault_under_half_precision_too(world: World, half_precision: TrainingConfig) -> None:
    classifier = network()
    optimizer = build_optimizer(OptimizerConfig(learning_rate=1.0), precision="mixed_float16")
    step = TrainStep(classifier, optimizer, world, half_precision)
    optimizer.dynamic_scale.assign(1.0)
    bias = next(v for v in classifier.model.trainable_variables if v.path == "logits/bias")
    bias.assign(np.full(bias.shape, np.nan, np.float32))
    step(*batch())
    assert int(step.first_nonfinite_step.numpy()) == 1
    assert float(optimizer.dynamic_scale.numpy()) == 1.0


def test_weights_are_averaged_step_by_step(world: World) -> None:
    classifier = network()
    step = TrainStep(
        classifier, build_optimizer(OptimizerConfig(learning_rate=1.0)), world, TrainingConfig(), ema_decay=0.15
    )
    kernel = next(v for v in classifier.model.variables if v.path == "logits/kernel")
    seen = []
    for _ in range(3):
        step(*batch())
        seen.append(kernel.numpy().copy())
    # The first average is the weights after the first step; then the decay is 1/10, and min(0.15, 2/11).
    expected = 0.15 * (0.1 * seen[0] + 0.9 * seen[1]) + 0.85 * seen[2]
    with step.evaluated_weights():
        np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-5)
        assert not np.allclose(expected, seen[2], rtol=1e-3)
    np.testing.assert_array_equal(kernel.numpy(), seen[2])


def test_a_step_that_is_not_finite_changes_nothing_and_is_remembered(world: World) -> None:
    classifier = network()
    optimizer = build_optimizer(OptimizerConfig(learning_rate=1.0))
    step = TrainStep(classifier, optimizer, world, TrainingConfig(), ema_decay=0.5)
    step(*batch())
    kernel = next(v for v in classifier.model.trainable_variables if v.path == "logits/kernel")
    kernel.assign(kernel.value * np.float32("nan"))
    others = [v for v in classifier.model.variables if not is_seed(v) and v is not kernel]
    digest = weights_digest(others)
    sound = kernel.numpy()
    step(*batch())
    kernel.assign(np.nan_to_num(sound))
    step(*batch())
    assert weights_digest(others) == digest, "neither weights nor statistics moved, nor did they after it"
    assert int(step.first_nonfinite_step.numpy()) == 2, "the first one is reported, not the last"
    assert step.nonfinite_losses.numpy().shape == (BATCH,)
    assert not np.isfinite(step.nonfinite_losses.numpy()).any()
    assert step.ema is not None
    assert int(step.ema.variables[-1].numpy()) == 1, "and no average took it in"


def test_building_twice_gives_the_same_names() -> None:
    first, second = (network(dropout=0.5).model for _ in range(2))
    assert [v.path for v in first.variables] == [v.path for v in second.variables]


def test_a_stored_page_is_reduced_by_area_and_scaled_inside() -> None:
    """The picture that reaches the backbone: means of 2 x 2 gray levels, widened, in -1..1."""
    classifier = network()
    images, _ = batch()
    expected = images.astype(np.float32).reshape(BATCH, 16, 2, 16, 2).mean(axis=(2, 4))[..., None] / 127.5 - 1
    np.testing.assert_allclose(np.asarray(classifier.preprocessing(images)), np.repeat(expected, 3, axis=-1), atol=1e-6)


@pytest.mark.parametrize(("stored", "px", "reduced"), [((32, 32), 24, (24, 24)), ((56, 42), 24, (24, 18))])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_stored_page_is_reduced_by_area_to_any_size(
    stored: tuple[int, int], px: int, reduced: tuple[int, int], channels: int
) -> None:
    """The same as OpenCV's INTER_AREA on float32 pages, to rounding; in mixed precision as well."""
    import cv2
    import keras

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        config = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,))
        classifier = build_classifier(config, Geometry(*stored, channels, px), classes=CLASSES)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *stored, channels), dtype=np.uint8)
    size = (reduced[1], reduced[0])
    areas = [cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA) for image in images]
    expected = np.stack(areas).reshape(BATCH, *reduced, channels) / 127.5 - 1
    found = np.asarray(classifier.preprocessing(images))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.broadcast_to(expected, (BATCH, *reduced, 3)), atol=1e-5)


def test_a_snapshot_stays_as_it_was_taken_and_the_next_one_takes_its_place(world: World) -> None:
    from trainer.training.state import SnapshotBuffers, TrainingState

    _, after, step = one_step(world, name="adam", learning_rate=0.01)
    buffers = SnapshotBuffers(step)
    buffers.touch()
    first = buffers.take(TrainingState(step=1), step.read_sums().reshape(1, -1))
    taken = {name: array.copy() for name, array in first.weights.items()}
    assert set(first.weights) == {v.path for v in step.classifier.model.variables}
    assert len(first.optimizer) == len(step.optimizer.variables) > 2 * len(after)
    np.testing.assert_array_equal(taken["logits/kernel"], after["logits/kernel"])
    step(*batch())
    for name, array in first.weights.items():
        np.testing.assert_array_equal(array, taken[name], err_msg=name)
    second = buffers.take(TrainingState(step=2), step.read_sums().reshape(1, -1))
    assert second.weights["logits/kernel"] is first.weights["logits/kernel"], "no fresh memory"
    assert (second.weights["logits/kernel"] != taken["logits/kernel"]).any()
    assert second.state["sums"] == [step.read_sums().tolist()]


def test_the_digest_tells_values_and_names_apart(world: World) -> None:
    one, two = network().model.variables, network().model.variables
    assert weights_digest(one) == weights_digest(two)
    assert weights_digest(one) != weights_digest(one[1:])
    kernel = next(v for v in two if v.path == "logits/kernel")
    kernel.assign(np.nextafter(kernel.numpy(), np.float32(1)))
    assert weights_digest(one) != weights_digest(two), "a last bit is enough"


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_student_learns_from_its_teacher_and_class_weights_act_on_the_labels_alone(
    world: World, micro_batches: int
) -> None:
    images, labels = batch()
    teacher = np.random.default_rng(3).dirichlet(np.ones(CLASSES), BATCH).astype(np.float32)
    some = (np.arange(BATCH) % 3 > 0).astype(np.float32)
    config = Distillation(temperature=2.0, alpha=0.7, pages=BATCH)

    def student(labelled: np.ndarray, weights: list[float] | None = None) -> tuple[float, Arrays]:
        classifier, made = network(), build_optimizer(OptimizerConfig(learning_rate=1.0))
        step = TrainStep(classifier, made, world, TrainingConfig(), micro_batches=micro_batches, class_weights=weights,
                         distill=config)  # fmt: skip
        step(images, labels, teacher, labelled)
        return float(step.read_sums()[0]), {v.path: v.numpy() for v in classifier.model.trainable_variables}

    loss, weights = student(some)
    if micro_batches == 1:
        logits = np.asarray(network().logits(images, training=True))
        hard = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(BATCH), labels]
        losses = student_losses(logits, hard, SoftTargets(teacher, some), config)
        assert loss == pytest.approx(np.asarray(losses).sum(), rel=1e-4)
    same_loss, unweighted = student(some, [0.0] * CLASSES)
    assert same_loss == pytest.approx(loss), "the reported loss has no class weights"
    _, without_labels = student(np.zeros(BATCH, np.float32))
    assert moved(unweighted, without_labels) < 1e-5, "the teacher's part has no class weights"
    assert moved(weights, without_labels) > 1e-3, "labels count where there are some"
