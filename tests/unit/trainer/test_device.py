"""The device of a rank, with a fake list of GPUs: TensorFlow's own functions are replaced and record their calls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from data_tools.errors import UserError
from trainer.config import TrainingConfig
from trainer.device import hide_gpus, prepare_device, prepare_inference
from trainer.world import World


@dataclass
class FakeDevices:
    """What TensorFlow lists, and the calls that it received, in order."""

    gpus: list[str]
    calls: list[tuple[Any, ...]] = field(default_factory=list)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> FakeDevices:
    import keras
    import tensorflow as tf

    fake = FakeDevices([])
    config = tf.config
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(config, "list_physical_devices", lambda kind=None: fake.gpus)
    monkeypatch.setattr(config, "set_visible_devices", lambda *gpus: fake.calls.append(("visible", *gpus)))
    monkeypatch.setattr(
        config.experimental, "set_memory_growth", lambda gpu, enable: fake.calls.append(("growth", gpu, enable))
    )
    monkeypatch.setattr(config.experimental, "enable_op_determinism", lambda: fake.calls.append(("deterministic",)))
    # Seeding creates a generator on the device: from there on TensorFlow accepts no settings.
    monkeypatch.setattr(keras.utils, "set_random_seed", lambda seed: fake.calls.append(("init", seed)))
    monkeypatch.setattr(keras.mixed_precision, "set_global_policy", lambda policy: None)
    return fake


@pytest.mark.parametrize("local_rank", [0, 2])
def test_a_rank_sees_its_own_gpu_alone_and_lets_its_memory_grow_before_tensorflow_starts(
    devices: FakeDevices, local_rank: int
) -> None:
    devices.gpus = ["gpu0", "gpu1", "gpu2"]
    name = prepare_device(World(4, 8, local_rank), TrainingConfig(deterministic=False), seed=7)
    own = f"gpu{local_rank}"
    assert name == f"GPU {local_rank}"
    assert devices.calls == [("visible", own, "GPU"), ("growth", own, True), ("init", 7)]


def test_without_gpus_a_rank_trains_on_the_cpu(devices: FakeDevices) -> None:
    assert prepare_device(World(1, 2, 1), TrainingConfig(), seed=7) == "CPU"
    assert devices.calls == [("init", 7), ("deterministic",)]


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_none(devices: FakeDevices, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert prepare_device(World(0, 1, 0), TrainingConfig(), seed=7) == "CPU"


def test_more_ranks_than_gpus_are_rejected(devices: FakeDevices) -> None:
    devices.gpus = ["gpu0", "gpu1"]
    with pytest.raises(UserError, match=r"rank 6: .* 2 visible GPUs"):
        prepare_device(World(6, 8, 2), TrainingConfig(), seed=7)
    assert devices.calls == []


def test_a_promised_gpu_that_tensorflow_does_not_find_is_an_error(
    devices: FakeDevices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a job that was planned for GPUs would train on the CPU, for days."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UserError, match="rank 1: CUDA_VISIBLE_DEVICES=0,1"):
        prepare_device(World(1, 2, 1), TrainingConfig(), seed=7)
    assert devices.calls == []


def test_inference_sees_one_gpu_and_lets_its_memory_grow(devices: FakeDevices) -> None:
    devices.gpus = ["gpu0", "gpu1"]
    assert prepare_inference() == "GPU 0"
    assert devices.calls == [("visible", ["gpu0"], "GPU"), ("growth", "gpu0", True)]


def test_inference_without_a_gpu_runs_on_the_cpu(devices: FakeDevices) -> None:
    assert prepare_inference() == "CPU"
    assert devices.calls == [("visible", [], "GPU")]


def test_hidden_gpus_are_not_visible(devices: FakeDevices) -> None:
    devices.gpus = ["gpu0", "gpu1"]
    hide_gpus()
    assert devices.calls == [("visible", [], "GPU")]


@pytest.mark.parametrize("prepare", [prepare_inference, hide_gpus])
def test_a_process_that_has_used_a_gpu_keeps_its_settings(
    devices: FakeDevices, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[], object]
) -> None:
    import tensorflow as tf

    def reject(*arguments: object) -> None:
        raise RuntimeError("Visible devices cannot be modified after being initialized")

    devices.gpus = ["gpu0"]
    monkeypatch.setattr(tf.config, "set_visible_devices", reject)
    prepare()
    assert devices.calls == []
