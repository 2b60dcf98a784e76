"""Conversion of all pages of PDFs: pages per second with one worker process and with one for each core.

    python bench/documents.py [--quick]

300 PDFs of 10 letter pages of text (with --quick 30), written for the purpose, rendered at 200 dpi and stored at
256 x 256 gray. The bar: the bytes are equal, and the speed grows with the processes by at least 0.8 of their number.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_tools.conversion.convert import ShardConfig, convert  # noqa: E402
from data_tools.cores import available_cores  # noqa: E402
from data_tools.documents.data_set import DataConfig  # noqa: E402
from data_tools.documents.page_counts import CountSetup, count_documents  # noqa: E402

PAGES, LINES = 10, 55
SHARE = 0.8
"""Least speed with all processes, as a share of that of one process times their number."""


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 PDFs instead of 300; under a minute")
    options = parser.parse_args()
    count, most = 30 if options.quick else 300, available_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_pdfs(folder, count)
        rows = {workers: measured(data, folder, count, workers=workers) for workers in dict.fromkeys((1, most))}
        equal = len({frozenset(contents(folder / f"shards-{workers}").items()) for workers in rows}) == 1
    print(f"{count} PDFs of {PAGES} pages, all pages")
    print(f"  {'workers':>7}{'counting':>12}{'conversion':>14}{'pages/s':>10}{'CPU a page':>14}")
    for workers, row in rows.items():
        print(
            f"  {workers:>7}{row['count_s']:>10.2f} s{row['convert_s']:>12.1f} s{row['pages_per_s']:>10.0f}"
            f"{row['cpu_ms']:>11.1f} ms"
        )
    growth = rows[most]["pages_per_s"] / rows[1]["pages_per_s"]
    holds = equal and growth >= SHARE * most
    figure = {"growth": round(growth, 2), "equal_bytes": equal, "workers": most, "rows": list(rows.values())}
    print(json.dumps({"bench": "documents", "figure": figure, "bar": {"growth": SHARE * most}, "holds": holds}))
    return 0 if holds else 1


def measured(data: DataConfig, folder: Path, count: int, *, workers: int) -> dict[str, Any]:
    """Counting and conversion with `workers` processes."""
    started = time.monotonic()
    documents = [f"{number}.pdf" for number in range(count)]
    count_documents(CountSetup(data.root), documents, workers=workers, timeout_s=60)
    counted, before = time.monotonic(), _cpu_of_children()
    shards = ShardConfig(folder=str(folder / f"shards-{workers}"))
    summary = convert(data, shards, regions={}, seed=1, workers=workers)
    seconds = time.monotonic() - counted
    return {
        "count_s": round(counted - started, 2),
        "convert_s": round(seconds, 1),
        "pages_per_s": round(summary.pages / seconds, 1),
        "cpu_ms": round(1000 * (_cpu_of_children() - before) / summary.pages, 1),
    }


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def contents(folder: Path) -> dict[str, bytes]:
    """The files of shard sets by name."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def write_pdfs(folder: Path, count: int) -> DataConfig:
    """`count` PDFs, four fifths of them for training, in four classes."""
    (folder / "pages").mkdir()
    places = {"train": range(count * 8 // 10), "val": range(count * 8 // 10, count * 9 // 10)}
    places["test"] = range(count * 9 // 10, count)
    for split, numbers in places.items():
        for number in numbers:
            (folder / "pages" / f"{number}.pdf").write_bytes(text_pdf(number))
        (folder / f"{split}.txt").write_text("".join(f"{number}.pdf {number % 4}\n" for number in numbers))
    files = {split: str(folder / f"{split}.txt") for split in places}
    return DataConfig(root=str(folder / "pages"), pages="all", **files)


def text_pdf(number: int) -> bytes:
    """A PDF of PAGES pages of text; PDFium rebuilds the cross-reference table that it lacks."""
    kids = " ".join(f"{10 + 2 * page} 0 R" for page in range(PAGES))
    objects = ["1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"]
    objects += [f"2 0 obj\n<< /Type /Pages /Count {PAGES} /Kids [{kids}] >>\nendobj\n"]
    objects += ["3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>\nendobj\n"]
    for page in range(PAGES):
        text = [f"({number}.{page}.{line}: the quick brown fox jumps over the lazy dog) Tj T*" for line in range(LINES)]
        body = "\n".join(["BT /F1 10 Tf 12 TL 54 740 Td", *text, "ET 54 60 500 690 re S"])
        own, content = 10 + 2 * page, 11 + 2 * page
        entries = f"/MediaBox [0 0 612 792] /Contents {content} 0 R /Resources << /Font << /F1 3 0 R >> >>"
        objects += [f"{own} 0 obj\n<< /Type /Page /Parent 2 0 R {entries} >>\nendobj\n"]
        objects += [f"{content} 0 obj\n<< /Length {len(body)} >>\nstream\n{body}\nendstream\nendobj\n"]
    return ("%PDF-1.4\n" + "".join(objects) + "trailer\n<< /Root 1 0 R >>\n%%EOF\n").encode()


if __name__ == "__main__":
    sys.exit(main())
