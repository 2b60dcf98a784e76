"""Pages per minute that a survey decodes on the cores of this machine: real scans, or drawn pages.

    python bench/survey.py [--quick] [--pages DIR] [--workers N]

The label files list the same pages (`../shared/pages` or DIR; drawn pages if that folder is missing) many times under
other names, so that each name is read, decoded and measured, from the page cache. CPU time per page is shown too: on a
busy machine, it says what an idle one would do. Bar: 10,000 pages per minute on two cores; with other cores in
proportion.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_tools.cores import available_cores  # noqa: E402
from data_tools.documents.data_set import DataConfig  # noqa: E402
from data_tools.survey.survey import survey  # noqa: E402

A_MINUTE_A_CORE = 5000


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 pages instead of 20,000")
    parser.add_argument("--pages", type=Path, default=ROOT.parent / "shared" / "pages", help="folder of page scans")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default: all cores)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, source = repeated(options.pages, Path(folder), 2_000 if options.quick else 20_000)
        found = survey(data, seed=1, workers=options.workers)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in used)
    pages = len(found.measures)
    a_minute = round(60 * pages / found.measuring_seconds)
    bar = A_MINUTE_A_CORE * min(options.workers, available_cores())
    print(f"{pages:,} {source} pages, {options.workers} processes: {a_minute:,} pages per minute")
    print(f"CPU time {1000 * cpu_s / pages:.1f} ms per page in total: {60 * pages / cpu_s:,.0f} per minute and core")
    print(f"search of {pages:,} hashes and comparison: {found.seconds - found.measuring_seconds:.1f} s")
    result = {"bench": "survey", "figure": a_minute, "bar": bar, "holds": a_minute >= bar}
    load = round(os.getloadavg()[0], 1)
    print(json.dumps(result | {"cpu_ms_a_page": round(1000 * cpu_s / pages, 2), "source": source, "load": load}))
    return 0 if result["holds"] else 1


def repeated(pages: Path, folder: Path, count: int) -> tuple[DataConfig, str]:
    """A data set of about `count` names for the pages in `pages` or, if that is missing, for drawn ones."""
    source = "real"
    if not pages.is_dir():
        from data_tools.drawn import draw_data_set

        pages, source = folder / "drawn", "drawn"
        draw_data_set(pages, seed=1, pages_per_class={"train": 10, "val": 2, "test": 2}, height=1000)
    lines = {split: (pages / "labels" / f"{split}.txt").read_text().split("\n") for split in ("train", "val", "test")}
    lines = {split: [line for line in found if line] for split, found in lines.items()}
    times = max(1, count // sum(map(len, lines.values())))
    root = folder / "root"
    shutil.copytree(pages, root / "0")
    for number in range(1, times):
        # Hard links: symbolic links to a page would be one page.
        shutil.copytree(root / "0", root / str(number), copy_function=os.link)
    for split, found in lines.items():
        text = "".join(f"{number}/{line}\n" for number in range(times) for line in found)
        (root / f"{split}.txt").write_text(text)
    return DataConfig(str(root), *(str(root / f"{split}.txt") for split in lines)), source


if __name__ == "__main__":
    sys.exit(main())
