"""The devices of a process: the GPU of a training rank, of an inference process, or none; threads, determinism."""

import contextlib
import os
from typing import Any

from data_tools.errors import UserError
from data_tools.protocol import THREADS
from trainer.config import TrainingConfig
from trainer.world import World


def prepare_device(world: World, training: TrainingConfig, *, seed: int) -> str:
    """Set up this rank's GPU (or the CPU), threads, random seeds, determinism and precision; returns the device's name.

    Call it before TensorFlow uses a device.

    Raises:
        UserError: the host runs more workers than it has visible GPUs, or TensorFlow finds none of the visible GPUs.
    """
    import keras
    import tensorflow as tf

    gpu = _gpu_of(world)
    if gpu is not None:
        tf.config.set_visible_devices(gpu, "GPU")
        tf.config.experimental.set_memory_growth(gpu, True)
    threads = int(os.environ.get(THREADS, "0"))
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    keras.utils.set_random_seed(seed)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_global_policy(training.precision)
    return "CPU" if gpu is None else f"GPU {world.local_rank}"


def _gpu_of(world: World) -> Any:
    """The GPU of this rank, a `tf.config.PhysicalDevice`; None: train on the CPU."""
    import tensorflow as tf

    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not gpus and visible not in ("", "-1"):
        raise UserError(
            f"rank {world.rank}: CUDA_VISIBLE_DEVICES={visible}, but TensorFlow finds no GPU; check the driver and the "
            "CUDA libraries (regionstack doctor), or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU"
        )
    if gpus and world.local_rank >= len(gpus):
        raise UserError(
            f"rank {world.rank}: worker {world.local_rank + 1} on a host with {len(gpus)} visible GPUs; start one "
            "worker per GPU"
        )
    return gpus[world.local_rank] if gpus else None


def prepare_inference() -> str:
    """Let this process use the first visible GPU (or the CPU) and allocate its memory on demand. Name of the device.

    For processes that use a trained model beside running jobs. TensorFlow's default is to allocate all memory of all
    GPUs. CUDA_VISIBLE_DEVICES selects another GPU; -1 selects the CPU. A process that has used a device already
    keeps its settings.
    """
    import tensorflow as tf

    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    # TensorFlow rejects new settings once it has used a device, as in a program that has run a model of its own.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices(gpus[:1], "GPU")
        for gpu in gpus[:1]:
            tf.config.experimental.set_memory_growth(gpu, True)
    return "GPU 0" if gpus else "CPU"


def hide_gpus() -> None:
    """Keep TensorFlow in this process off all GPUs, for work that is too small for one.

    A process that has used a device already keeps its settings.
    """
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
