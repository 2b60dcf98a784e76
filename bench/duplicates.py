"""Recall and precision of the search for near duplicates, and its time on 400,000 pages.

    python bench/duplicates.py [--quick] [--pages DIR]

Each page (real scans in `../shared/pages` or DIR; drawn pages if that folder is missing) is changed as by a second
scan, a copy or a stamp, and must be found; and filled in anew like another form of the same template, and must not be
found. Two different pages must not pair either. The search is timed on hashes with the statistics of these pages.
Bar: 95 % of all changed pages found, at most 10 % of the forms with 20 % of their ink exchanged, no pair of different
pages, and 400,000 hashes searched within five minutes.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from perturbed_pages import CHANGES, filled_in  # noqa: E402

from data_tools.documents import pixels as pages  # noqa: E402
from data_tools.documents.opencv import use_single_thread  # noqa: E402
from data_tools.documents.regions import WHOLE_PAGE  # noqa: E402
from data_tools.survey import duplicates, fingerprint  # noqa: E402

FOUND, MISTAKEN, SEARCH_S = 0.95, 0.10, 300.0
Pixels = NDArray[np.uint8]


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the pages, 40,000 hashes; under a minute")
    parser.add_argument("--pages", type=Path, default=ROOT.parent / "shared" / "pages", help="folder of page scans")
    options = parser.parse_args()
    use_single_thread()
    scans, source = read_pages(options.pages)
    step = 10 if options.quick else 1
    found = changed_pages(scans[::step])
    mistaken = forms(scans, scans[::step])
    pairs = different_pages(scans if not options.quick else scans[::3])
    seconds = search(scans, 40_000 if options.quick else 400_000)
    figures = {"found": round(float(np.mean(found)), 4), "forms_mistaken": mistaken, "pairs_mistaken": pairs}
    holds = figures["found"] >= FOUND and mistaken[20] <= MISTAKEN and pairs == 0 and seconds <= SEARCH_S
    bar = f"found >= {FOUND}, forms with 20 % exchanged <= {MISTAKEN}, pairs 0, search <= {SEARCH_S:g} s"
    result = {
        "bench": "duplicates",
        "figure": figures | {"search_s": seconds},
        "bar": bar,
        "holds": bool(holds),
    }
    print(json.dumps(result | {"pages": len(scans), "source": source}))
    return 0 if holds else 1


def read_pages(folder: Path) -> tuple[list[Pixels], str]:
    """All pages in `folder`, or drawn ones."""
    if folder.is_dir():
        return [pages.read_page(path) for path in sorted(folder.rglob("*.tif"))], str(folder.name)
    from data_tools.drawn import draw_data_set

    with tempfile.TemporaryDirectory() as made:
        draw_data_set(Path(made, "drawn"), seed=1, pages_per_class={"train": 8, "val": 1, "test": 1}, height=1000)
        return [pages.read_page(path) for path in sorted(Path(made).rglob("*.tif"))], "drawn"


def looks(page: Pixels) -> tuple[NDArray[np.uint64], Pixels]:
    """A page's hash, and the page at the size at which pages are compared."""
    side = fingerprint.THUMB_PX
    detail = pages.fit(page, WHOLE_PAGE, fingerprint.DETAIL_HEIGHT, fingerprint.DETAIL_WIDTH)[:, :, 0]
    return fingerprint.perceptual_hash(pages.fit(page, WHOLE_PAGE, side, side)[:, :, 0]), detail


def judged(first: Pixels, second: Pixels) -> tuple[int, bool, float]:
    """Number of bits that differ, whether the search pairs the pages, and their agreement."""
    (one, detail), (other, other_detail) = looks(first), looks(second)
    hashes = np.stack([one, other])
    bits = int(duplicates.distances(hashes, np.array([[0, 1]]))[0])
    paired = len(duplicates.near_pairs(hashes, limit=fingerprint.NEAR_BITS).pages) == 1
    return bits, paired, fingerprint.agreement(detail, other_detail)


def is_duplicate(judgement: tuple[int, bool, float]) -> bool:
    """Whether a survey reports the two pages as duplicates."""
    return judgement[1] and judgement[2] >= fingerprint.NEAR_AGREEMENT


