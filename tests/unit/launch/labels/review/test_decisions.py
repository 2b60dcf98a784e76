"""Decisions and their tables: what is written is read again, by the review and by what applies it."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.labels.corrections import Correction, corrected, read_corrections, write_corrections
from data_tools.labels.table import ColumnsConfig, parse_table
from launch.labels.review.decisions import Decision, decision_of, read_decisions, write_decisions
from tests.unit.launch.labels.review.ranked import IDS, NAMES, sheet

NOW = "2026-11-26T18:00:00Z"


def decided(page_id: str, decision: Any, *, label: int | None = None, split: str = "train") -> Decision:
    given = None if split == "pool" else 2
    return Decision(id=page_id, split=split, decision=decision, label=label, given=given, by="anna", time=NOW)


def test_decisions_are_written_and_read_again(tmp_path: Path) -> None:
    pages = sheet(tmp_path / "corrections.csv")
    assert read_decisions(pages) == []
    made = [decided(IDS[0], "keep"), decided(IDS[1], "relabel", label=4), decided(IDS[2], "exclude")]
    write_decisions(pages, {one.key: one for one in made})
    unsure = decided(IDS[3], "unsure")
    write_decisions(pages, {unsure.key: unsure})
    assert sorted(read_decisions(pages), key=lambda one: one.id) == sorted([*made, unsure], key=lambda one: one.id)
    rows = read_corrections(pages.path).rows
    assert [(row.id, row.label, row.new_label, row.by, row.time, row.run, row.score) for row in rows] == [
        (IDS[0], "2", "keep", "anna", NOW, "runs/<my>", "0.9"),
        (IDS[1], "2", "4", "anna", NOW, "runs/<my>", "0.9"),
        (IDS[2], "2", "exclude", "anna", NOW, "runs/<my>", "0.9"),
    ]


def test_a_decision_replaces_the_one_before_and_can_be_taken_back(tmp_path: Path) -> None:
    pages = sheet(tmp_path / "corrections.csv")
    for decision, label in (("exclude", None), ("unsure", None), ("relabel", 0)):
        one = decided(IDS[0], decision, label=label)
        write_decisions(pages, {one.key: one})
        assert read_decisions(pages) == [one]
    write_decisions(pages, {("train", IDS[0]): None})
    assert read_decisions(pages) == []
    assert read_corrections(pages.path).rows == ()


def test_rows_about_other_pages_stay(tmp_path: Path) -> None:
    pages = sheet(tmp_path / "corrections.csv")
    other = Correction(id="=other.tif", split="val", label="0", new_label="letter", by="ben")
    write_corrections(pages.path, [other])
    one = decided(IDS[0], "exclude")
    write_decisions(pages, {one.key: one})
    assert read_corrections(pages.path).rows[0] == other
    assert read_decisions(pages) == [one]


def test_the_table_is_applied_to_labels(tmp_path: Path) -> None:
    pages = sheet(tmp_path / "corrections.csv")
    made = [decided(IDS[0], "keep"), decided(IDS[1], "relabel", label=4), decided(IDS[2], "exclude")]
    write_decisions(pages, {one.key: one for one in made})
    places = {page_id: place for place, page_id in enumerate(IDS)}
    found = corrected(
        read_corrections(pages.path), places, np.ones(4, np.int32), class_ids=[*NAMES], class_names=[*NAMES.values()]
    )
    assert found.labels.tolist() == [1, 2, 1, 1]
    assert found.kept.tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("verdict", "label", "new"), [("keep", None, "4"), ("relabel", 2, "keep"), ("relabel", 0, "0")]
)
def test_a_page_that_a_correction_changed_before(verdict: str, label: int | None, new: str, tmp_path: Path) -> None:
    pages = sheet(tmp_path / "corrections.csv")
    page = replace(pages.pages["train", IDS[0]], label=4)
    pages = replace(pages, pages={("train", IDS[0]): page})
    one = replace(decided(IDS[0], verdict, label=label), given=4)
    write_decisions(pages, {one.key: one})
    (row,) = read_corrections(pages.path).rows
    assert (row.label, row.new_label) == ("2", new)
    assert read_decisions(pages) == [one]


def test_labels_of_new_pages(tmp_path: Path) -> None:
    pages = sheet(tmp_path / "pool_labels.csv", pool=True)
    made = [decided(IDS[1], "relabel", label=4, split="pool"), decided(IDS[0], "exclude", split="pool"),
            decided(IDS[3], "relabel", label=2, split="pool"), decided(IDS[2], "unsure", split="pool")]  # fmt: skip
    write_decisions(pages, {one.key: one for one in made})
    assert sorted(read_decisions(pages), key=lambda one: one.id) == sorted(made, key=lambda one: one.id)
    text = pages.path.read_text()
    for columns, labels in ((None, ["4", "2"]), (ColumnsConfig(path="path", label="name"), [NAMES[4], NAMES[2]])):
        rows = parse_table(text, pages.path, columns).rows
        assert [row.label for row in rows] == labels
        assert [row.path.removeprefix("./") for row in rows] == [IDS[1], IDS[3]]
    assert not [cell for row in csv.reader(text.splitlines()) for cell in row if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"id": IDS[0]},
        {"id": "other.tif", "split": "train", "decision": "keep"},
        {"id": IDS[0], "split": "test", "decision": "keep"},
        {"id": IDS[0], "split": "train", "decision": "delete"},
        {"id": IDS[0], "split": "train", "decision": ["keep"]},
        {"id": IDS[0], "split": "train", "decision": "relabel"},
        {"id": IDS[0], "split": "train", "decision": "relabel", "label": 1},
        {"id": IDS[0], "split": "train", "decision": "relabel", "label": True},
        {"id": IDS[0], "split": "train", "decision": "relabel", "label": "4"},
    ],
)
def test_what_is_no_decision(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        decision_of(value, sheet(tmp_path / "c.csv"), now=NOW)


def test_a_page_without_a_label_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        decision_of({"id": IDS[0], "split": "pool", "decision": "keep"}, sheet(tmp_path / "c.csv", pool=True), now=NOW)


def test_what_a_request_says_about_itself_is_bounded(tmp_path: Path) -> None:
    value = {"id": IDS[0], "split": "train", "decision": "keep", "by": "a\n" * 500, "time": "yesterday"}
    _, decision = decision_of(value, sheet(tmp_path / "c.csv"), now=NOW)
    assert decision is not None
    assert decision.time == NOW
    assert len(decision.by) <= 100
    assert "\n" not in decision.by


@pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"id,split\n1,train\n", b'id,split,label,new_label\n"a', b""])
def test_a_damaged_table_is_not_replaced(content: bytes, tmp_path: Path) -> None:
    pages = sheet(tmp_path / "corrections.csv")
    pages.path.write_bytes(content)
    one = decided(IDS[0], "exclude")
    with pytest.raises(UserError, match=r"corrections\.csv"):
        write_decisions(pages, {one.key: one})
    assert pages.path.read_bytes() == content


@pytest.mark.parametrize("header", ["id,split,label,new_label,note", "id;split;label;new_label;note"])
def test_a_column_that_a_person_added_is_not_lost(header: str, tmp_path: Path) -> None:
    pages = sheet(tmp_path / "corrections.csv")
    separator = ";" if ";" in header else ","
    content = f"{header}\n{separator.join(['other.tif', 'val', '0', '4', 'ask Ben'])}\n"
    pages.path.write_text(content)
    one = decided(IDS[0], "exclude")
    with pytest.raises(UserError, match="note"):
        write_decisions(pages, {one.key: one})
    assert pages.path.read_text() == content
