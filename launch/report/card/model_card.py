"""`MODEL_CARD.md` of an export: a Hugging Face metadata block and text, from the run's own record alone."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from data_tools.config import from_mapping
from launch.report.card.usage import how_to_run
from launch.report.confidence.schema import ConfidenceFigures
from launch.report.report import most_confused, student_lines
from launch.report.schema import RunFigures
from launch.run.record import FOLD_JOB, RunRecord
from trainer.config import STACK, ViewsConfig
from trainer.export.export import Exported
from trainer.scoring.schema import SplitFigures
from trainer.soft_targets.config import DISTILLED

LIBRARIES = {"saved_model": "keras", "onnx": "onnx", "litert": "tflite"}
"""Names of formats on the Hugging Face hub."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def model_card(record: RunRecord, data: RunFigures, exported: Exported) -> str:
    """The card; data: the figures of the run. What the run has not recorded is left out, or said to be unknown."""
    test = _tested(data, exported["model"])
    blocks = [
        f"---\n{yaml.safe_dump(metadata(data, exported), sort_keys=False, allow_unicode=True)}---",
        f"# {text(data['run'])}: {text(exported['model'])}",
        _what(record, exported),
        "## How to run",
        how_to_run(exported),
        "## Classes and figures by class",
        _classes(test, exported),
        "## Data",
        _data(data),
        "## Figures on the test pages",
        _figures(data, test, exported),
        "## Calibration and decisions",
        _calibration(data, exported),
        "## Known confusions",
        _confusions(data, exported),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(data, exported)),
        "## Check of this file",
        _check(exported),
    ]
    return "\n\n".join(blocks) + "\n"


def _tested(data: RunFigures, model: str) -> SplitFigures:
    """Figures of a model on the test pages; a count of 0 if the run has recorded none."""
    none: SplitFigures = {"count": 0}
    return data["models"][model].get("test", none) if model in data["models"] else none


def metadata(data: RunFigures, exported: Exported) -> dict[str, Any]:
    """The metadata block, as in huggingface.co/docs/hub/model-cards; a license is for the data's owner to state."""
    found: dict[str, Any] = {
        "library_name": LIBRARIES[exported["format"]],
        "pipeline_tag": "image-classification",
        "tags": ["document-image-classification", "regionstack", exported["format"]],
        "metrics": ["accuracy"],
    }
    metrics = [
        {"type": kind, "value": round(float(value), 4), "name": name}
        for kind, value, name in _metrics(data, exported["model"])
    ]
    if metrics:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"type": "private", "name": f"test pages of {data['run']}", "split": "test"},
            "metrics": metrics,
        }
        found["model-index"] = [{"name": f"{data['run']}-{exported['model']}", "results": [result]}]
    return found


def _metrics(data: RunFigures, model: str) -> Iterator[tuple[str, float, str]]:
    test = _tested(data, model)
    if "accuracy" in test:
        yield "accuracy", test["accuracy"], "test accuracy"
    confidence = data["confidence"]
    if confidence and model in confidence["models"]:
        yield "expected_calibration_error", confidence["models"][model]["calibration_error"][1], "ECE, 15 bins"


def text(value: str) -> str:
    """A name as Markdown text in one line, without any markup of its own."""
    return _SPECIAL.sub(r"\\\1", " ".join(value.split()))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "–" if not bounds else f"{bounds[0]:.1%} – {bounds[1]:.1%}"


def _what(record: RunRecord, exported: Exported) -> str:
    model: Any = record.config.get("model") or {}
    backbone = text(str(model.get("backbone", "an unrecorded backbone")))
    members = ", ".join(f"{text(row['name'])} (region {text(row['region'])})" for row in exported["members"])
    if exported["stack"]:
        built = f"a stack ({exported['stack']}) over the outputs of {len(exported['members'])} models: {members}"
    else:
        built = f"a single model: {members}"
    stack: Any = record.config.get("stack") or {}
    if stack.get("members") == "average" and not FOLD_JOB.fullmatch(exported["model"]):
        built += f"; {'each of them' if exported['stack'] else 'it'} is the mean of {stack.get('folds')} models"
    training: Any = record.config.get("training") or {}
    views = from_mapping(ViewsConfig, training.get("views") or {}, where="views").count
    seen = f" It looks at {views} shifted and scaled views of each page." if views > 1 else ""
    calibrated = "Its probabilities are calibrated." if exported["temperatures"] else "Its outputs are not calibrated."
    return (
        f"Classifies images of document pages into {len(exported['classes'])} classes. It is {built}; backbone "
        f"{backbone}.{seen} {calibrated} Made by regionstack from a training run of the same name."
    )


def _classes(test: SplitFigures, exported: Exported) -> str:
    rows = {row["class_id"]: row for row in test.get("per_class", [])}
    return table(
        ("column", "id", "class", "test pages", "recall", "precision"),
        (
            (
                str(column), str(entry["id"]), text(entry["name"]),
                *((str(row["count"]), _percent(row["recall"]), _percent(row["precision"])) if row else ("–",) * 3),
            )
            for column, entry in enumerate(exported["classes"])
            for row in [rows.get(entry["id"])]
        ),
    )  # fmt: skip


