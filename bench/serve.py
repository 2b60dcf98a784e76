"""Pages a second of `regionstack serve`, and how long a request takes, against `predict` on the same pages.

    python bench/serve.py [--quick] [--run RUN] [--pages DIR] [--clients N] [--replicas N] [--decoders N]

A closed loop: each client sends one page, waits for the answer and sends the next one, on a connection that stays
open. The clients share this machine's cores with the service. Without RUN, the models are those of `bench/predict.py`:
five of MobileNetV2 at 256 px with random weights, which do not change the speed; without DIR, the pages are drawn.
Bars: at least 0.80 of the pages a second of `predict`, its models loaded, on a folder of the same pages; the 99th
percentile of the time to an answer at most three times the median; no status of 500 or more.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from data_tools.drawn import draw_data_set  # noqa: E402
from tests.helpers.service import Service, form_of, serving  # noqa: E402
from tests.helpers.untrained_run import make_run, make_shards  # noqa: E402

SHARE, TIMES = 0.80, 3.0
PAGES, QUICK_PAGES = 600, 96
MODELS = ("model.backbone=MobileNetV2", "regions=halves", "shards.height=256", "shards.width=256")
PREDICT = """
import os, sys, time
import numpy as np
from pathlib import Path
from launch.api import open_run
from launch.predict.run import Request, predict
run, folder, out = open_run(sys.argv[1]), sys.argv[2], sys.argv[3]
run.ensemble.predict({name: np.zeros((64, *run.record.shape), np.uint8) for name in run.record.regions})
began, used = time.monotonic(), sum(os.times()[:4])
predict(Request(run=run.folder, sources=[folder], outputs={"csv": out}), run=run)
pages = len(list(Path(folder).iterdir()))
print(pages / (time.monotonic() - began), (sum(os.times()[:4]) - used) / pages)
"""


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAGES} pages instead of {PAGES}")
    parser.add_argument("--run", type=Path, help="run folder (default: one is made)")
    parser.add_argument("--pages", type=Path, help="folder of TIFF pages (default: drawn ones)")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--decoders", type=int)
    options = parser.parse_args()
    count = QUICK_PAGES if options.quick else PAGES
    with tempfile.TemporaryDirectory(prefix="rs-") as name:
        place = Path(name)
        run = options.run or make_run(make_shards(place, *MODELS))
        folder = pages_in(place, options.pages, count)
        before = predict_rate(run, folder, place / "before.csv")
        more = [] if options.decoders is None else ["--decoders", str(options.decoders)]
        with serving(run, place / "serve", "--replicas", str(options.replicas), *more) as service:
            load(service, folder, clients=options.clients, count=4 * options.clients)
            began, used = time.monotonic(), cpu_s(service.process.pid)
            found = load(service, folder, clients=options.clients, count=count)
            rate, used = count / (time.monotonic() - began), cpu_s(service.process.pid) - used
        # Other work on the machine shows as a difference between the rates before and after.
        after = predict_rate(run, folder, place / "after.csv")
    cost = used / count, (before[1] + after[1]) / 2
    return report(found, rate=rate, predict=(before[0], after[0]), cost=cost)


def pages_in(place: Path, source: Path | None, count: int) -> Path:
    """A folder with `count` links to the pages in `source`, repeated if they are fewer, or to drawn ones."""
    if source is None:
        source = place / "scans"
        draw_data_set(source, seed=2, pages_per_class={"train": -(-count // 16), "val": 1, "test": 1}, height=1000)
    folder = place / "in"
    folder.mkdir()
    for number, page in zip(range(count), cycle(sorted(source.rglob("*.tif"))), strict=False):
        (folder / f"{number:05}.tif").symlink_to(page.absolute())
    return folder


def predict_rate(run: Path, folder: Path, out: Path) -> tuple[float, float]:
    """Pages a second of `predict` with loaded models, in a process of its own; and its seconds of CPU a page."""
    command = [sys.executable, "-c", PREDICT, str(run), str(folder), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    rate, cost = map(float, ended.stdout.split()[-2:])
    return rate, cost


def cpu_s(pid: int) -> float:
    """Seconds of CPU that this process, and `pid` with all that descend from it, have used."""
    leader = psutil.Process(pid)
    times = [process.cpu_times() for process in (psutil.Process(), leader, *leader.children(recursive=True))]
    return sum(used.user + used.system for used in times)


def load(service: Service, folder: Path, *, clients: int, count: int) -> list[tuple[float, int]]:
    """Seconds to the answer, and its status, for `count` requests."""
    forms = [form_of([(path.name, path.read_bytes())]) for path in sorted(folder.iterdir())]
    numbers = iter(range(count))

    def client(_: int) -> list[tuple[float, int]]:
        found = []
        with contextlib.closing(HTTPConnection("127.0.0.1", service.port, timeout=120)) as connection:
            for number in numbers:
                body, kind = forms[number % len(forms)]
                began = time.perf_counter()
                connection.request("POST", "/predict", body, {"Content-Type": kind})
                answer = connection.getresponse()
                answer.read()
                found.append((time.perf_counter() - began, answer.status))
        return found

    with ThreadPoolExecutor(clients) as pool:
        return [one for answers in pool.map(client, range(clients)) for one in answers]


def report(
    found: Sequence[tuple[float, int]], *, rate: float, predict: tuple[float, float], cost: tuple[float, float]
) -> int:
    """Print the table and the line of JSON; the exit status."""
    statuses = Counter(status for _, status in found)
    share = rate * statuses[200] / len(found) / statistics.mean(predict)
    p50, p99 = (statistics.quantiles([taken for taken, _ in found], n=100)[place] for place in (49, 98))
    failed = sum(count for status, count in statuses.items() if status >= 500)
    print(f"predict: {predict[0]:.1f} pages/s before, {predict[1]:.1f} after")
    print(f"serve: {rate:.1f} pages/s, {share:.0%} of it (bar {SHARE:.0%}); statuses {dict(statuses)}")
    ratio = f"{p99 / p50:.1f} x, bar {TIMES:g} x"
    print(f"time to an answer: median {1000 * p50:.0f} ms, 99 % within {1000 * p99:.0f} ms ({ratio})")
    here, there = (1000 * seconds for seconds in cost)
    print(f"CPU a page: {here:.1f} ms with the clients, {there:.1f} ms for predict ({there / here:.0%})")
    holds = share >= SHARE and p99 <= TIMES * p50 and failed == 0
    result = {"bench": "serve", "figure": round(share, 3), "bar": SHARE, "holds": holds, "pages_per_s": round(rate, 1)}
    result |= {"p50_ms": round(1000 * p50, 1), "p99_over_p50": round(p99 / p50, 2), "status_5xx": failed}
    result |= {"cpu_share": round(there / here, 3)}
    print(json.dumps(result))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
