"""One process of bench/gpu.py: the facts and checks, or one row. Takes a JSON request, prints a JSON result."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BACKBONE, TINY_BACKBONE = "InceptionResNetV2", "SmallConvNet"
STORED_PX, TINY_STORED_PX = 256, 64
PAGES, TINY_PAGES = 1024, 48
CLASSES = 16
WARM_UP = 3
GPUS = "GPUs that TensorFlow finds"
"""The key of that number in the result of the checks."""
MEASURE_S, TINY_MEASURE_S = 8.0, 0.5


def main() -> None:
    """Serve the request in the first argument."""
    request = json.loads(sys.argv[1])
    if request["what"] == "checks":
        result = checks(request["tiny"])
    elif request["by"] == "regionstack":
        result = our_row(request)
    else:
        result = keras_row(request)
    print(json.dumps(result))


def checks(tiny: bool) -> dict[str, Any]:
    """Facts of the machine, and what a first run depends on: a world, its sums, memory that grows, copies."""
    import tensorflow as tf

    from data_tools.versions import installed
    from trainer.config import TrainingConfig
    from trainer.device import prepare_device
    from trainer.world import World

    result: dict[str, Any] = {"python": sys.version.split()[0]}
    result |= installed("tensorflow", "keras", "horovod", "numpy")
    build = tf.sysconfig.get_build_info()
    result |= {name: build[name] for name in ("cuda_version", "cudnn_version") if name in build}
    result["GPUs"] = nvidia_smi() or "none"
    world = World.start()
    result["device"] = prepare_device(world, TrainingConfig(deterministic=False), seed=1)
    large = 2**62 + 1
    summed = int(world.sum(np.array([large], np.int64), name="check")[0])
    result["int64 sums are exact"] = summed == large * world.size
    on_device = tf.reduce_sum(tf.ones([1024, 1024]))
    result["a device tensor reaches the host"] = float(on_device.numpy()) == 1024.0**2
    gpus = result[GPUS] = len(tf.config.list_physical_devices("GPU"))
    if gpus:
        info = tf.config.experimental.get_memory_info("GPU:0")
        result["memory grows on demand"] = info["peak"] < 4 * 2**30
    if gpus > 1:
        result[f"a world of {gpus} GPUs"] = world_of(gpus)
    result["passed"] = all(value for value in result.values() if isinstance(value, bool)) and (tiny or gpus > 0)
    return result


def nvidia_smi() -> str:
    """Name, compute capability, driver and memory of each GPU; empty where there is no driver."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"]
    try:
        ended = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(ended.stdout.strip().splitlines()) if ended.returncode == 0 else ""


def world_of(gpus: int) -> bool:
    """Whether a Horovod world with one rank per GPU sums correctly."""
    program = (
        "import numpy as np\nfrom trainer.config import TrainingConfig\nfrom trainer.device import prepare_device\n"
        "from trainer.world import World\nworld = World.start()\n"
        "prepare_device(world, TrainingConfig(deterministic=False), seed=1)\n"
        "total = world.sum(np.array([world.rank + 1], np.int64), name='check')[0]\n"
        "raise SystemExit(int(total != world.size * (world.size + 1) // 2))"
    )
    command = ["horovodrun", "-np", str(gpus), sys.executable, "-c", program]
    try:
        return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def our_row(row: dict[str, Any]) -> dict[str, Any]:
    """The step of a job with these settings, fed from shards as a job feeds it."""
    from data_tools.shards.reader import BatchPlan, ShardSet, TrainBatches
    from data_tools.shards.tensors import as_tensor
    from trainer.config import CheckpointConfig, JobConfig, ModelConfig, OptimizerConfig, StageConfig, TrainingConfig
    from trainer.device import prepare_device
    from trainer.job import build_step
    from trainer.network.classifier import Geometry
    from trainer.world import World

    training = TrainingConfig(
        deterministic=False, precision=row["precision"], jit_compile=row["jit"], fused_batch_norm=row["fused"]
    )
    stage = StageConfig(image_px=row["px"], global_batch=row["batch"], optimizer=OptimizerConfig(learning_rate=0.01))
    backbone, stored = (TINY_BACKBONE, TINY_STORED_PX) if row["tiny"] else (BACKBONE, STORED_PX)
    job = JobConfig(
        name="bench", stage_name="bench", region="holistic", shards=row["folder"], seed=1, stage=stage,
        model=ModelConfig(backbone=backbone, weights="none"), training=training,
        checkpoint=CheckpointConfig(every_seconds=None),
    )  # fmt: skip
    world = World.start()
    prepare_device(world, training, seed=1)
    pages = ShardSet.open(shard_set(Path(row["folder"]), tiny=row["tiny"]))
    step, _ = build_step(job, Geometry(stored, stored, 1, row["px"]), classes=CLASSES, world=world)
    waited = 0.0
    with TrainBatches(pages, BatchPlan(global_batch=row["batch"], seed=1)) as batches:

        def run(steps: int) -> None:
            nonlocal waited
            for _ in range(steps):
                began = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - began
                step(as_tensor(batch.images), as_tensor(batch.labels))
            step.read_sums()  # wait for the device

        compile_s, per_step = timed(run, tiny=row["tiny"])
        waited, began = 0.0, time.perf_counter()
        run(max(1, int(measure_s(row["tiny"]) / per_step)))
        share = waited / (time.perf_counter() - began)
    return {
        "pages_per_s": row["batch"] / per_step, "memory_mib": memory_mib(), "input_share": share,
        "compile_s": compile_s,
    }  # fmt: skip


