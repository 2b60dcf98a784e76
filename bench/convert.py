"""Conversion of five regions on all cores against decode + resize + encode alone in as many processes.

    python bench/convert.py [--quick] [--pages DIR] [--encoding raw|png|jpeg] [--workers N]

The pages are real scans (`../shared/pages` or DIR; drawn pages if that folder is missing), repeated under other names.
Both alternate, and the figure is the median ratio over the rounds, so that other work on the machine affects both
alike; CPU time per page is shown too. Conversion also writes, checks and syncs the shards. Bar: 90 % of the speed of
decode + resize + encode alone.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from repeated_pages import repeated  # noqa: E402

from data_tools.conversion.convert import DataConfig, ShardConfig, convert  # noqa: E402
from data_tools.conversion.shard_plan import Work, plan_split  # noqa: E402
from data_tools.cores import available_cores  # noqa: E402
from data_tools.documents.data_set import read_data_set  # noqa: E402
from data_tools.documents.regions import HOLISTIC, PRESETS, WHOLE_PAGE  # noqa: E402
from data_tools.workers.pool import Pool  # noqa: E402

BAR = 0.9
REGIONS = PRESETS["halves"]


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,200 pages instead of 6,000; under a minute")
    parser.add_argument("--pages", type=Path, default=ROOT.parent / "shared" / "pages", help="folder of page scans")
    parser.add_argument("--encoding", choices=["raw", "png", "jpeg"], default="raw")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default: all cores)")
    options = parser.parse_args()
    count, rounds = (1200, 3) if options.quick else (6000, 5)
    # On the disk of the checkout: /tmp is often in memory.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".unfinished-bench-") as folder:
        data, source = repeated(options.pages, Path(folder), count)
        shards = ShardConfig(folder=f"{folder}/shards", encoding=options.encoding, workers=options.workers)
        reference, conversion = Costs([], []), Costs([], [])
        for _ in range(rounds):
            reference.add(count, lambda: decoding(data, shards))
            shutil.rmtree(shards.folder, ignore_errors=True)
            conversion.add(count, lambda: converting(data, shards))
    share = round(statistics.median(b / a for a, b in zip(reference.speeds, conversion.speeds, strict=True)), 3)
    cpu_share = statistics.median(reference.cpu_ms) / statistics.median(conversion.cpu_ms)
    print(f"{count} {source} pages, {1 + len(REGIONS)} regions, {options.encoding}, {options.workers} processes")
    for name, costs in {"decode + resize + encode alone": reference, "conversion": conversion}.items():
        speeds, cpu_ms = costs.speeds, statistics.median(costs.cpu_ms)
        spread = f"({min(speeds):.0f} to {max(speeds):.0f})"
        print(f"{name:32}{statistics.median(speeds):8.0f} pages/s {spread:14}{cpu_ms:8.2f} ms of CPU time per page")
    figure = {
        "share_of_decoding_alone": share,
        "share_by_cpu_time": round(cpu_share, 3),
        "pages_per_s": round(statistics.median(conversion.speeds)),
    }
    context = {"source": source, "encoding": options.encoding, "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({"bench": "convert", "figure": figure, "bar": BAR, "holds": share >= BAR} | context))
    return 0 if share >= BAR else 1


@dataclass
class Costs:
    """Pages per second, and milliseconds of CPU time per page, of each round."""

    speeds: list[float]
    cpu_ms: list[float]

    def add(self, pages: int, work: Callable[[], None]) -> None:
        """Run `work` on `pages` and record its time, worker processes included."""
        used, begun = cpu_s(), time.perf_counter()
        work()
        self.speeds.append(pages / (time.perf_counter() - begun))
        self.cpu_ms.append(1000 * (cpu_s() - used) / pages)


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def converting(data: DataConfig, shards: ShardConfig) -> None:
    """A conversion from nothing to complete shard sets."""
    convert(data, shards, regions=REGIONS, seed=1)


def decoding(data: DataConfig, shards: ShardConfig) -> None:
    """Decode, resize and encode the same pages, in the same tasks and as many processes."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    boxes = {HOLISTIC: WHOLE_PAGE} | REGIONS
    work = Work(data.root, "", boxes, shards)
    labels = read_data_set(data, seed=1).labels
    with Pool("decode_alone:open_worker", work, workers=shards.workers or 1, item_timeout_s=60) as pool:
        for split in labels:
            for plan in plan_split(labels[split], split, seed=1, shards=shards, regions=list(boxes)):
                pool.submit(plan)
        for _ in pool.results():
            pass


if __name__ == "__main__":
    sys.exit(main())
