"""The device of a rank, with a fake list of GPUs: TensorFlow's own functions are replaced and record their calls."""

import gc
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from data_tools.errors import UserError
from data_tools.protocol import EXPECT_GPU, THREADS
from trainer import device
from trainer.config import TrainingConfig
from trainer.device import collector_paused, hide_gpus, prepare_device, prepare_inference, prepare_small_fit, reasons
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
    from tensorflow.python.eager import context

    fake = FakeDevices([])
    config = tf.config
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv(EXPECT_GPU, raising=False)
    monkeypatch.setattr(device, "why_no_gpu", lambda: "failed call to cuInit")
    monkeypatch.setattr(config, "list_physical_devices", lambda kind=None: fake.gpus)
    monkeypatch.setattr(config, "set_visible_devices", lambda *gpus: fake.calls.append(("visible", *gpus)))
    monkeypatch.setattr(
        config.experimental, "set_memory_growth", lambda gpu, enable: fake.calls.append(("growth", gpu, enable))
    )
    monkeypatch.setattr(config.experimental, "enable_op_determinism", lambda: fake.calls.append(("deterministic",)))
    # Seeding creates a generator on the device: from there on TensorFlow accepts no settings.
    monkeypatch.setattr(context, "global_seed", lambda: None)
    monkeypatch.setattr(tf.random, "set_seed", lambda seed: fake.calls.append(("init", seed)))
    monkeypatch.setattr(config.optimizer, "set_experimental_options", lambda options: fake.calls.append(("as traced",)))
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
    assert devices.calls == [("as traced",), ("init", 7), ("deterministic",)]


def test_a_process_with_the_seed_keeps_what_it_has_compiled(
    devices: FakeDevices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow empties its cache of compiled functions when it is seeded."""
    from tensorflow.python.eager import context

    monkeypatch.setattr(context, "global_seed", lambda: 7)
    random.seed(1)
    prepare_device(World(1, 2, 1), TrainingConfig(), seed=7)
    assert ("init", 7) not in devices.calls
    assert random.random() == random.Random(7).random(), "Python's generator starts again"
    prepare_device(World(1, 2, 1), TrainingConfig(), seed=8)
    assert ("init", 8) in devices.calls


def test_the_collector_is_paused_and_left_as_it_was() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="inside"), collector_paused():
        assert not gc.isenabled()
        raise ValueError("inside")
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled(), "whoever disabled it wants it so"
    finally:
        gc.enable()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_none(devices: FakeDevices, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert prepare_device(World(0, 1, 0), TrainingConfig(), seed=7) == "CPU"


def test_more_ranks_than_gpus_are_rejected(devices: FakeDevices) -> None:
    devices.gpus = ["gpu0", "gpu1"]
    with pytest.raises(UserError, match=r"rank 6: .* 2 visible GPUs"):
        prepare_device(World(6, 8, 2), TrainingConfig(), seed=7)
    assert devices.calls == []


@pytest.mark.parametrize(("expected", "visible"), [(None, "0,1"), ("1", "0,1"), ("1", "-1"), ("1", ""), ("1", None)])
def test_a_promised_gpu_that_tensorflow_does_not_find_is_an_error(
    devices: FakeDevices, monkeypatch: pytest.MonkeyPatch, expected: str | None, visible: str | None
) -> None:
    """Otherwise a job that was planned for GPUs would train on the CPU, for days."""
    for name, value in ((EXPECT_GPU, expected), ("CUDA_VISIBLE_DEVICES", visible)):
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught:
        prepare_device(World(1, 2, 1), TrainingConfig(), seed=7)
    text = str(caught.value)
    assert all(part in text for part in (socket.gethostname(), "rank 1", "failed call to cuInit", visible or "unset"))
    assert "\n" not in text
    assert devices.calls == []


@pytest.mark.parametrize(("expected", "visible"), [("0", "0,1"), ("0", None), (None, None), (None, "-1")])
def test_a_cpu_is_fine_where_no_gpu_was_promised(
    devices: FakeDevices, monkeypatch: pytest.MonkeyPatch, expected: str | None, visible: str | None
) -> None:
    for name, value in ((EXPECT_GPU, expected), ("CUDA_VISIBLE_DEVICES", visible)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert prepare_device(World(1, 2, 1), TrainingConfig(), seed=7) == "CPU"


@pytest.mark.parametrize("used", [False, True])
def test_a_small_fit_computes_alike_in_a_new_process_and_after_a_training_job(
    devices: FakeDevices, monkeypatch: pytest.MonkeyPatch, used: bool
) -> None:
    """TensorFlow accepts no device and no threads once it has computed; a worker's are what the fit wants."""
    import tensorflow as tf

    def threads(number: int) -> None:
        if used:
            raise RuntimeError("cannot be modified after initialization")
        devices.calls.append(("threads", number))

    monkeypatch.setenv(THREADS, "3")
    for pool in ("intra", "inter"):
        monkeypatch.setattr(tf.config.threading, f"set_{pool}_op_parallelism_threads", threads)
    prepare_small_fit(seed=7)
    expected = [
        ("visible", [], "GPU"),
        *([] if used else [("threads", 3)] * 2),
        ("as traced",),
        ("init", 7),
        ("deterministic",),
    ]
    assert devices.calls == expected


LOG = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795703843.666302    3607 port.cc:153] oneDNN custom operations are on.
I0000 00:00:1795703843.667141    3607 cudart_stub.cc:31] Could not find cuda drivers on your machine.
E0000 00:00:1795703844.328107    3607 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: (303)
W0000 00:00:1795703844.328107    3607 gpu_device.cc:2343] Cannot dlopen some GPU libraries. Please make sure
E0000 00:00:1795703844.328107    3607 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: (303)
Traceback of something else about CUDA
"""


def test_the_reason_is_in_tensorflows_words() -> None:
    assert reasons(LOG) == (
        "Could not find cuda drivers on your machine; failed call to cuInit: INTERNAL: CUDA error: (303); "
        "Cannot dlopen some GPU libraries. Please make sure"
    )
    assert reasons("killed") == "it gives no reason"


def test_inference_sees_one_gpu_and_lets_its_memory_grow(devices: FakeDevices) -> None:
    devices.gpus = ["gpu0", "gpu1"]
    assert prepare_inference() == "GPU 0"
    assert devices.calls == [("visible", ["gpu0"], "GPU"), ("growth", "gpu0", True)]


def test_inference_without_a_gpu_runs_on_the_cpu(devices: FakeDevices) -> None:
    assert prepare_inference() == "CPU"
    assert devices.calls == [("visible", [], "GPU"), ("as traced",)]


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