def keras_row(row: dict[str, Any]) -> dict[str, Any]:
    """`model.fit` with its defaults on pages in memory: the same network, optimizer and loss."""
    import keras
    import tensorflow as tf

    from data_tools.shards.reader import ShardSet
    from trainer.config import ModelConfig
    from trainer.network.classifier import Geometry, build_classifier

    keras.mixed_precision.set_global_policy(row["precision"])
    pages = ShardSet.open(shard_set(Path(row["folder"]), tiny=row["tiny"]))
    backbone, stored = (TINY_BACKBONE, TINY_STORED_PX) if row["tiny"] else (BACKBONE, STORED_PX)
    classifier = build_classifier(
        ModelConfig(backbone=backbone, weights="none"), Geometry(stored, stored, 1, row["px"]), classes=CLASSES
    )
    model = classifier.logits
    model.compile(
        optimizer=keras.optimizers.SGD(0.01), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images = pages.gather(np.arange(len(pages)))
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(len(pages)) % CLASSES)).repeat()
    data = data.batch(row["batch"], drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def run(steps: int) -> None:
        model.fit(data, steps_per_epoch=steps, verbose=0)

    compile_s, per_step = timed(run, tiny=row["tiny"])
    return {"pages_per_s": row["batch"] / per_step, "memory_mib": memory_mib(), "compile_s": compile_s}


def timed(run: Callable[[int], None], *, tiny: bool) -> tuple[float, float]:
    """Seconds of the first step, which compiles, and seconds per step after that."""
    began = time.perf_counter()
    run(1)
    compile_s = time.perf_counter() - began
    run(WARM_UP)
    began = time.perf_counter()
    run(WARM_UP)
    steps = max(2, int(measure_s(tiny) * WARM_UP / (time.perf_counter() - began)))
    began = time.perf_counter()
    run(steps)
    return compile_s, (time.perf_counter() - began) / steps


def measure_s(tiny: bool) -> float:
    """Seconds that a measurement lasts."""
    return TINY_MEASURE_S if tiny else MEASURE_S


def memory_mib() -> float:
    """Peak memory in MiB: of the GPU, or of this process where there is none."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def shard_set(folder: Path, *, tiny: bool) -> Path:
    """A shard set of random pages, made once for all rows."""
    from data_tools.conversion.convert import DataConfig, ShardConfig, convert
    from data_tools.drawn import draw_data_set

    shards, px = folder / "shards", TINY_STORED_PX if tiny else STORED_PX
    if not (shards / "train" / "holistic" / "manifest.json").exists():
        pages = folder / "pages"
        count = (TINY_PAGES if tiny else PAGES) // CLASSES
        draw_data_set(pages, seed=1, pages_per_class={"train": count, "val": 1, "test": 1})
        labels = {split: str(pages / "labels" / f"{split}.txt") for split in ("train", "val", "test")}
        config = ShardConfig(folder=str(shards), height=px, width=px)
        convert(DataConfig(root=str(pages), **labels), config, regions={}, seed=1)
    return shards / "train" / "holistic"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
