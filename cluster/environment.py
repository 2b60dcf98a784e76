"""The environment of a worker process: the same whether Ray, horovodrun or a calibration starts it."""

import os
from collections.abc import Mapping

from cluster.config import ClusterConfig
from data_tools.protocol import EXPECT_GPU, THREADS

NO_GPU = "-1"
"""CUDA_VISIBLE_DEVICES of a worker that must not see a GPU."""


def worker_environment(config: ClusterConfig, *, threads: int, gpu: bool | None) -> dict[str, str]:
    """Variables to set before TensorFlow and Horovod are imported.

    threads: what `data_tools.protocol.threads_per_worker` gives for the worker's host. gpu: True where the
    worker must get a GPU, False where it must not use one, None: it uses one if there is one. The configuration's own
    `cluster.environment` overrides all others.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", THREADS: str(threads), "OMP_NUM_THREADS": str(threads)}
    if gpu is not None:
        environment[EXPECT_GPU] = str(int(gpu))
    if gpu is False:
        environment["CUDA_VISIBLE_DEVICES"] = NO_GPU
    return environment | config.horovod.environment() | config.environment


def set_unset(environment: Mapping[str, str]) -> None:
    """Set the variables that this process does not have yet; what a person or horovodrun has set has precedence."""
    for name, value in environment.items():
        os.environ.setdefault(name, value)
