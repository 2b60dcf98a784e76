"""Pages per second into shuffled TensorFlow batches of 32 pages, uint8 [32, 256, 256, 1], from the page cache.

    python bench/input.py [--quick] [--pages DIR] [--rivals PYTHON]

Compared with Keras' folder generator on the original TIFFs, with one thread and with one per core; plain tf.data over
the same TFRecords; and the limit, which is copying the same bytes from the page cache into one buffer. The pages are
real scans (`../shared/pages` or DIR; drawn pages if that folder is missing), repeated under other names. All take turns
in short slices, and the figure is the median ratio over the rounds, so that other work on the machine affects all
alike. `--rivals` names an interpreter with other pipelines (see `rivals.py`), which are measured in the same rounds;
those that are not measured are listed. Bars: 100 x the generator, 60 % of the limit, and ahead of tf.data and of every
rival measured.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from repeated_pages import repeated  # noqa: E402
from rivals import LABELS, PAGES, RIVALS, SHARDS  # noqa: E402

from data_tools.conversion.convert import ShardConfig, convert  # noqa: E402
from data_tools.cores import available_cores  # noqa: E402

BATCH, PX = 32, 256
GENERATOR_BAR, LIMIT_BAR, RIVAL_BAR = 100.0, 0.6, 1.0


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3,000 pages and short slices; about a minute")
    parser.add_argument("--pages", type=Path, default=ROOT.parent / "shared" / "pages", help="folder of page scans")
    parser.add_argument("--rivals", metavar="PYTHON", help="interpreter with other pipelines; see bench/rivals.py")
    parser.add_argument("--way", nargs=2, metavar=("NAME", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        serve(*options.way)
        return 0
    # Several times the CPU cache, so that every pipeline reads from memory.
    pages, rounds, seconds = (3000, 5, 0.5) if options.quick else (8000, 9, 2.0)
    with tempfile.TemporaryDirectory() as folder:
        data, source = repeated(options.pages, Path(folder), pages)
        shards = ShardConfig(folder=f"{folder}/shards", height=PX, width=PX)
        print(f"converting {pages} {source} pages ...", flush=True)
        convert(data, shards, regions={}, seed=1)
        commands = {name: [sys.executable, __file__, "--way", name, folder] for name in WAYS}
        rivals = rival_commands(options.rivals, Path(folder))
        speeds = measure(commands | rivals, rounds, seconds)
    missing = [name for name in RIVALS if name not in rivals]
    return report(speeds, source, pages, missing)


def rival_commands(interpreter: str | None, folder: Path) -> dict[str, list[str]]:
    """Commands of the rivals that `interpreter` has, on the same pages; writes the pages if there is any."""
    script = str(Path(__file__).with_name("rivals.py"))
    has = {name: interpreter is not None and _imports(interpreter, modules) for name, (modules, _) in RIVALS.items()}
    if any(has.values()):
        import numpy as np

        from data_tools.shards.reader import ShardSet

        shards = ShardSet.open(folder / SHARDS)
        np.save(folder / LABELS, shards.labels)
        np.save(folder / PAGES, shards.gather(np.arange(len(shards))))
    return {name: [str(interpreter), script, name, str(folder)] for name, there in has.items() if there}


def _imports(interpreter: str, modules: str) -> bool:
    done = subprocess.run([interpreter, "-c", f"import {modules}"], capture_output=True, check=False)
    return done.returncode == 0


def measure(commands: dict[str, list[str]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Pages per second of each pipeline in each round, without the first round, which fills caches.

    Each way is a process of its own, and all are stopped but the one whose turn it is.
    """
    speeds: dict[str, list[float]] = {name: [] for name in commands}
    running: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, command in commands.items():
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            running[name] = subprocess.Popen(command, **pipes)
            turn(running[name], seconds)
        for _ in range(rounds):
            for name, process in running.items():
                speeds[name].append(turn(process, seconds))
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return speeds


def turn(process: subprocess.Popen[str], seconds: float) -> float:
    """Let a process work for some seconds; returns its pages per second."""
    process.send_signal(signal.SIGCONT)
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("speed "):
            process.send_signal(signal.SIGSTOP)
            return float(line.split()[1])
    raise SystemExit(f"a way ended early: {process.args}")


def serve(name: str, folder: str) -> None:
    """Serve `turn` in the child."""
    step = WAYS[name](Path(folder))
    for line in sys.stdin:
        print("speed", timed(step, float(line)), flush=True)


def timed(step: Callable[[], Any], seconds: float) -> float:
    """Pages per second of `step`, which makes a batch. Prefetched batches are consumed before the clock starts."""
    for _ in range(6):
        step()
    begun, batches = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        step()
        batches += 1
    return BATCH * batches / (time.perf_counter() - begun)


