"""The devices of a process: the GPU of a training rank, of an inference process, or none; threads, determinism."""

import contextlib
import ctypes
import gc
import logging
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_tools.cores import available_cores
from data_tools.errors import UserError
from data_tools.protocol import EXPECT_GPU, THREADS
from trainer.config import TrainingConfig
from trainer.native_log import load_tensorflow, native_lines
from trainer.world import World

logger = logging.getLogger(__name__)

LIST_GPUS = "import tensorflow as tf; tf.config.list_physical_devices('GPU')"
LIST_S = 120
"""Time limit of a process that loads TensorFlow to list the GPUs, s."""
LOGGED = re.compile(r"^[IWEF]\d{4} \S+ +\d+ \S+:\d+\] (.+)$", re.MULTILINE)
"""A line of TensorFlow's C++ log: severity and date, time, thread, file and line, text."""
ABOUT_GPUS = re.compile("cuda|cudnn|gpu|dlopen|dlerror|driver", re.IGNORECASE)
REASONS = 3
REASON_CHARACTERS = 240


def prepare_device(world: World, training: TrainingConfig, *, seed: int) -> str:
    """Set up this rank's GPU (or the CPU), threads, random seeds, determinism and precision; returns the device's name.

    Call it before TensorFlow uses a device.

    Raises:
        UserError: the host runs more workers than it has visible GPUs, or this rank was promised a GPU and TensorFlow
            finds none; the text holds TensorFlow's reason.
    """
    load_tensorflow()
    import keras
    import tensorflow as tf

    gpu = _gpu_of(world)
    if gpu is not None:
        tf.config.set_visible_devices(gpu, "GPU")
        tf.config.experimental.set_memory_growth(gpu, True)
    else:
        _skip_graph_optimizer()
    _limit_threads()
    _set_seed(seed)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_global_policy(training.precision)
    _compute_in_half_precision()
    return "CPU" if gpu is None else f"GPU {world.local_rank}"


def _gpu_of(world: World) -> Any:
    """The GPU of this rank, a `tf.config.PhysicalDevice`; None: train on the CPU."""
    import tensorflow as tf

    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not gpus and promised():
        raise UserError(
            f"{socket.gethostname()}: rank {world.rank} was promised a GPU, but TensorFlow finds none with "
            f"CUDA_VISIBLE_DEVICES={visible or 'unset'}: {why_no_gpu()}; check that host with regionstack doctor, or "
            "set cluster.gpus=0 to train on CPUs"
        )
    if gpus and world.local_rank >= len(gpus):
        raise UserError(
            f"rank {world.rank}: worker {world.local_rank + 1} on a host with {len(gpus)} visible GPUs; start one "
            "worker per GPU"
        )
    return gpus[world.local_rank] if gpus else None


def promised() -> bool:
    """Whether this process must use a GPU: its driver says so, or CUDA_VISIBLE_DEVICES names one."""
    expected = os.environ.get(EXPECT_GPU)
    return expected == "1" or (expected is None and os.environ.get("CUDA_VISIBLE_DEVICES", "") not in ("", "-1"))


def why_no_gpu() -> str:
    """Why TensorFlow finds no GPU here, in its own words, from the log of a new process that looks for one."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", LIST_GPUS], env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace", timeout=LIST_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its reason could not be read ({type(error).__name__})"
    return reasons(done.stderr)


def reasons(log: str) -> str:
    """What a log of TensorFlow says about GPUs, in one line."""
    found = dict.fromkeys(text.strip().rstrip(".") for text in LOGGED.findall(log) if ABOUT_GPUS.search(text))
    return "; ".join(text[:REASON_CHARACTERS] for text in list(found)[:REASONS]) or "it gives no reason"


def prepare_small_fit(*, seed: int) -> None:
    """Set this process up for a fit of seconds on the CPU; after a training job as in a new process.

    The GPUs belong to other jobs.
    """
    load_tensorflow()
    import keras
    import tensorflow as tf

    hide_gpus()
    # A process of another program keeps the threads that it has; a worker has them already, or none yet.
    with contextlib.suppress(RuntimeError):
        _limit_threads()
    _skip_graph_optimizer()
    _set_seed(seed)
    tf.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_global_policy("float32")


def _compute_in_half_precision() -> None:
    """Log what TensorFlow says of half precision on this CPU: once in a process, and otherwise on the terminal.

    Takes milliseconds.
    """
    import tensorflow as tf

    with native_lines() as lines, tf.device("CPU:0"):
        for dtype in (tf.float16, tf.bfloat16):
            one = tf.ones(1, dtype)
            _ = one / one
    for line in lines:
        logger.info("TensorFlow: %s", line)


def _limit_threads() -> None:
    import tensorflow as tf

    threads = int(os.environ.get(THREADS, "0"))
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))


def _skip_graph_optimizer() -> None:
    """Run graphs on this process' CPU as they were traced.

    TensorFlow's optimizer takes seconds for the graph of a large network, and does not make its steps or its inference
    faster: docs/performance.md. What trains and what predicts skips it alike, so that both compute the same bits.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def _set_seed(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow.

    TensorFlow forgets what it has compiled for its device when it is seeded, so it is not seeded again with the same
    number: nothing here uses its own generators, whose state would differ.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    random.seed(seed)
    np.random.seed(seed)
    if context.global_seed() != seed:
        tf.random.set_seed(seed)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's garbage collector, which takes a tenth of the time of building and tracing a large network.

    Tracing makes hundreds of thousands of objects that stay, and every look at them is in vain.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def fresh_session(*, keep_compiled: bool) -> None:
    """Between two jobs of one process: free memory, and name the layers of the next network from the start.

    keep_compiled: a next job may take over what this one has compiled. If it does not, building its network frees that.
    """
    import keras
    from tensorflow.python.framework.ops import gradient_registry

    # TensorFlow keeps the graph of every custom gradient in a table of the process; Keras' optimizers have one for a
    # sum over replicas. A finished graph needs no more gradients.
    table = gradient_registry._registry
    for name in [name for name in table if name.startswith("CustomGradient-")]:
        del table[name]
    if not keep_compiled:
        keras.backend.clear_session()
    # glibc keeps freed memory in its arenas, where the next job's larger blocks do not fit.
    ctypes.CDLL(None).malloc_trim(0)


def prepare_inference() -> str:
    """Let this process use the first visible GPU (or the CPU) and allocate its memory on demand. Name of the device.

    For processes that use a trained model beside running jobs. TensorFlow's default is to allocate all memory of all
    GPUs. CUDA_VISIBLE_DEVICES selects another GPU; -1 selects the CPU. A process that has used a device already
    keeps its settings.
    """
    load_tensorflow()
    import tensorflow as tf

    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    # TensorFlow rejects new settings once it has used a device, as in a program that has run a model of its own.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices(gpus[:1], "GPU")
        for gpu in gpus[:1]:
            tf.config.experimental.set_memory_growth(gpu, True)
        # TensorFlow's default follows the affinity, not a container's quota, whose excess threads wait for each other.
        tf.config.threading.set_intra_op_parallelism_threads(available_cores())
    if not gpus:
        _skip_graph_optimizer()
    _compute_in_half_precision()
    return "GPU 0" if gpus else "CPU"


def hide_gpus() -> None:
    """Keep TensorFlow in this process off all GPUs, for work that is too small for one.

    A process that has used a device already keeps its settings.
    """
    load_tensorflow()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
