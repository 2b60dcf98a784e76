"""The ablation table of docs/accuracy.md: what each option gives on real pages, by cross-validation.

    python bench/accuracy.py --out DIR --weights FILE [--arm NAME ...] [--fold K ...] [--budget MINUTES]
    python bench/accuracy.py --quick --weights FILE

Each fold of each row is a run of the product (`regionstack train`: conversion, whole-page stages, regions, stack) in a
process of its own on all cores. Folds keep documents together and classes balanced; of the pages that are not tested,
a sixth selects epochs and fits the stack. All rows get the same minutes: the epochs of their stages are multiplied by
what fits the budget, by a speed that is measured once. Rows that differ in the stack alone take over the models of
another row. Every finished fold of a row is a file in DIR/results, and a rerun continues. Differences are tested on the
pages of the folds that both rows have (McNemar, mid-p).
Bars: the errors of the stack in the judged row are at most 0.75 times those of `today`, and the stack is
significantly better than its whole-page model (p < 0.05).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from bench.accuracy_arms import ALL, PX, STORED, TODAY, Arm, arms, base_config, chosen_arms  # noqa: E402
from bench.accuracy_folds import capped, folds_of, read_pages, splits_of, write_labels  # noqa: E402
from bench.accuracy_runs import (  # noqa: E402
    Record,
    Setting,
    Speed,
    configured,
    digest,
    measured_speed,
    record_path,
    run_fold,
    speed_path,
)
from data_tools.conversion.shard_plan import MAX_PX  # noqa: E402
from data_tools.errors import UserError  # noqa: E402
from data_tools.files import read_json  # noqa: E402
from data_tools.labels.label import Label  # noqa: E402
from launch.config import Config  # noqa: E402
from trainer.config import STACK  # noqa: E402
from trainer.job_folder.duplicates import read_groups  # noqa: E402
from trainer.scoring.metrics import expected_calibration_error, mcnemar, wilson_interval  # noqa: E402

ERROR_BAR, P_BAR = 0.75, 0.05
VAL = 1 / 6
SMALLEST_PX, LARGEST_PX = 32, MAX_PX // STORED
"""Of MobileNetV2, and of stored pages."""
QUICK_PX, QUICK_PAGES, QUICK_MINUTES = 64, 60, 0.4
QUICK_REGIONS = {"top": [0, 0, 1, 0.5]}
QUICK_SPEED = Speed(QUICK_PX, page_s=1 / 150, evaluated_page_s=1 / 500, start_s=8)
"""A guess, since measuring takes as long as a job."""
Records = dict[str, list[Record]]


def main() -> int:
    """Run what is missing, print the table, then the figures as one line of JSON; 0 if the bars hold."""
    options = parse()
    if options.list:
        for arm in arms():
            print(f"{arm.name:14} {arm.about}")
        return 0
    if options.weights is None or not options.weights.is_file():
        raise SystemExit("--weights: name the file with start weights of MobileNetV2 (.h5, .weights.h5)")
    with tempfile.TemporaryDirectory() as folder:
        try:
            return measure(options, options.out or Path(folder))
        except UserError as error:
            raise SystemExit(str(error)) from None


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, with those of `--quick` filled in; exits with one line at values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--out", type=Path, help="folder of shards, runs and results; a rerun continues there")
    parser.add_argument("--pages", type=Path, default=shared / "pages_five", help="root of the labelled pages")
    parser.add_argument("--labels", type=Path, nargs="+", help="label files, tables or folders; default: labels/*.txt")
    parser.add_argument("--weights", type=Path, help="start weights of MobileNetV2")
    parser.add_argument("--arm", nargs="+", help="rows to measure (default: all); --list names them")
    parser.add_argument("--fold", type=int, nargs="+", help="folds to measure, from 0 on (default: all)")
    parser.add_argument("--folds", type=int, default=5, help="number of folds")
    parser.add_argument("--duplicates", type=Path, help="duplicates.jsonl of a survey; copies stay in one split")
    parser.add_argument("--seed", type=int, default=1, help="of the folds")
    parser.add_argument("--budget", type=float, default=10.0, help="minutes of training for each fold of a row")
    parser.add_argument("--px", type=int, default=PX, help="height that today's stages work at")
    parser.add_argument("--per-class", type=int, help="pages of each class (default: all)")
    parser.add_argument("--holistic", action="store_true", help="whole-page models alone: three times the epochs")
    parser.add_argument("--judge", default=ALL, help="row that the bars are about")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints of finished runs")
    parser.add_argument("--table", action="store_true", help="print what is measured already, and train nothing")
    parser.add_argument("--list", action="store_true", help="list the rows and exit")
    parser.add_argument("--quick", action="store_true", help="one fold of few pages at 64 px; about a minute")
    options = parser.parse_args(arguments)
    problem = problem_of(options)
    if problem is not None:
        parser.error(problem)
    options.fold = None if options.fold is None else list(dict.fromkeys(options.fold))  # a page counts once
    options.regions = {} if options.holistic else "halves"
    if options.quick:
        options.px, options.budget, options.regions = QUICK_PX, QUICK_MINUTES, options.regions and QUICK_REGIONS
        options.fold, options.per_class = options.fold or [0], options.per_class or QUICK_PAGES
        options.arm, options.judge = options.arm or [TODAY, "pool"], "pool"
    return options


def problem_of(options: argparse.Namespace) -> str | None:
    """What is wrong with the options, in one line; None if nothing is."""
    if options.folds < 2 or any(fold not in range(options.folds) for fold in options.fold or ()):
        return "--folds must be at least 2, and --fold from 0 to one less"
    if not 0 < options.budget < float("inf"):
        return f"--budget must be more than 0 minutes, and finite: {options.budget:g}"
    if not SMALLEST_PX <= options.px <= LARGEST_PX:
        return f"--px must be from {SMALLEST_PX} to {LARGEST_PX}, pages are stored at {STORED} times it: {options.px}"
    if options.per_class is not None and options.per_class < 1:
        return f"--per-class must be at least 1: {options.per_class}"
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        return f"--out {options.out}: not a folder"
    known = [arm.name for arm in arms()]
    for option, names in (("--arm", options.arm or []), ("--judge", [options.judge])):
        unknown = [name for name in names if name not in known]
        if unknown:
            return f"{option} {unknown[0]}: no such row; there are: {', '.join(known)}"
    return None


def measure(options: argparse.Namespace, out: Path) -> int:
    """Run the folds of all rows that have no record, and report."""
    out = out.absolute()
    files = options.labels or sorted((options.pages / "labels").glob("*.txt"))
    if not files:
        raise UserError(f"{options.pages}: no labels/*.txt; name label files with --labels")
    pages = read_pages(options.pages, files)
    pages = capped(pages, options.per_class) if options.per_class else pages
    divided = folds(pages, options)
    for fold, splits in enumerate(divided):
        if not all(splits.values()):
            empty = next(split for split, rows in splits.items() if not rows)
            raise UserError(f"--folds {options.folds}: no {empty} page is left in fold {fold} of {len(pages)} pages; "
                            "give fewer folds or more pages")  # fmt: skip
    first = {split: len(rows) for split, rows in divided[0].items()}
    base = base_config(weights=str(options.weights.absolute()), px=options.px, regions=options.regions)
    classes = len({page.class_id for page in pages})
    if options.table and not options.quick and not speed_path(out, options.px).exists():
        raise UserError(f"{out}: nothing is measured there at {options.px} px; run it without --table first")
    speed = QUICK_SPEED if options.quick else measured_speed(out, base, classes=classes, px=options.px)
    setting = Setting(out, options.pages, base, options.budget * 60, speed, first)
    chosen = chosen_arms(options.arm or [arm.name for arm in arms()], options.px)
    print(f"{len(pages)} pages, {options.folds} folds (seed {options.seed}), {first['train']} to train on; "
          f"{options.budget:g} minutes each; {1 / speed.page_s:.0f} pages/s at {speed.px} px", flush=True)  # fmt: skip
    records: Records = {arm.name: [] for arm in chosen}
    cache = out / f"folds-{digest([divided, options.regions, options.px])}"
    for fold in options.fold or range(options.folds):
        labels = write_labels(cache / f"fold-{fold}", divided[fold])
        for name, record in one_fold(setting, chosen, labels, cache / f"fold-{fold}" / "shards", options):
            records[name].append(record)
    return report({name: found for name, found in records.items() if found}, chosen, options)


def folds(pages: Sequence[Label], options: argparse.Namespace) -> list[dict[str, list[Label]]]:
    """The three splits of each fold."""
    copies = read_groups(options.duplicates) if options.duplicates else ()
    parts = folds_of(pages, options.folds, seed=options.seed, copies=copies)
    return [splits_of(parts, fold, val=VAL, seed=options.seed, copies=copies) for fold in range(options.folds)]


def one_fold(
    setting: Setting, chosen: Sequence[Arm], labels: Mapping[str, str], shards: Path, options: argparse.Namespace
) -> list[tuple[str, Record]]:
    """The records of a fold by arm; trains what is missing."""
    found: list[tuple[str, Record]] = []
    configs: dict[str, Config] = {}
    for arm in chosen:
        if arm.like and arm.like not in configs:
            print(f"{arm.name}: not measured, since {arm.like} is not", flush=True)
            continue
        like = configs.get(arm.like or "")
        try:
            configs[arm.name] = config = configured(setting, arm, labels, shards=shards, like=like)
        except UserError as error:
            print(f"{arm.name}: not measured: {error}", flush=True)
            continue
        path = record_path(config, setting.out)
        if options.table:
            found += [(arm.name, read_json(path))] if path.exists() else []
            continue
        new, began = not path.exists(), time.monotonic()
        record = run_fold(config, arm, out=setting.out, like=like, keep=options.keep)
        if record is None:
            del configs[arm.name]  # none takes over its models
            continue
        found.append((arm.name, record))
        if new:
            stack, holistic = (record["scores"][name]["accuracy"] for name in (STACK, record["holistic"]))
            print(f"{record['fold']} {arm.name:14} stack {stack:.3f}  holistic {holistic:.3f}  "
                  f"{(time.monotonic() - began) / 60:.1f} min", flush=True)  # fmt: skip
    return found


def right(records: Sequence[Record], model: str) -> dict[tuple[str, str], bool]:
    """Whether a model is right, by fold and page; `holistic` is the whole-page model."""
    found: dict[tuple[str, str], bool] = {}
    for record in records:
        name = record["holistic"] if model == "holistic" else model
        found |= {
            (record["fold"], page): bool(hit) for page, hit in zip(record["ids"], record["right"][name], strict=True)
        }
    return found


def paired(first: dict[tuple[str, str], bool], second: dict[tuple[str, str], bool]) -> tuple[float, float]:
    """Error of the first as a multiple of that of the second on the pages of both, and McNemar's mid-p."""
    pages = first.keys() & second.keys()
    only_first = sum(first[page] and not second[page] for page in pages)
    only_second = sum(second[page] and not first[page] for page in pages)
    wrong = [sum(not one[page] for page in pages) for one in (first, second)]
    return wrong[0] / wrong[1] if wrong[1] else float("nan"), mcnemar(only_first, only_second)[1]