def print_row(*cells: object) -> None:
    """Print a row of the table."""
    print(*(f"{cell!s:>12}" if place else f"{cell!s:26}" for place, cell in enumerate(cells)), flush=True)


def changed_pages(scans: Sequence[Pixels]) -> list[float]:
    """Share of pages found, by kind of change."""
    print_row("change", "bits median", "bits 95 %", "paired", "found")
    shares = []
    for name, change in CHANGES.items():
        random = np.random.default_rng(1)
        rows = [judged(page, change(page, random)) for page in scans]
        bits = [row[0] for row in rows]
        shares.append(float(np.mean([is_duplicate(row) for row in rows])))
        paired = np.mean([row[1] for row in rows])
        print_row(
            name,
            f"{np.median(bits):.0f}",
            f"{np.quantile(bits, 0.95):.0f}",
            f"{paired:.1%}",
            f"{shares[-1]:.1%}",
        )
    return shares


def forms(scans: Sequence[Pixels], templates: Sequence[Pixels]) -> dict[int, float]:
    """Share of forms reported as duplicates, by percent of the ink that is exchanged."""
    print_row("\nfilled in anew", "", "", "paired", "mistaken")
    mistaken = {}
    for percent in (10, 20, 30):
        random = np.random.default_rng(2)
        rows = []
        for page in templates:
            other = filled_in(page, scans[random.integers(len(scans))], percent / 100, random)
            # On a page without text to exchange, the other form is the same page.
            if np.count_nonzero(np.abs(other.astype(int) - page) > 64) > percent / 200 * np.count_nonzero(page < 128):
                rows.append(judged(page, other))
        mistaken[percent] = round(float(np.mean([is_duplicate(row) for row in rows])), 4)
        paired = np.mean([row[1] for row in rows])
        print_row(f"{percent} % of {len(rows)} pages", "", "", f"{paired:.1%}", f"{mistaken[percent]:.1%}")
    return mistaken


def different_pages(scans: Sequence[Pixels]) -> int:
    """Pairs of pages that a survey reports as duplicates."""
    hashes, details = zip(*(looks(page) for page in scans), strict=True)
    pairs = duplicates.near_pairs(np.stack(hashes), limit=fingerprint.NEAR_BITS).pages
    joined = [
        (first, second)
        for first, second in pairs.tolist()
        if fingerprint.agreement(details[first], details[second]) >= fingerprint.NEAR_AGREEMENT
    ]
    count = len(scans) * (len(scans) - 1) // 2
    print_row(f"\n{count:,} pairs of pages", "", "", len(pairs), len(joined))
    return len(joined)


def search(scans: Sequence[Pixels], count: int) -> float:
    """CPU seconds to find the near pairs among `count` hashes like those of `scans`."""
    hashes = like(np.stack([looks(page)[0] for page in scans]), count)
    planted = hashes[:1000].copy()
    flips = np.random.default_rng(4).integers(0, 256, (1000, 20))
    np.bitwise_xor.at(planted, (np.arange(1000)[:, None], flips // 64), np.uint64(1) << (flips % 64).astype(np.uint64))
    started = time.process_time()
    pairs = duplicates.near_pairs(np.concatenate([hashes, planted]), limit=fingerprint.NEAR_BITS)
    seconds = round(time.process_time() - started, 1)
    found = np.count_nonzero(pairs.pages[:, 1] == pairs.pages[:, 0] + count)
    print_row(
        f"\n{count:,} hashes",
        f"{seconds:.1f} s",
        f"{len(pairs.pages):,} pairs",
        f"{found / 10:.1f}%",
        "of planted",
    )
    return seconds


def like(hashes: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """`count` hashes whose bits are correlated as in `hashes`: signs of normal variables."""
    random = np.random.default_rng(3)
    signs = np.unpackbits(hashes.view(np.uint8), axis=1).astype(np.float32) * 2 - 1
    mean, centred = signs.mean(axis=0), (signs - signs.mean(axis=0)) / np.sqrt(len(signs))
    parts = []
    for first in range(0, count, 20_000):
        normal = random.normal(size=(min(20_000, count - first), len(signs))).astype(np.float32)
        parts.append(np.packbits(normal @ centred + mean > 0, axis=1).view(np.uint64))
    return np.concatenate(parts)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
