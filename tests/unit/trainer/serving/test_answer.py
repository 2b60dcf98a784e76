"""Answers as records, CSV rows and JSON objects."""

import csv
import io
import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from data_tools.plain_text import printable
from trainer.serving.answer import (
    Place,
    answer_of,
    as_json,
    csv_columns,
    csv_row,
    distinct_names,
    json_schema,
    rejected,
)

NAMES = ["letter", "form", "memo"]
OUTPUTS = {
    "stack": np.array([0.1, 0.2, 0.7], np.float32),
    "holistic": np.array([0.6, 0.3, 0.1], np.float32),
}


def test_the_stack_gives_the_class_and_the_members_keep_theirs() -> None:
    answer = answer_of(Place("a.tif"), OUTPUTS, NAMES, decision="review")
    assert answer.best is not None
    assert answer.runner_up is not None
    assert (answer.best.name, answer.runner_up.name, answer.decision) == ("memo", "form", "review")
    assert math.isclose(answer.best.probability, 0.7, abs_tol=1e-6)
    assert answer.members["holistic"].name == "letter"
    assert list(answer.members) == ["holistic"]
    assert list(answer.probabilities) == ["holistic", "stack"]


def test_equal_probabilities_rank_in_class_order_and_a_single_class_has_no_runner_up() -> None:
    even = answer_of(Place("a.tif"), {"stack": np.full(3, 1 / 3, np.float32)}, NAMES)
    assert [vote.name for vote in (even.best, even.runner_up) if vote] == ["letter", "form"]
    assert answer_of(Place("a.tif"), {"stack": np.ones(1, np.float32)}, ["letter"]).runner_up is None


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        answer_of(Place("a.tif"), OUTPUTS, NAMES),
        answer_of(Place("a.pdf", None), OUTPUTS, NAMES, decision="accepted"),
        rejected(Place("b.tif", None), "no such file"),
    ],
)
def test_json_fits_the_schema(answer: object, probabilities: bool) -> None:
    value = as_json(answer, probabilities=probabilities)  # type: ignore[arg-type]
    jsonschema.validate(json.loads(json.dumps(value, allow_nan=False)), json_schema())
    assert ("probabilities" in value) == probabilities


def test_the_schema_refuses_another_decision_and_a_missing_field() -> None:
    value = as_json(rejected(Place("b.tif"), "empty file"))
    for wrong in (value | {"decision": "maybe"}, {k: v for k, v in value.items() if k != "error"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json_schema())


@pytest.mark.parametrize("probabilities", [False, True])
def test_rows_have_a_cell_for_each_column(probabilities: bool) -> None:
    columns = csv_columns(["holistic"], NAMES, probabilities=probabilities)
    answers = [answer_of(Place("a.tif", 3), OUTPUTS, NAMES), rejected(Place("b.tif", None), "no such file")]
    rows = [
        dict(zip(columns, csv_row(a, ["holistic"], NAMES, probabilities=probabilities), strict=True)) for a in answers
    ]
    assert rows[0]["class"] == "memo"
    assert rows[0]["holistic"] == "letter"
    assert (rows[0]["kind"], rows[0]["page"], rows[0]["error"]) == ("page", "3", "")
    assert (rows[1]["kind"], rows[1]["page"], rows[1]["class"]) == ("document", "", "")
    assert rows[1]["error"] == "no such file"
    if probabilities:
        assert sum(float(rows[0][f"stack:{name}"]) for name in NAMES) == pytest.approx(1)
        assert rows[1]["holistic:memo"] == ""


@pytest.mark.parametrize("name", ["=1+1.tif", "+a.tif", "-a.tif", "@a.tif", "\ta.tif", "\r=1.tif"])
def test_no_cell_is_a_formula(name: str) -> None:
    outputs = {"stack": np.array([0.9, 0.1], np.float32), "holistic": np.array([0.1, 0.9], np.float32)}
    classes = [f"{name[0]}cmd|calc", "+form"]
    for cell in csv_row(answer_of(Place(name), outputs, classes), ["holistic"], classes):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_relative_name_stays_openable_in_csv_and_unchanged_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=a.tif").write_bytes(b"page")
    answer = answer_of(Place("=a.tif"), OUTPUTS, NAMES)
    assert Path(csv_row(answer, ["holistic"], NAMES)[0]).read_bytes() == b"page"
    assert as_json(answer)["source"] == "=a.tif"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich, 1.tif", "Zürich, 1.tif"),
        ("two\nlines.tif", r"two\nlines.tif"),
        ("caf\udce9.tif", r"caf\xe9.tif"),
        ("\ud800.tif", r"\ud800.tif"),
        ("a\u2028b.tif", r"a\u2028b.tif"),
        ("a\u202efdp.tif", r"a\u202efdp.tif"),
        ("at 3.04.05\u202fPM.png", "at 3.04.05\u202fPM.png"),
    ],
)
def test_names_become_one_line_of_utf8(text: str, shown: str) -> None:
    assert printable(text) == shown
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerow(csv_row(rejected(Place(text), "x"), [], []))
    assert file.getvalue().encode().count(b"\n") == 1


def test_classes_with_one_name_are_told_apart() -> None:
    assert distinct_names([3, 5, 9], ["memo", "memo", "form"]) == ["memo (3)", "memo (5)", "form"]


def test_a_single_model_answers_without_members() -> None:
    row = np.array([0.2, 0.8], np.float32)
    answer = answer_of(Place("a.tif"), {"distilled": row}, NAMES[:2])
    assert answer.best is not None
    assert (answer.best.name, dict(answer.members), list(answer.probabilities)) == (NAMES[1], {}, ["distilled"])
    columns = csv_columns([], NAMES[:2], probabilities=True, model="distilled")
    cells = csv_row(answer, [], NAMES[:2], probabilities=True, model="distilled")
    assert dict(zip(columns, cells, strict=True))[f"distilled:{NAMES[1]}"] == "0.800000"
