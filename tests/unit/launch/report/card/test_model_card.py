"""The model card: its metadata block, its tables, and its figures, which are those of the report."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.report.card.model_card import model_card, text
from launch.report.card.usage import how_to_run
from launch.report.figures import figures
from launch.run.record import read_run
from tests.unit.launch.run_folder import NAMES, START, RunSpec, build
from trainer.export.export import Exported
from trainer.scoring.decision import policy_file

HOSTILE = ("a|b", "two\nlines", "`code` *bold* [x](y)", "<script>", "---", "key: [value", "# head")


def exported(model: str = "stack", form: str = "saved_model", *, names: tuple[str, ...] = NAMES[:4]) -> Exported:
    """What an export of the synthetic run describes."""
    members = [("holistic_256", "holistic"), ("left", "left")] if model == "stack" else [(model, "left")]
    outputs = [name for name, _ in members] + (["stack"] if model == "stack" else [])
    return {
        "format": form, "file": "file", "load": "load", "run": "runs/demo", "model": model,
        "members": [{"name": name, "region": region} for name, region in members],
        "inputs": {region: [None, 256, 256, 1] for _, region in members},
        "regions": {region: [0, 0, 1, 1] for _, region in members},
        "page": {"height": 256, "width": 256, "channels": 1, "dtype": "uint8"},
        "classes": [{"id": number, "name": name} for number, name in enumerate(names)],
        "temperatures": dict.fromkeys(outputs, 1.5), "stack": "mlp" if model == "stack" else None,
        "checked": {"against": "the recorded test predictions", "pages": 400, "tolerance": 1e-4,
                    "top1_equal": dict.fromkeys(outputs, 400), "largest_difference": dict.fromkeys(outputs, 1e-6)},
        "size_bytes": 3 << 20, "pages_per_s": {"1": 10.0, "2": 19.0}, "versions": {"tensorflow": "2.21.0"},
    }  # type: ignore[typeddict-item]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("made") / "run", RunSpec(classes=4, pages=400))


def card_of(run: Path, about: Exported, *, names: tuple[str, ...] = NAMES[:4]) -> tuple[dict[str, Any], str, Any]:
    """The card's metadata and text, and the figures that it was made from."""
    record = read_run(run)
    data = figures(record, class_names=dict(enumerate(names)), now=START + 600)
    card = model_card(record, data, about)
    _, block, body = card.split("---\n", 2)
    return dict(yaml.safe_load(block)), body, data


def tables_of(body: str) -> list[list[list[str]]]:
    """The cells of each Markdown table; fails on a row of another width."""
    tables = []
    for block in re.findall(r"(?:^\|.*\|\n)+", body, re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in block.strip().split("\n")]
        assert len({len(row) for row in rows}) == 1, block
        tables.append([[cell.strip() for cell in row] for row in rows])
    return tables


def test_the_figures_are_those_of_the_report(made: Path) -> None:
    block, body, data = card_of(made, exported())
    test, confidence = data["models"]["stack"]["test"], data["confidence"]
    assert f"{test['accuracy']:.1%}" in body
    assert all(f"{bound:.1%}" in body for bound in test["accuracy_interval"])
    assert f"{confidence['thresholds'][0]['threshold']:.4f}" in body
    (result,) = block["model-index"][0]["results"]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {
        "accuracy": round(test["accuracy"], 4),
        "expected_calibration_error": round(confidence["models"]["stack"]["calibration_error"][1], 4),
    }
    assert block["pipeline_tag"] == "image-classification" and block["library_name"] == "keras"
    assert "license" not in block
    confusions = next(table for table in tables_of(body) if table[0][0] == "true class")
    assert 0 < len(confusions) - 2 <= 8
    assert all(line in body for line in map(text, data["warnings"]))


@pytest.mark.parametrize("model", ["left", "holistic_128"])
def test_a_single_model_has_its_own_figures(made: Path, model: str) -> None:
    block, body, data = card_of(made, exported(model, "onnx"))
    accuracy = data["models"][model]["test"]["accuracy"]
    assert f"Accuracy **{accuracy:.1%}**" in body
    assert block["model-index"][0]["results"][0]["metrics"][0]["value"] == round(accuracy, 4)
    assert block["library_name"] == "onnx"


def test_it_says_how_many_views_the_models_average_over(made: Path) -> None:
    record = read_run(made)
    data = figures(record, class_names=dict(enumerate(NAMES[:4])), now=START + 600)
    assert "views" not in model_card(record, data, exported())
    training = {"views": {"shift": 0.02, "scale": 0.05}}
    card = model_card(replace(record, config={**record.config, "training": training}), data, exported())
    assert "7 shifted and scaled views" in card


def test_names_cannot_change_the_structure(tmp_path: Path) -> None:
    run = build(tmp_path / "a: [run", RunSpec(classes=7, pages=70, names=HOSTILE))
    block, body, _ = card_of(run, exported(names=HOSTILE), names=HOSTILE)
    assert block["model-index"][0]["name"] == "a: [run-stack"
    rows = next(table for table in tables_of(body) if table[0][0] == "column")
    assert [row[2] for row in rows[2:]] == [text(name) for name in HOSTILE]
    assert "<script>" not in body and "\n# head" not in body


def test_a_run_without_calibration_and_test_outputs(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(classes=4, pages=40, done=("holistic_128",)))
    about = exported("left")
    about["temperatures"], about["pages_per_s"] = {}, {}
    block, body, _ = card_of(run, about)
    assert "model-index" not in block
    assert "not calibrated" in body and "not measured" in body
    assert not policy_file(run).exists()


@pytest.mark.parametrize("form", ["saved_model", "onnx", "litert"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_code_in_it_is_python(form: str, channels: int) -> None:
    about = exported("left", form)
    about["page"]["channels"] = channels
    shown = how_to_run(about)
    blocks = re.findall(r"```python\n(.*?)```", shown, re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "card", "exec")
    assert '"left"' in shown


def test_the_description_is_plain_data(made: Path) -> None:
    assert json.loads(json.dumps(exported())) == exported()


def test_averages_of_folds_are_named(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(classes=4, pages=40))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["stack"] |= {"folds": 5, "members": "average"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert "each of them is the mean of 5 models" in card_of(run, exported())[1]
    assert "it is the mean of 5 models" in card_of(run, exported("left"))[1]
    assert "mean of" not in card_of(run, exported("left_fold2"))[1]
