"""Pages a second of `regionstack serve`, and how long a request takes, against `predict` on the same pages.

    python bench/serve.py [--quick] [--run RUN] [--pages DIR] [--clients N] [--replicas N] [--decoders N]

A closed loop: each client sends one page, waits for the answer and sends the next one, on a connection that stays
open. The clients share this machine's cores with the service. Without RUN, a run of MobileNetV2 at 128 px is trained
first, on few drawn pages and for one epoch: its speed is that of a useful run, its answers are not.
Bars: at least 0.80 of the pages a second of `predict` in one process on the same files; the 99th percentile of the
time to an answer at most three times the median; no status of 500 or more.
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
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.helpers.commands import regionstack  # noqa: E402
from tests.helpers.service import Service, form_of, serving  # noqa: E402

SHARE, TIMES = 0.80, 3.0
STAGE = {"image_px": 128, "epochs": 1, "global_batch": 32, "optimizer": {"name": "adam", "learning_rate": 1e-3}}
CONFIG = {
    "preset": "demo",
    "model": {"backbone": "MobileNetV2"},
    "shards": {"height": 128, "width": 128},
    "stages": {
        "holistic_32": None,
        "holistic_64": None,
        "holistic_128": STAGE,
        "regions": {**STAGE, "region": "each", "start": "holistic_128"},
    },
    "cluster": {"slots": 2},
}
IN_PROCESS = """
import sys, time
from launch import open_run
run, pages, seconds = open_run(sys.argv[1]), sys.argv[3:], float(sys.argv[2])
list(run.predict(pages[:64]))
started, done = time.monotonic(), 0
while time.monotonic() - started < seconds:
    done += sum(1 for answer in run.predict(pages))
print(done / (time.monotonic() - started))
"""


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 s a measurement instead of 30")
    parser.add_argument("--run", type=Path, help="run folder (default: one is made)")
    parser.add_argument("--pages", type=Path, default=ROOT.parent / "shared" / "pages", help="folder of page scans")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--decoders", type=int)
    options = parser.parse_args()
    seconds = 5.0 if options.quick else 30.0
    with tempfile.TemporaryDirectory(prefix="rs-") as folder:
        run = options.run or make_run(Path(folder))
        pages = sorted(path for path in options.pages.rglob("*.tif"))[:200] or sorted(Path(folder).rglob("*.tif"))
        before = in_process(run, pages, seconds)
        more = [] if options.decoders is None else ["--decoders", str(options.decoders)]
        # One of two cores of a small machine may be busy with other work: the rate before and after shows it.
        with serving(run, Path(folder) / "serve", "--replicas", str(options.replicas), *more) as service:
            load(service, pages, clients=options.clients, seconds=min(seconds, 3.0))
            times, statuses = load(service, pages, clients=options.clients, seconds=seconds)
            text = service.ask("GET", "/metrics").body.decode()
        after = in_process(run, pages, seconds)
    return report(times, statuses, seconds=seconds, predict=(before, after), figures=text)


def make_run(folder: Path) -> Path:
    """A finished run of MobileNetV2 for the demo's classes, trained for one epoch."""
    pages = folder / "pages"
    regionstack("draw", "--out", str(pages), "--train=4", "--val=2", "--test=2")
    data = {"root": pages, **{split: pages / "labels" / f"{split}.txt" for split in ("train", "val", "test")}}
    data["class_names"] = pages / "classes.txt"
    config: dict[str, Any] = json.loads(
        json.dumps(CONFIG | {"data": data, "run": {"folder": folder / "run"}}, default=str)
    )
    config["shards"]["folder"] = str(folder / "shards")
    (folder / "bench.yaml").write_text(yaml.safe_dump(config))
    regionstack("train-all", "--config", str(folder / "bench.yaml"))
    return folder / "run"


def in_process(run: Path, pages: Sequence[Path], seconds: float) -> float:
    """Pages a second of `predict` in one process, after its first batch."""
    command = [sys.executable, "-c", IN_PROCESS, str(run), str(seconds), *map(str, pages)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return float(
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()[-1]
    )


def load(service: Service, pages: Sequence[Path], *, clients: int, seconds: float) -> tuple[list[float], Counter[int]]:
    """Seconds of each request, and how many had which status."""
    forms = [form_of([(path.name, path.read_bytes())]) for path in pages]
    until = time.monotonic() + seconds

    def client(number: int) -> list[tuple[float, int]]:
        found = []
        with contextlib.closing(HTTPConnection("127.0.0.1", service.port, timeout=120)) as connection:
            while time.monotonic() < until:
                body, kind = forms[(number * 31 + len(found)) % len(forms)]
                started = time.perf_counter()
                connection.request("POST", "/predict", body, {"Content-Type": kind})
                answer = connection.getresponse()
                answer.read()
                found.append((time.perf_counter() - started, answer.status))
        return found

    with ThreadPoolExecutor(clients) as pool:
        found = [one for answers in pool.map(client, range(clients)) for one in answers]
    return [taken for taken, _ in found], Counter(status for _, status in found)


def report(
    times: Sequence[float], statuses: Counter[int], *, seconds: float, predict: tuple[float, float], figures: str
) -> int:
    """Print the table and the line of JSON; the exit status."""
    rate = statuses[200] / seconds
    share = rate / statistics.mean(predict)
    p50, p99 = (statistics.quantiles(times, n=100)[place] for place in (49, 98))
    failed = sum(count for status, count in statuses.items() if status >= 500)
    print(f"predict in one process: {predict[0]:.1f} pages/s before, {predict[1]:.1f} after")
    print(f"serve: {rate:.1f} pages/s, {share:.0%} of it (bar {SHARE:.0%}); statuses {dict(statuses)}")
    ratio = f"{p99 / p50:.1f} x, bar {TIMES:g} x"
    print(f"time to an answer: median {1000 * p50:.0f} ms, 99 % within {1000 * p99:.0f} ms ({ratio})")
    print(next(line for line in figures.splitlines() if line.startswith("regionstack_pages_total")))
    holds = share >= SHARE and p99 <= TIMES * p50 and failed == 0
    result = {"bench": "serve", "figure": round(share, 3), "bar": SHARE, "holds": holds, "pages_per_s": round(rate, 1)}
    result |= {"p50_ms": round(1000 * p50, 1), "p99_over_p50": round(p99 / p50, 2), "status_5xx": failed}
    print(json.dumps(result))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