def spread(values: Sequence[float]) -> str:
    """Mean over folds ± its standard error, in percent."""
    error = f" ± {100 * np.std(values, ddof=1) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{error}"


def share_right(hits: np.ndarray) -> str:
    """The share of right answers among accepted pages, in percent, with its 95 % interval."""
    if not len(hits):
        return "–"
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return f"{100 * hits.mean():.1f}, {100 * low:.1f} to {100 * high:.1f}"


def error_by_chance(softmax: np.ndarray, *, draws: int = 200) -> float:
    """The mean calibration error of a perfectly calibrated model with these confidences and as many pages."""
    random, confidence = np.random.default_rng(1), softmax.max(axis=1)
    pair = np.stack([confidence, np.zeros_like(confidence)], axis=1)
    found = [expected_calibration_error((random.random(len(pair)) >= confidence).astype(int), pair)
             for _ in range(draws)]  # fmt: skip
    return float(np.mean(found))


def report(records: Records, chosen: Sequence[Arm], options: argparse.Namespace) -> int:
    """Print the table in Markdown and the last line."""
    print("\n| row | folds | holistic % | stack % | errors vs today | p | p over holistic | NLL | ECE % (by chance) | "
          "accepted % (right %, interval) | minutes |\n|---|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    rows = {name: summarize(found, records.get(TODAY, [])) for name, found in records.items()}
    for arm in chosen:
        row = rows.get(arm.name)
        print(f"| {arm.name}: {arm.about} | {' | '.join(row['cells']) if row else 'not measured'} |")
    judged = rows.get(options.judge)
    figure = judged["figure"] if judged else None
    complete = judged is not None and len(records[options.judge]) == options.folds
    holds = False
    if figure is not None:
        significant = figure["stack_above_holistic"] and figure["p_over_holistic"] < P_BAR
        holds = bool(significant and figure["errors"] <= ERROR_BAR)
    bar = {"errors": ERROR_BAR, "p_over_holistic": P_BAR}
    print(json.dumps({"bench": "accuracy", "figure": figure, "bar": bar, "holds": holds, "row": options.judge,
                      "complete": complete, "budget": options.budget}))  # fmt: skip
    return 0 if holds else 1


def summarize(found: Sequence[Record], today: Sequence[Record]) -> dict[str, Any]:
    """The cells of a row of the table, and what the bars are about."""
    stack, holistic = right(found, STACK), right(found, "holistic")
    errors, p_value = paired(stack, right(today, STACK)) if today else (float("nan"), float("nan"))
    _, p_holistic = paired(stack, holistic)
    scores = [record["scores"][STACK] for record in found]
    whole = [record["scores"][record["holistic"]]["accuracy"] for record in found]
    labels, softmax, accepted, hits = (
        np.concatenate([np.array(part) for part in parts])
        for parts in (
            [record["labels"] for record in found],
            [record["softmax"] for record in found],
            [record["accepted"] for record in found],
            [record["right"][STACK] for record in found],
        )
    )
    taken = hits[accepted == 1]
    cells = [
        str(len(found)), spread(whole), spread([one["accuracy"] for one in scores]), f"{errors:.2f}", f"{p_value:.3f}",
        f"{p_holistic:.3f}", f"{np.mean([one['nll'] for one in scores]):.3f}",
        f"{100 * expected_calibration_error(labels, softmax):.1f} ({100 * error_by_chance(softmax):.1f})",
        f"{100 * accepted.mean():.0f} ({share_right(taken)})",
        f"{np.mean([record['minutes'] for record in found]):.1f}",
    ]  # fmt: skip
    figure = {"errors": round(errors, 3), "p_over_holistic": round(p_holistic, 4),
              "stack_above_holistic": sum(stack.values()) > sum(holistic.values())}  # fmt: skip
    return {"cells": cells, "figure": figure}


if __name__ == "__main__":
    sys.exit(main())