def _data(data: RunFigures) -> str:
    if not data["data_set"]:
        return "The run's shards were not readable when this card was written; the numbers of pages are unknown."
    rows = [(split, f"{sizes['pages']:,}", f"{sizes['rejected']:,}") for split, sizes in data["data_set"].items()]
    return table(("split", "pages", "rejected as unreadable"), rows)


def _figures(data: RunFigures, test: SplitFigures, exported: Exported) -> str:
    if "accuracy" not in test:
        return "The run has not recorded test predictions of this model."
    lines = [
        f"Accuracy **{_percent(test['accuracy'])}** on {test['count']:,} test pages "
        f"(95 % interval {_interval(test['accuracy_interval'])}, Wilson)."
    ]
    models = [
        (text(name), _percent(model["test"].get("accuracy")), _interval(model["test"].get("accuracy_interval")))
        for name, model in data["models"].items()
        if "test" in model
    ]
    lines += ["", table(("model", "test accuracy", "95 % interval"), models)]
    if data["distilled"] and exported["model"] == DISTILLED:
        lines += ["", *(f"{text(line)}." for line in student_lines(data["distilled"]))]
    comparison = data["comparison"]
    if comparison and exported["model"] == STACK:
        lines += ["", f"The stack is {100 * comparison['difference']:+.1f} points from {text(comparison['second'])} "
                      f"(McNemar mid-p {comparison['p_mid']:.2g})."]  # fmt: skip
    return "\n".join(lines)


def _calibration(data: RunFigures, exported: Exported) -> str:
    confidence, student = data["confidence"], data["distilled"]
    if student and exported["model"] == DISTILLED and exported["temperatures"]:
        own = student["calibrated"]
        return (
            f"Its temperature, {own['temperature']:.3f}, was fitted on validation pages and is part of this file. "
            f"Expected calibration error (15 bins) on the test pages: {_percent(own['calibration_error'])}."
        )
    if confidence is None or not exported["temperatures"]:
        return (
            "This run has no calibration; a probability of 90 % does not mean that nine of ten such answers are right."
        )
    rows = [
        (
            text(name),
            f"{row['temperature']:.3f}",
            _percent(row["calibration_error"][0]),
            _percent(row["calibration_error"][1]),
        )
        for name, row in confidence["models"].items()
        if name in exported["temperatures"]
    ]
    lines = [
        "Temperatures were fitted on validation pages and are part of this file. Expected calibration error (15 bins) "
        "on the test pages:",
        "",
        table(("model", "temperature", "as trained", "calibrated"), rows),
    ]
    if exported["model"] == STACK:
        lines += ["", _threshold(confidence)]
    return "\n".join(lines)


def _threshold(confidence: ConfidenceFigures) -> str:
    run = confidence["thresholds"][0]
    limit = "none could be certified" if run["threshold"] is None else f"{run['threshold']:.4f}"
    return (
        f"Confidence from which {_percent(confidence['precision'])} of the answers are right: {limit} "
        f"({run['test_accepted']:,} of {run['test_pages']:,} test pages, {_percent(run['precision'])} of them right, "
        f"95 % interval {_interval(run['interval'])}). This file does not decide; apply the threshold to its output."
    )


def _confusions(data: RunFigures, exported: Exported) -> str:
    pairs = most_confused(data, exported["model"]) if exported["model"] in data["models"] else []
    if not pairs:
        return "None on the test pages."
    names = [text(entry["name"]) for entry in data["classes"]]
    rows = [(names[pair.true], names[pair.predicted], str(pair.count), _percent(pair.share)) for pair in pairs]
    return table(("true class", "predicted class", "test pages", "share of the true class"), rows)


def _limits(data: RunFigures, exported: Exported) -> Iterator[str]:
    page = exported["page"]
    yield f"It knows {len(exported['classes'])} classes, and gives every page one of them, also a page of none."
    yield (
        f"It was trained on pages reduced to {page['width']} x {page['height']} pixels a region, "
        f"{'in color' if page['channels'] == 3 else 'in gray levels'}; other pages may be classified worse."
    )
    yield from (text(line) for line in data["warnings"])
    yield "The licenses of the training pages and of the start weights are not recorded; state them before publishing."


def _check(exported: Exported) -> str:
    checked = exported["checked"]
    speed = ", ".join(f"{rate:,.1f} on {threads} thread{'s' if threads != '1' else ''}"
                      for threads, rate in exported["pages_per_s"].items()) or "not measured"  # fmt: skip
    rows = [
        (text(name), f"{checked['top1_equal'][name]} of {checked['pages']}", f"{difference:.2g}")
        for name, difference in checked["largest_difference"].items()
    ]
    versions = ", ".join(f"{text(name)} {text(version)}" for name, version in exported["versions"].items())
    return "\n".join(
        (
            f"Compared with {checked['against']}; tolerance {checked['tolerance']:g}.",
            "",
            table(("output", "same class", "largest difference of a probability"), rows),
            "",
            f"Size: {exported['size_bytes'] / 2**20:,.1f} MiB. Pages per second on the CPU that exported it: {speed}.",
            f"Versions: {versions}.",
        )
    )
