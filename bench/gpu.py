"""One command on a GPU host: facts, first-run checks, then pages/s of the training step by setting.

    python bench/gpu.py [--budget 480] [--out gpu.md]
    python bench/gpu.py --tiny          a small network on any machine, to try the bench itself

Needs neither Ray nor a network. Each row of the table is a process of its own (bench/gpu_row.py) with InceptionResNetV2
at full size: the training step as a job runs it, fed from shards, against `keras fit` with its defaults. The most
informative rows come first; no row starts that the budget does not cover, and what is measured is written after each
row, so that an interrupted bench keeps it. Bar: our best row at 256 px is at least as fast as `keras fit`.
"""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.gpu_row import GPUS  # noqa: E402

ROW = Path(__file__).with_name("gpu_row.py")
BAR = 1.0
FIRST_GUESS_S = 90.0
"""Assumed duration of a row before one has been measured."""
NO_GPU, INTERRUPTED = 2, 130
"""Exit statuses."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting. by: `regionstack` or `keras fit`; jit: XLA (`keras fit` decides by itself); batch: pages."""

    by: str = "regionstack"
    px: int = 256
    precision: str = "mixed_bfloat16"
    jit: bool = False
    fused: bool = True
    batch: int = 128


def rows() -> list[Row]:
    """All settings, the most informative first: those that decide the preset, then the rest of the grid."""
    base = Row()
    first = [
        base,
        Row(by="keras fit", precision="float32"),
        replace(base, jit=True),
        Row(by="keras fit"),
        replace(base, precision="float32"),
        replace(base, fused=False),
        replace(base, px=128),
        replace(base, batch=512),
        replace(base, jit=True, fused=False),
        Row(by="keras fit", px=128, precision="float32"),
    ]
    grid = [
        Row(px=px, precision=precision, jit=jit, fused=fused, batch=batch)
        for px, precision, jit, fused, batch in product(
            (256, 128), ("mixed_bfloat16", "float32"), (False, True), (True, False), (128, 512)
        )
    ]
    return list(dict.fromkeys([*first, *grid]))


def tiny(row: Row) -> Row:
    """The same setting for a small network: a batch of 8 or 16, stored pages of 64 px."""
    return replace(row, px=row.px // 4, batch=8 if row.batch == 128 else 16, precision="float32")


def main() -> int:
    """Run the checks and the rows within the budget; 0 if the checks pass and the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=seconds, default=480.0, metavar="SECONDS", help="no row starts beyond it")
    parser.add_argument("--out", type=output, metavar="FILE", help="also write the table as Markdown, after each row")
    parser.add_argument("--tiny", action="store_true", help="a small network, for a machine without a GPU")
    parser.add_argument("--quick", action="store_true", help="the first rows that fit into 50 s")
    options = parser.parse_args()
    ends = time.monotonic() + (min(options.budget, 50.0) if options.quick else options.budget)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    checks: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    interrupted = False
    try:
        with tempfile.TemporaryDirectory() as folder:
            checks = child("checks", folder, tiny=options.tiny, limit_s=ends - time.monotonic())
            print(facts_text(checks), flush=True)
            if checks.get(GPUS) == 0 and not options.tiny:
                print("error: TensorFlow finds no GPU here; --tiny tries the bench on any machine", file=sys.stderr)
                return NO_GPU
            for result in measure(folder, ends, options):
                results.append(result)
                print(line_of(result), flush=True)
                if options.out is not None:
                    options.out.write_text(markdown(results))
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted", flush=True)
    figure = speed_up(results)
    holds = bool(checks.get("passed")) and figure is not None and figure >= BAR
    print(rate_text(results))
    print(json.dumps({"bench": "gpu", "figure": figure, "bar": BAR, "holds": holds, "rows": len(results)}))
    return INTERRUPTED if interrupted else int(not holds)


def seconds(text: str) -> float:
    """The argument of --budget."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0, found {text!r}")
    return value


