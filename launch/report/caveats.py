"""What a reader of the figures must know before believing them, found in the figures and the run folder."""

from collections.abc import Mapping
from typing import Any

from launch.run.record import RunRecord
from launch.wording import duration
from trainer.config import STACK

FEW_PAGES = 200
"""Below this many test pages a 95 % interval is some ten points wide and most differences are chance."""


def caveats(record: RunRecord, data: Mapping[str, Any]) -> list[str]:
    """One line each, the gravest first; `data` are the run's figures so far."""
    models: Mapping[str, Any] = data["models"]
    return [
        *_unfinished(models),
        *_untrue_figures(models),
        *_broken_transfers(data["transfers"]),
        *_shared_validation(record, models),
        *_set_aside(data["data_set"]),
        *_test_set(data),
        *_stack_gain(data["comparison"]),
    ]


def _unfinished(models: Mapping[str, Any]) -> list[str]:
    lines = []
    for state, text in (("failed", "failed"), ("skipped", "could not run, since a job that it needs failed")):
        for name, model in models.items():
            if model["state"] == state:
                lines.append(f"{name} {text}{': ' + model['error'] if model['error'] else ''}")
    for name, model in models.items():
        if model["silent_s"] is not None:
            lines.append(f"{name} has given no sign of life for {duration(model['silent_s'])}.")
    missing = [name for name, model in models.items() if model["state"] in ("running", "waiting", "stopped")]
    if missing:
        lines.append(f"The run is not finished: {', '.join(missing)} still to come. The figures are those of now.")
    return lines


def _untrue_figures(models: Mapping[str, Any]) -> list[str]:
    """Jobs whose recorded accuracy is not the one that their own predictions give."""
    lines = []
    for name, model in models.items():
        for split in ("val", "test"):
            recorded, counted = model["result"].get(f"{split}_accuracy"), model.get(split, {}).get("accuracy")
            if recorded is not None and counted is not None and abs(recorded - counted) > 1e-4:
                lines.append(
                    f"{name}: it recorded a {split} accuracy of {recorded:.4f}, but its {split} predictions "
                    f"give {counted:.4f}. The figures here are those of the predictions."
                )
        losses = [epoch.get("train_loss") for epoch in model["epochs"]]
        if any(loss is not None and loss != loss for loss in losses):
            lines.append(f"{name}: a training loss was not a number.")
    return lines


def _broken_transfers(transfers: list[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['job']} did not start from the weights that {row['from']} recorded: the digests differ."
        for row in transfers
        if row["matches"] is False
    ]


def _shared_validation(record: RunRecord, models: Mapping[str, Any]) -> list[str]:
    if not models.get(STACK, {}).get("result"):
        return []
    split = models[STACK]["result"].get("leak_free") or record.config.get("stack") or {}
    if split.get("on") or split.get("leak_free"):
        return [
            f"Leak-free: {split.get('selection_share', 0):.0%} of the validation pages chose the best epoch, "
            "and the others trained the stack. Only the test figures are on pages that had no part in either."
        ]
    return [
        "The best epochs were chosen on the same validation pages that trained the stack, as in the recipe's "
        "source, so validation figures are optimistic, most of all the stack's. Test figures are not touched."
    ]


def _set_aside(data_set: Mapping[str, Mapping[str, int]]) -> list[str]:
    each = [f"{counts['rejected']} of {split}" for split, counts in data_set.items() if counts["rejected"]]
    return [f"Pages that could not be read were set aside: {', '.join(each)}."] if each else []


def _test_set(data: Mapping[str, Any]) -> list[str]:
    counts = {name: model["test"]["count"] for name, model in data["models"].items() if "test" in model}
    lines = []
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        lines.append(f"The models were not tested on the same number of pages: {each}.")
    if counts and (fewest := min(counts.values())) < FEW_PAGES:
        lines.append(f"Only {fewest} test pages: mind the intervals; most small differences are chance.")
    final = next((model["test"] for model in reversed(data["models"].values()) if "test" in model), None)
    empty = (
        [c["name"] for c, row in zip(data["classes"], final.get("per_class", ()), strict=False) if row["count"] == 0]
        if final
        else []
    )
    if empty:
        lines.append(f"No test page of: {', '.join(empty)}.")
    return lines


def _stack_gain(comparison: Mapping[str, Any] | None) -> list[str]:
    if comparison is None or comparison["difference"] > 0:
        return []
    what = "no better" if comparison["difference"] == 0 else "worse"
    return [f"The stack is {what} than {comparison['second']} on these test pages."]
