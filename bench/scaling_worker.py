"""One worker of bench/scaling.py: builds the step, then runs steps on request.

It listens on a local connection: {"mode": "together" | "apart" | "products", "steps": n} is answered with
{"seconds": s}. "apart" is the same step without any collective, "products" are matrix products alone.
"""

import argparse
import json
import os
import sys
import time
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

KEY, ADDRESS = "REGIONSTACK_BENCH_KEY", "REGIONSTACK_BENCH_ADDRESS"
"""Environment variables: secret and port of the bench's local connection."""

SIDE, PRODUCTS = 2048, 8


def main() -> None:
    """Pin to one core, build the step, connect, serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--compression", default="none")
    parser.add_argument("--cores", type=int, default=1, help="cores, and threads, of this process")
    parser.add_argument("--deterministic", action="store_true")
    options = parser.parse_args()
    rank = int(os.environ.get("HOROVOD_RANK", "0"))
    # Before TensorFlow starts any thread; this pins Horovod's thread too.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[rank * options.cores : (rank + 1) * options.cores])
    os.environ["REGIONSTACK_THREADS"] = str(options.cores)
    host = Client(("127.0.0.1", int(os.environ[ADDRESS])), authkey=bytes.fromhex(os.environ[KEY]))
    serve(host, options, rank)


def serve(host: Connection, options: argparse.Namespace, rank: int) -> None:
    """Run the requested steps until the bench disconnects."""
    from data_tools.shards.reader import BatchPlan, TrainBatches
    from data_tools.shards.tensors import as_tensor
    from trainer.world import World

    world = World.start()
    steps = make_steps(world, options)
    plan = BatchPlan(global_batch=options.batch * world.size, seed=1, rank=rank, size=world.size)
    with TrainBatches(open_pages(options.shards), plan) as batches:
        tell(host, {"role": "pair" if world.size > 1 else "solo", "rank": rank, "pid": os.getpid()})
        while True:
            try:
                order = json.loads(host.recv_bytes())
            except EOFError:
                return
            world.any([True], name="begin")
            began = time.perf_counter()
            if order["mode"] == "products":
                products(order["steps"])
            else:
                step = steps[order["mode"]]
                for _ in range(order["steps"]):
                    batch = next(batches)
                    step(as_tensor(batch.images), as_tensor(batch.labels))
                step.read_sums()
            tell(host, {"seconds": time.perf_counter() - began})


def products(steps: int) -> None:
    """Matrix products that fit into no cache, for about as long as a step takes."""
    import tensorflow as tf

    matrix = tf.fill([SIDE, SIDE], 1.0 / SIDE)
    for _ in range(steps * PRODUCTS):
        matrix = tf.matmul(matrix, matrix)
    matrix.numpy()


def make_steps(world: Any, options: argparse.Namespace) -> dict[str, Any]:
    """The step of this world, and a step of the same network in a world of one."""
    from trainer.config import ModelConfig, OptimizerConfig, TrainingConfig
    from trainer.device import prepare_device
    from trainer.network.classifier import Geometry, build_classifier
    from trainer.optimizer.build import build_optimizer
    from trainer.training.step import TrainStep
    from trainer.world import World

    training = TrainingConfig(deterministic=options.deterministic, compression=options.compression)
    prepare_device(world, training, seed=1)
    height, width, channels = open_pages(options.shards).image_shape
    model = ModelConfig(backbone=options.backbone, weights="none")
    classifier = build_classifier(model, Geometry(height, width, channels, height), classes=16)
    worlds = {"together": world, "apart": World(0, 1, 0)}
    return {
        mode: TrainStep(classifier, build_optimizer(OptimizerConfig(learning_rate=0.01)), of, training)
        for mode, of in worlds.items()
    }


def open_pages(folder: str) -> Any:
    """The training pages."""
    from data_tools.shards.reader import ShardSet

    return ShardSet.open(Path(folder) / "train" / "holistic")


def tell(host: Connection, value: dict[str, Any]) -> None:
    """Send plain data."""
    host.send_bytes(json.dumps(value).encode())


if __name__ == "__main__":
    main()
