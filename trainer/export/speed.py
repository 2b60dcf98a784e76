"""Size of a written model, and its pages per second on one and two threads of the CPU."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from trainer.export.artifact import Pages, Runner

THREADS = (1, 2)
SECONDS = 1.0
"""How long each measurement lasts after one batch to warm up."""

BATCH = 16

_SAVED_MODEL = """
import sys, time, json
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
regions = json.loads(sys.argv[2])
pages = {name: tf.zeros(shape, tf.uint8) for name, shape in regions.items()}
model.regions(pages)
done, began = 0, time.perf_counter()
while time.perf_counter() - began < float(sys.argv[3]):
    next(iter(model.regions(pages).values())).numpy()
    done += len(next(iter(pages.values())))
print(done / (time.perf_counter() - began))
"""
"""TensorFlow's threads are set once a process, so each number of threads has its own."""


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def pages_per_s(runner: Runner, pages: Pages) -> float:
    """Pages per second of an opened model."""
    runner(pages)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        runner(pages)
        done += len(next(iter(pages.values())))
    return done / (time.perf_counter() - began)


def saved_model_pages_per_s(path: Path, pages: Pages, *, threads: int) -> float:
    """Pages per second of a SavedModel, in a process of its own, on the CPU."""
    shapes = {name: rows.shape for name, rows in pages.items()}
    limits = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    ended = subprocess.run(
        [sys.executable, "-c", _SAVED_MODEL, str(path), json.dumps(shapes), str(SECONDS)],
        env=os.environ | limits | quiet, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(ended.stdout)
