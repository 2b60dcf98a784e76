"""Start of a job: from the scheduler's decision to the end of the first step, in new workers and in kept ones.

    python bench/start.py [--quick]

One core. First plain Keras: a new process that imports it, builds and compiles the same network and trains one batch.
Then one slot of a private Ray, on the same core, and three jobs that follow each other: the first in a new worker
process; the second in the same process, with another graph (other pages per batch); the third with the graph of the
second. The figure is the first job's time as a part of Keras'. Bar: 0.65 (InceptionResNetV2 at 128 px); no bar with
--quick.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import scaling  # noqa: E402
from cluster.config import ClusterConfig  # noqa: E402
from cluster.on_ray.backend import RayBackend  # noqa: E402
from cluster.schedule.job import Event, JobSpec  # noqa: E402
from cluster.schedule.scheduler import run_jobs  # noqa: E402
from launch.recipe.jobs import payload  # noqa: E402
from trainer.config import (  # noqa: E402
    CheckpointConfig,
    JobConfig,
    ModelConfig,
    OptimizerConfig,
    StageConfig,
    TrainingConfig,
)
from trainer.hook import PROGRESS_HOOK, Progress  # noqa: E402

BAR = 0.65
PX = 128
PLAIN = "plain Keras, new process"
FIRST_STEP = "first-step"
"""File in a job's folder: when its first step was finished, unix seconds."""
KERAS = """
import sys
import keras
import numpy as np
backbone, px, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if backbone == "SmallConvNet":
    from trainer.network.backbones import build_backbone
    network = build_backbone(backbone, (px, px, 3))
else:
    network = getattr(keras.applications, backbone)(include_top=False, weights=None, input_shape=(px, px, 3))
pooled = keras.layers.GlobalAveragePooling2D()(network.output)
model = keras.Model(network.input, keras.layers.Dense(16, activation="softmax")(pooled))
model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
print(model.train_on_batch(np.zeros((batch, px, px, 3), np.float32), np.arange(batch) % 16))
"""
"""The program of plain Keras."""
JOBS = {"new process": 16, "same process, another graph": 8, "same process, same graph": 8}
"""Name of each job, and its pages per step."""


def record(progress: Progress) -> None:
    """The progress hook of the jobs: note the end of the first step."""
    path = progress.folder / FIRST_STEP
    if (progress.phase, progress.step) == ("training", 1) and not path.exists():
        path.write_text(str(time.time()))


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small backbone, without a bar")
    options = parser.parse_args()
    backbone = "SmallConvNet" if options.quick else "InceptionResNetV2"
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # Ray and its workers inherit it
    with tempfile.TemporaryDirectory() as folder:
        seconds = {PLAIN: (0.0, keras_seconds(backbone))} | measure(backbone, Path(folder))
    print(f"{backbone} at {PX} px on 1 core: seconds from the scheduler's decision to the end of the first step")
    plain = seconds[PLAIN][1]
    for name, (up, step) in seconds.items():
        print(f"  {name:<30} workers up {up:6.2f} s   first step {step:6.2f} s   {step / plain:5.2f}")
    figure = seconds[next(iter(JOBS))][1] / plain
    holds = options.quick or figure <= BAR
    bar = None if options.quick else BAR
    print(json.dumps({"bench": "start", "figure": round(figure, 4), "bar": bar, "holds": holds}))
    return 0 if holds else 1


def keras_seconds(backbone: str) -> float:
    """Seconds of a new process of plain Keras from its start to the end of its first step."""
    threads = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT)}
    began = time.time()
    program = [sys.executable, "-c", KERAS, backbone, str(PX), str(next(iter(JOBS.values())))]
    subprocess.run(program, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.time() - began


def measure(backbone: str, folder: Path) -> dict[str, tuple[float, float]]:
    """By job: seconds until its workers were up, and until the end of its first step."""
    shards = scaling.make_shards(folder, train=2)
    specs = chain([job(name, backbone, batch, shards) for name, batch in JOBS.items()], folder)
    events: list[Event] = []
    config = ClusterConfig(address="local", gpus=0, slots=1, environment={PROGRESS_HOOK: "bench.start:record"})
    with RayBackend.connect(config) as backend:
        outcomes = run_jobs(specs, backend=backend, retries=config.retries, on_event=events.append)
    errors = [outcome.error for outcome in outcomes.values() if outcome.error]
    if errors:
        raise SystemExit("\n".join(errors))
    at = {(event.job, event.event): event.time for event in events}
    return {
        spec.name: (
            at[spec.name, "running"] - at[spec.name, "started"],
            float((folder / "jobs" / spec.name / FIRST_STEP).read_text()) - at[spec.name, "started"],
        )
        for spec in specs
    }


def job(name: str, backbone: str, batch: int, shards: Path) -> JobConfig:
    """One epoch on the pages in `shards`."""
    stage = StageConfig(
        image_px=PX, epochs=1, global_batch=batch, optimizer=OptimizerConfig(name="sgd", learning_rate=0.01)
    )
    return JobConfig(
        name=name, stage_name=name, region="holistic", shards=str(shards), seed=1, stage=stage,
        model=ModelConfig(backbone=backbone, weights="none"),
        training=TrainingConfig(batchnorm_batches=1, evaluation_batch=8), checkpoint=CheckpointConfig(),
    )  # fmt: skip


def chain(jobs: Sequence[JobConfig], folder: Path) -> list[JobSpec]:
    """The jobs one after the other, in one process as far as possible."""
    specs: list[JobSpec] = []
    for one in jobs:
        logs = str(folder / "jobs" / one.name)
        after = tuple(spec.name for spec in specs[-1:])
        spec = JobSpec(one.name, "trainer.job:run", payload(one, folder), workers=1, depends_on=after)
        specs.append(replace(spec, logs=logs, heartbeats=logs, reuse_workers=True))
    return specs


if __name__ == "__main__":
    sys.exit(main())
