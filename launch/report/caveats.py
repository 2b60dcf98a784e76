"""What limits the figures of a run: unfinished jobs, contradictions, optimistic validation, few test pages."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from launch.report.schema import Comparison, ModelFigures, RunFigures, SplitSize, TransferRow
from launch.run.record import RunRecord
from launch.terminal.wording import counted, duration
from trainer.config import STACK
from trainer.job_folder.corrections import corrections_record
from trainer.scoring.decision import policy_file
from trainer.scoring.schema import OutOfFoldUse, StackResult, ValidationUse
from trainer.scoring.thresholds import fewest_pages

FEW_PAGES = 200
"""With fewer test pages, a 95% interval is some ten points wide and most differences are insignificant."""
COPIES = "Copies of a page under other paths may be in other folds; stack.duplicates_file keeps them together. "
ROUNDING = 1e-4
"""Largest difference between a recorded accuracy and that of the predictions."""


def caveats(record: RunRecord, data: RunFigures) -> list[str]:
    """One sentence per caveat, the most serious first."""
    models = data["models"]
    return [
        *_unfinished(models),
        *_contradictions(models),
        *_broken_transfers(data["transfers"]),
        *_shared_validation(record, models),
        *_uncalibrated(record, models),
        *_few_to_certify(data),
        *_mixed_pages(record),
        *_rejected_pages(data["data_set"]),
        *_corrected_labels(record),
        *_test_set(data),
        *_stack_gain(data["comparison"]),
    ]


def _unfinished(models: Mapping[str, ModelFigures]) -> list[str]:
    lines = []
    for state, text in (("failed", "failed"), ("skipped", "was skipped, because a job that it depends on failed")):
        for name, model in models.items():
            if model["state"] == state:
                lines.append(f"{name} {text}{': ' + model['error'] if model['error'] else ''}")
    for name, model in models.items():
        if model["silent_s"] is not None:
            lines.append(f"{name} has reported nothing for {duration(model['silent_s'])}.")
    missing = [name for name, model in models.items() if model["state"] in ("running", "waiting", "stopped")]
    if missing:
        lines.append(f"The run is not finished: {', '.join(missing)} not done yet. All figures are preliminary.")
    return lines


def _contradictions(models: Mapping[str, ModelFigures]) -> list[str]:
    """Jobs whose recorded accuracy differs from that of their predictions, and losses that are not finite."""
    lines = []
    for name, model in models.items():
        result, val, test = model["result"], model.get("val"), model.get("test")
        for split, recorded, scores in (
            ("validation", result.get("val_accuracy"), val),
            ("test", result.get("test_accuracy"), test),
        ):
            actual = scores.get("accuracy") if scores else None
            if recorded is not None and actual is not None and abs(recorded - actual) > ROUNDING:
                lines.append(
                    f"{name} recorded a {split} accuracy of {recorded:.4f}, but its predictions give {actual:.4f}. "
                    "This report uses the predictions."
                )
        losses = [epoch.get("train_loss") for epoch in model["epochs"]]
        if any(loss is not None and loss != loss for loss in losses):
            lines.append(f"{name}: the training loss became NaN.")
    return lines


def _broken_transfers(transfers: Sequence[TransferRow]) -> list[str]:
    return [
        f"{row['job']} did not start from the weights that {row['from']} recorded: the digests differ."
        for row in transfers
        if row["matches"] is False
    ]


def _shared_validation(record: RunRecord, models: Mapping[str, ModelFigures]) -> list[str]:
    if STACK not in models or not models[STACK]["result"]:
        return []
    result = cast(StackResult, models[STACK]["result"])
    use, folds = result.get("leak_free"), result.get("out_of_fold")
    if folds and use:
        stack = record.config.get(STACK) or {}
        return [_out_of_fold(folds, use, grouped=stack.get("duplicates_file") is not None)]
    split: Mapping[str, Any] = dict(use) if use else record.config.get(STACK) or {}
    if split.get("on") or split.get("leak_free"):
        return [
            f"Leak-free: {split.get('selection_share') or 0:.0%} of the validation pages selected the best epochs, and "
            "the others trained the stack. Only the test pages played no part in either."
        ]
    return [
        "The same validation pages selected the best epochs and trained the stack, as in the recipe's source, so "
        "validation figures are optimistic, those of the stack most of all. Test figures are not affected."
    ]


def _out_of_fold(folds: OutOfFoldUse, use: ValidationUse, *, grouped: bool) -> str:
    """How a stack was fitted on training pages, and what the validation pages served for."""
    members = {"retrained": "trained on all of them", "average": "the averages of the models of the folds"}
    again = (
        "The validation pages selected the best epochs, and temperatures and thresholds were fitted on them, so "
        "validation figures are a little optimistic."
    )
    if use["on"]:
        again = (
            f"{use['selected_on']:,} validation pages selected the best epochs, and temperatures and thresholds were "
            f"fitted on the other {folds['calibrated_on']:,}."
        )
    return (
        f"The stack was fitted out of fold, on outputs for {counted(folds['fitted_on'], 'training page')}. Those of a "
        f"page come from the models of its fold, one of {folds['folds']}, which neither trained on it nor started from "
        "weights that did: no label is used for the outputs of its own page. The members are "
        f"{members[folds['members']]}. {'' if grouped else COPIES}{again} Test pages played no part."
    )


def _uncalibrated(record: RunRecord, models: Mapping[str, ModelFigures]) -> list[str]:
    if STACK not in models or not models[STACK]["result"] or policy_file(record.folder).exists():
        return []
    return [
        "An earlier version fitted this stack and stored no calibration: probabilities are shown as trained, and pages "
        "get no decision. Delete the stack's folder and run train-all again to get both; no other job is repeated."
    ]


def _few_to_certify(data: RunFigures) -> list[str]:
    confidence = data["confidence"]
    if confidence is None or confidence["thresholds"][0]["threshold"] is not None:
        return []
    return [
        f"No threshold of confidence could be certified for a precision of {confidence['precision']:.1%} on "
        f"{counted(confidence['val_pages'], 'validation page')}, so every page is for review. At least "
        f"{fewest_pages(confidence['precision'], confidence['risk'])} are needed, all of them right."
    ]


def _corrected_labels(record: RunRecord) -> list[str]:
    """Test figures on corrected labels are of other labels than those that everybody has."""
    kept = corrections_record(record.folder)
    counts = kept.get("splits", {}).get("test", {}) if kept else {}
    relabeled, excluded = counts.get("relabel", 0), counts.get("exclude", 0)
    if not relabeled and not excluded:
        return []
    return [
        f"Corrections give {counted(relabeled, 'test page')} another label and leave out "
        f"{counted(excluded, 'test page')}. The test figures are not comparable with those on the original labels."
    ]


def _mixed_pages(record: RunRecord) -> list[str]:
    """What the training accuracy of stages with mixed pages means; damaged configurations mix nothing."""
    stages = record.config.get("stages")
    mixed = [
        name
        for name, stage in (stages if isinstance(stages, Mapping) else {}).items()
        if isinstance(augment := stage.get("augment") if isinstance(stage, Mapping) else None, Mapping)
        and (augment.get("mixup") or augment.get("cutmix"))
    ]
    if not mixed:
        return []
    return [
        f"Training pages of {' and '.join(mixed)} were mixed with each other (mixup, cutmix). Their training accuracy "
        "counts a page by the share of the predicted class in its label, so it is lower than on pages as they are, and "
        "must not be compared with validation accuracy."
    ]


def _rejected_pages(data_set: Mapping[str, SplitSize]) -> list[str]:
    splits = [f"{sizes['rejected']} of {split}" for split, sizes in data_set.items() if sizes["rejected"]]
    return [f"The conversion rejected unreadable pages: {', '.join(splits)}."] if splits else []


def _test_set(data: RunFigures) -> list[str]:
    tested = {name: model["test"] for name, model in data["models"].items() if "test" in model}
    if not tested:
        return []
    lines, counts = [], {name: test["count"] for name, test in tested.items()}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        lines.append(f"The models were tested on different numbers of pages: {each}.")
    if (fewest := min(counts.values())) < FEW_PAGES:
        pages = counted(fewest, "test page")
        lines.append(f"With only {pages}, the intervals are wide and small differences are not significant.")
    *_, last = tested.values()
    rows = last.get("per_class", [])
    empty = [entry["name"] for entry, row in zip(data["classes"], rows, strict=False) if row["count"] == 0]
    if empty:
        lines.append(f"Classes without a test page: {', '.join(empty)}.")
    return lines


def _stack_gain(comparison: Comparison | None) -> list[str]:
    if comparison is None or comparison["difference"] > 0:
        return []
    how = "no better" if comparison["difference"] == 0 else "worse"
    return [f"The stack is {how} than {comparison['second']} on these test pages."]