def regionstack(folder: Path, *, mixed: bool = False, ranks: int = 1) -> Callable[[], Any]:
    """This project's pipeline."""
    from data_tools.shards.augment.config import AugmentConfig
    from data_tools.shards.reader import BatchPlan, ShardSet, TrainBatches
    from data_tools.shards.tensors import as_tensor

    augment = AugmentConfig(mixup=0.2, cutmix=1.0) if mixed else AugmentConfig()
    plan = BatchPlan(global_batch=BATCH * ranks, seed=1, size=ranks, augment=augment)
    batches = TrainBatches(ShardSet.open(folder / SHARDS), plan)

    def step() -> Any:
        batch = next(batches)
        return as_tensor(batch.images), as_tensor(batch.labels)

    return step


def mixing(ranks: int) -> Callable[[Path], Callable[[], Any]]:
    """The same with every page mixed with another one, on one of `ranks`, which reads the partners of other ranks."""
    return lambda folder: regionstack(folder, mixed=True, ranks=ranks)


def copying(folder: Path) -> Callable[[], Any]:
    """The limit: the bytes of the shards, in order, into one aligned buffer."""
    import numpy as np

    from data_tools.shards.reader import Ring

    size = BATCH * PX * PX
    buffer = Ring((size,)).take()
    maps = [np.memmap(path, np.uint8, mode="r") for path in sorted((folder / SHARDS).glob("*.tfrecord"))]

    def batches() -> Iterator[Any]:
        while True:
            for mapped in maps:
                for start in range(0, len(mapped) - size, size):
                    buffer[:] = mapped[start : start + size]
                    yield buffer

    return batches().__next__


def tfdata(folder: Path) -> Callable[[], Any]:
    """TFRecordDataset as its guide recommends: interleave, shuffle, batch before parsing, prefetch."""
    import tensorflow as tf

    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def parse(records: Any) -> Any:
        parsed = tf.io.parse_example(records, features)
        images = tf.io.decode_raw(parsed["image"], tf.uint8, fixed_length=PX * PX)
        return tf.reshape(images, (BATCH, PX, PX, 1)), parsed["label"]

    names = [str(path) for path in sorted((folder / SHARDS).glob("*.tfrecord"))]
    files = tf.data.Dataset.from_tensor_slices(names)
    records = files.interleave(tf.data.TFRecordDataset, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    batches = records.shuffle(512).repeat().batch(BATCH, drop_remainder=True)
    return iter(batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)).__next__


def generator(folder: Path, workers: int) -> Callable[[], Any]:
    """Keras' ImageDataGenerator.flow_from_directory in `workers` threads, one batch each."""
    import keras.src.legacy.preprocessing.image as image
    import tensorflow as tf

    flow = image.ImageDataGenerator().flow_from_directory(
        folder / "by_class", target_size=(PX, PX), color_mode="grayscale", batch_size=BATCH, class_mode="sparse"
    )
    pool = ThreadPoolExecutor(workers)
    numbers = (number % (len(flow) - 1) for number in count())

    def batches() -> Iterator[Any]:
        while True:
            for images, labels in list(pool.map(flow.__getitem__, [next(numbers) for _ in range(workers)])):
                yield tf.constant(images, tf.uint8), labels

    return batches().__next__


def generator_with(workers: int) -> Callable[[Path], Callable[[], Any]]:
    """`generator` with `workers` threads."""
    return lambda folder: generator(folder, workers)


OURS, COPYING, TFDATA = "regionstack", "copying the bytes (limit)", "tf.data over the TFRecords"
MIXING = {f"mixed pages, 1 rank of {ranks}": mixing(ranks) for ranks in (1, 4)}
WAYS = {OURS: regionstack, **MIXING, COPYING: copying, TFDATA: tfdata} | {
    f"Keras generator, {n} threads": generator_with(n) for n in sorted({1, available_cores()})
}


def report(speeds: dict[str, list[float]], source: str, pages: int, missing: list[str]) -> int:
    """Print the table and the last line."""
    ours = speeds[OURS]

    def ratio(name: str) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(ours, speeds[name], strict=True))

    print(f"{'':34}{'pages/s':>10}{'slowest':>10}{'fastest':>10}{'regionstack is':>16}")
    for name, values in speeds.items():
        low, high = min(values), max(values)
        print(f"{name:34}{statistics.median(values):>10,.0f}{low:>10,.0f}{high:>10,.0f}{ratio(name):>14.2f} x")
    if missing:
        print(f"not measured: {', '.join(missing)}")
    others = [name for name in speeds if name in RIVALS]
    generators = [name for name in speeds if name.startswith("Keras")]
    figure = {
        "pages_per_s": round(statistics.median(ours)),
        "times_keras_generator": round(min(map(ratio, generators)), 1),
        "share_of_copying": round(ratio(COPYING), 3),
        "times_tf_data": round(ratio(TFDATA), 2),
    } | {f"times_{name.split()[0].lower()}": round(ratio(name), 2) for name in others}
    bar = {"times_keras_generator": GENERATOR_BAR, "share_of_copying": LIMIT_BAR}
    bar |= {name: RIVAL_BAR for name in figure if name not in (*bar, "pages_per_s")}
    holds = all(figure[name] >= least for name, least in bar.items())
    context = {"source": source, "pages": pages, "cores": available_cores(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({"bench": "input", "figure": figure, "bar": bar, "holds": holds} | context))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