def output(text: str) -> Path:
    """The argument of --out: a file that can be written, whose content stays until the first row is measured."""
    try:
        with Path(text).open("a"):
            return Path(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None


def measure(folder: str, ends: float, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure row after row until the budget is spent."""
    longest, measured = FIRST_GUESS_S / (10 if options.tiny else 1), False
    for row in dict.fromkeys(tiny(row) if options.tiny else row for row in rows()):
        left = ends - time.monotonic()
        if left < longest:
            print(f"the budget is spent: {left:.0f} s are left, and a row takes up to {longest:.0f} s", flush=True)
            break
        began = time.monotonic()
        result = asdict(row) | child("row", folder, tiny=options.tiny, limit_s=left, **asdict(row))
        if "error" not in result:
            longest = max(time.monotonic() - began, longest if measured else 0.0)
            measured = True
        yield result


def child(what: str, folder: str, *, tiny: bool, limit_s: float, **row: Any) -> dict[str, Any]:
    """Run bench/gpu_row.py; its last line of output as data, or {"error": why}."""
    request = json.dumps({"what": what, "folder": folder, "tiny": tiny, **row})
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    try:
        ended = subprocess.run(
            [sys.executable, str(ROW), request],
            env=environment, capture_output=True, text=True, timeout=max(limit_s, 1.0), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {limit_s:.0f} s, the end of the budget"}
    if ended.returncode == 0:
        return dict(json.loads(ended.stdout.strip().splitlines()[-1]))
    return {"error": reason(ended.returncode, ended.stderr)}


def reason(status: int, output: str) -> str:
    """Why a process failed, as a cell of the table: from its exit status and what it wrote to stderr.

    TensorFlow's message of an operation that failed has many lines; the exception's name is in the first of them.
    """
    if status < 0:
        return f"killed by signal {-status}"
    if "ResourceExhaustedError" in output or "out of memory" in output.lower():
        return "out of memory"
    lines = [line.strip().replace("|", "/") for line in output.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return raised[-1] if raised else f"status {status}: {lines[-1] if lines else 'no output'}"


def facts_text(checks: dict[str, Any]) -> str:
    """The facts and the outcome of each check, one a line."""
    return "\n".join(f"{name}: {value}" for name, value in checks.items())


COLUMNS = {
    "by": "step", "px": "px", "precision": "precision", "jit": "XLA", "fused": "fused BatchNorm", "batch": "batch",
    "pages_per_s": "pages/s", "memory_mib": "memory, MiB", "input_share": "input wait", "compile_s": "compile, s",
}  # fmt: skip


def cells(result: dict[str, Any]) -> list[str]:
    """One row of the table as text."""
    if result["by"] == "keras fit":
        result = result | {"jit": "auto", "fused": "auto"}
    if "error" in result:
        result = result | {"pages_per_s": result["error"]}
    shown = []
    for name in COLUMNS:
        value = result.get(name, "")
        if isinstance(value, bool):
            value = "on" if value else "off"
        elif isinstance(value, float):
            value = f"{value:.1%}" if name == "input_share" else f"{value:,.1f}"
        shown.append(str(value))
    return shown


def line_of(result: dict[str, Any]) -> str:
    """A result for the terminal."""
    return "  ".join(f"{text:>12}" for text in cells(result))


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """The table for docs/performance.md."""
    head = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*head, *("| " + " | ".join(cells(result)) + " |" for result in results)]) + "\n"


def best(results: Sequence[dict[str, Any]], by: str) -> dict[str, Any] | None:
    """The fastest measured row of `by` at the largest px."""
    measured = [result for result in results if result["by"] == by and "pages_per_s" in result]
    largest = max((result["px"] for result in measured), default=0)
    return max((r for r in measured if r["px"] == largest), key=lambda r: float(r["pages_per_s"]), default=None)


def speed_up(results: Sequence[dict[str, Any]]) -> float | None:
    """Our fastest row as a multiple of the fastest `keras fit`, at the largest px that both have; None without one."""
    sizes = [{r["px"] for r in results if r["by"] == by and "pages_per_s" in r} for by in ("regionstack", "keras fit")]
    largest = max(set.intersection(*sizes), default=0)
    ours, fit = (best([r for r in results if r["px"] == largest], by) for by in ("regionstack", "keras fit"))
    if ours is None or fit is None:
        return None
    return round(float(ours["pages_per_s"]) / float(fit["pages_per_s"]), 3)


def rate_text(results: Sequence[dict[str, Any]]) -> str:
    """The command that plans a run with the measured speed."""
    ours = best(results, "regionstack")
    if ours is None:
        return "no row was measured"
    return f"plan with this speed: regionstack plan --config rvl_cdip --rate {ours['pages_per_s']:.0f}@{ours['px']}"


if __name__ == "__main__":
    sys.exit(main())
