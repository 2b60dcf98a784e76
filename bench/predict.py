"""Pages a second and memory of `regionstack predict`, against its models alone.

    python bench/predict.py [--quick] [--only speed | memory]

Speed: a folder of drawn pages (1,000 px high) to a CSV file, through `predict` with loaded models, against the same
five models (MobileNetV2 at 256 px, random weights: they do not change the speed) on arrays that lie ready in memory, in
batches of the same size; in one process, in turn. Bar: at least 0.90 of the models' pages a second. A quick run
leaves out the first group of 64 pages, for which the decoding processes start; in 2,000 pages their start counts.
Memory: the largest sum of the resident memory of all processes of the command, at 3,000 A4 pages of 300 dpi and at 300.
Bar: at most 1.2 times as much. The JSON line's figure is the share of the speed; the memory's is beside it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from data_tools.drawn import draw_data_set  # noqa: E402
from tests.helpers.untrained_run import make_run, make_shards  # noqa: E402

SHARE, TIMES = 0.90, 1.2
A4_300_DPI = (2480, 3508)
SPEED = {"pages": 2000, "ready": 256, "rounds": 2}
QUICK_SPEED = {"pages": 256, "ready": 64, "rounds": 1, "skipped": 64}
MEMORY, QUICK_MEMORY = (300, 3000), (128, 320)
MODELS = ["model.backbone=MobileNetV2", "regions=halves", "shards.height=256", "shards.width=256"]
SMALL = ["regions=halves", "shards.height=128", "shards.width=128"]


def main() -> int:
    """Print the tables, then the figures as one line of JSON; 0 if the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pages")
    parser.add_argument("--only", choices=("speed", "memory"), help="one of the two")
    options = parser.parse_args()
    figures: dict[str, Any] = {"bench": "predict"}
    holds = True
    with tempfile.TemporaryDirectory() as name:
        if options.only != "memory":
            figure = speed(Path(name), **(QUICK_SPEED if options.quick else SPEED))
            figures |= {"figure": round(figure, 3), "bar": SHARE}
            holds &= figure >= SHARE
        if options.only != "speed":
            times = memory(Path(name), QUICK_MEMORY if options.quick else MEMORY)
            figures |= {"memory": round(times, 3), "memory_bar": TIMES}
            holds &= times <= TIMES
    print(json.dumps(figures | {"holds": bool(holds)}))
    return 0 if holds else 1


def speed(place: Path, *, pages: int, ready: int, rounds: int, skipped: int = 0) -> float:
    """`predict`'s share of the pages a second of the models alone. skipped: pages at the start that do not count."""
    from launch.api import open_run
    from launch.predict.run import Request, predict

    place = place / "speed"
    run = open_run(make_run(make_shards(place, *MODELS)))
    each = -(-pages // 16)
    draw_data_set(place / "scans", seed=2, pages_per_class={"train": each, "val": 1, "test": 1}, height=1000)
    folder = place / "in"
    folder.mkdir()
    for number, page in enumerate(sorted((place / "scans").rglob("*.tif"))[:pages]):
        (folder / f"{number:05}.tif").symlink_to(page)
    generator = np.random.default_rng(1)
    arrays = {name: generator.integers(0, 256, (ready, *run.record.shape), np.uint8) for name in run.record.regions}
    request = Request(run=run.folder, sources=[str(folder)], outputs={"csv": str(place / "out.csv")})
    run.ensemble.predict(arrays)  # compiles, and fills the caches
    alone: list[float] = []
    whole: list[float] = []
    for _ in range(rounds):
        alone.append(ready / seconds(lambda: run.ensemble.predict(arrays)))
        if skipped:
            whole.append(rate_after(skipped, run.predict(sorted(folder.iterdir()))))
        else:
            whole.append(pages / seconds(lambda: predict(request, run=run)))
        alone.append(ready / seconds(lambda: run.ensemble.predict(arrays)))
    share = float(np.mean(whole) / np.mean(alone))
    print(f"{'models alone':24} {np.mean(alone):8.1f} pages/s  {[round(value, 1) for value in alone]}")
    print(f"{'predict':24} {np.mean(whole):8.1f} pages/s  {[round(value, 1) for value in whole]}")
    print(f"{'share':24} {share:8.3f}  (bar: at least {SHARE})")
    return share


def rate_after(skipped: int, answers: Iterable[Any]) -> float:
    """Answers a second after the first `skipped`."""
    began, counted = 0.0, 0
    for number, _ in enumerate(answers, start=1):
        began = time.monotonic() if number == skipped else began
        counted = number - skipped
    return counted / (time.monotonic() - began)


def seconds(work: Callable[[], Any]) -> float:
    """How long `work` takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def memory(place: Path, counts: tuple[int, int]) -> float:
    """The peak at the larger number of A4 pages over that at the smaller."""
    place = place / "memory"
    run = make_run(make_shards(place, *SMALL))
    page = next(iter(sorted((place / "pages").rglob("*.tif"))))
    Image.open(page).convert("L").resize(A4_300_DPI).save(place / "a4.tif")
    peaks = []
    for count in counts:
        folder = place / f"in{count}"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:05}.tif").hardlink_to(place / "a4.tif")
        peaks.append(peak([sys.executable, "-m", "launch.cli", "predict", str(run), str(folder), "--csv", os.devnull]))
        print(f"{f'{count:,} pages of A4':24} {peaks[-1] / 2**20:8.0f} MiB at most, all processes together")
        shutil.rmtree(folder)
    times = peaks[1] / peaks[0]
    print(f"{'times':24} {times:8.3f}  (bar: at most {TIMES})")
    return times


def peak(command: list[str]) -> int:
    """The largest sum of the resident bytes of the command's processes, looked at ten times a second."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    most = 0
    with subprocess.Popen(
        command, start_new_session=True, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.DEVNULL
    ) as running:
        ended = threading.Event()
        waiting = threading.Thread(target=lambda: (running.wait(), ended.set()))
        waiting.start()
        while not ended.wait(0.1):
            most = max(most, sum(map(resident, session(running.pid))))
        waiting.join()
        if running.returncode:
            raise SystemExit(f"{' '.join(command)}: exit status {running.returncode}")
    return most


def session(leader: int) -> list[Path]:
    """The processes in the session of `leader`, as folders in /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.append(folder)
    return found


def resident(folder: Path) -> int:
    """Resident bytes of a process; 0 if it has ended."""
    try:
        return int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
