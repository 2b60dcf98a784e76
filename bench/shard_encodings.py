"""Cost of each `shards.encoding`: bytes per page, time to encode and decode, batches per second, changed pixels.

    python bench/shard_encodings.py [--quick] [--pages DIR]

On real scans (`../shared/pages` or DIR; drawn pages if that folder is missing) at 256 x 256 gray. Encoding and decoding
are CPU time on one core, the least of five rounds; batches have 32 pages and are made by as many threads as in
training. The bar is on pixels, not on speed: `raw` and `png` must return exactly what was encoded.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from input import BATCH, PX, timed  # noqa: E402
from repeated_pages import SPLITS, repeated  # noqa: E402

from data_tools.conversion.convert import ShardConfig, convert  # noqa: E402
from data_tools.documents.data_set import DataConfig  # noqa: E402
from data_tools.documents.opencv import use_single_thread  # noqa: E402
from data_tools.documents.pixels import decode, encode, fit, read_page  # noqa: E402
from data_tools.documents.regions import WHOLE_PAGE  # noqa: E402
from data_tools.shards.reader import BatchPlan, ShardSet, TrainBatches  # noqa: E402

ROUNDS = 5
ENCODINGS = ("raw", "png", "jpeg")
EXACT = ("raw", "png")
SECONDS = 3.0


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the lossless encodings are lossless."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 pages instead of 2,000; under a minute")
    parser.add_argument("--pages", type=Path, default=ROOT.parent / "shared" / "pages", help="folder of page scans")
    options = parser.parse_args()
    use_single_thread()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, source = repeated(options.pages, folder, 500 if options.quick else 2000)
        names = [line.rpartition(" ")[0] for line in (folder / f"{SPLITS[0]}.txt").read_text().splitlines()]
        different = sorted({(folder / name).resolve() for name in names})
        images = [fit(read_page(path), WHOLE_PAGE, PX, PX) for path in different]
        figures = {encoding: measured(encoding, images, data, folder) for encoding in ENCODINGS}
    print(f"{len(images)} {source} pages at {PX} x {PX} gray")
    print(f"  {'':<6}{'bytes per page':>14}{'encode':>12}{'decode':>12}{'batches of':>16}{'gray levels off':>18}")
    for encoding, f in figures.items():
        times = f"{f['encode_ms']:>9.3f} ms{f['decode_ms']:>9.3f} ms"
        print(f"  {encoding:<6}{f['bytes']:>14,}{times}{f['pages_per_s']:>9,} pages/s{f['off']:>18.2f}")
    holds = all(figures[encoding]["off"] == 0 for encoding in EXACT)
    line = {"bench": "shard_encodings", "figure": figures, "bar": {"off": 0}, "holds": holds, "source": source}
    print(json.dumps(line))
    return 0 if holds else 1


def measured(encoding: str, images: Sequence[Any], data: DataConfig, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    encoded = [encode(image, encoding) for image in images]

    def restore(content: bytes) -> Any:
        return np.frombuffer(content, np.uint8).copy() if encoding == "raw" else decode(content)

    pairs = zip(map(restore, encoded), images, strict=True)
    off = [np.abs(restored.reshape(image.shape).astype(int) - image).mean() for restored, image in pairs]
    shards = ShardConfig(folder=str(folder / encoding), height=PX, width=PX, encoding=encoding)
    convert(data, shards, regions={}, seed=1)
    written = ShardSet.open(folder / encoding / SPLITS[0] / "holistic")
    return {
        "bytes": round(statistics.mean(map(len, encoded))),
        "encode_ms": round(milliseconds(lambda image: encode(image, encoding), images), 4),
        "decode_ms": round(milliseconds(restore, encoded), 4),
        "pages_per_s": round(timed(TrainBatches(written, BatchPlan(global_batch=BATCH, seed=1)).__next__, SECONDS)),
        "off": round(float(np.mean(off)), 3),
    }


def milliseconds(work: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """CPU seconds of `work` for one item."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for item in items:
            work(item)
        rounds.append(time.process_time() - begun)
    return 1000 * min(rounds) / len(items)


if __name__ == "__main__":
    sys.exit(main())
