"""What a survey makes of measures: candidates, groups, samples, files; and the words on its page."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_tools.documents.data_set import DataSet, LabelWarning
from data_tools.documents.regions import HOLISTIC, PRESETS, WHOLE_PAGE
from data_tools.labels.label import Label
from data_tools.survey.fingerprint import hash_text
from data_tools.survey.leaks import Entry, Group, Link
from data_tools.survey.measure import PageMeasure
from data_tools.survey.results import results, write_files
from data_tools.survey.survey import Survey, candidates, grouped, sampled
from launch.report.survey.page import notes
from launch.report.survey.samples import frames

LABELS = {
    "train": [Label("a", 3), Label("b", 3), Label("c", 7), Label("white 1", 7)],
    "val": [Label("d", 3), Label("white 2", 7)],
    "test": [Label("e", 3), Label("f", 7), Label("b", 3), Label("bad", 7)],
}
LABEL_WARNING = LabelWarning("in_two_splits", "test", "b", "also in train; used in both")
DATA_SET = DataSet(
    labels=LABELS, class_ids=(3, 7), class_names=("memo", "<b>form</b>"), label_warnings=(LABEL_WARNING,)
)
ENTRIES = [Entry(split, *label) for split, labels in LABELS.items() for label in labels]


def measured(page_id: str, digest: str, *, kind: str = "page", first_word: int = 0) -> PageMeasure:
    value = hash_text(np.array([first_word, 0, 0, 0], np.uint64))
    return PageMeasure(page_id, kind, width=300, height=400, ink=0.1, digest=digest, hash=value)


MEASURES = {
    "a": measured("a", "1"),
    "b": measured("b", "2", first_word=2**64 - 1),
    "c": measured("c", "3", first_word=7),
    "white 1": measured("white 1", "w", kind="blank"),
    "d": measured("d", "1"),
    "white 2": measured("white 2", "w", kind="blank"),
    "e": measured("e", "4", first_word=3),
    "f": measured("f", "5", first_word=2**63 + 1),
    "bad": PageMeasure("bad", "unreadable", reason="empty file"),
}


def survey_of(measures: dict[str, PageMeasure] = MEASURES, *, sample: int | None = None) -> Survey:
    links = [Link("a", "e", 2, 0.97)]
    groups = grouped([entry for entry in ENTRIES if entry.page_id in measures], measures, links)
    return Survey("pages", DATA_SET, measures, groups, 6, 6, sample, 1, 2, seconds=2.0, measuring_seconds=1.5)


def test_candidates_are_pages_once_and_neither_blank_nor_unreadable() -> None:
    named = list(MEASURES)
    pairs = candidates(list(MEASURES.values()))
    found = {tuple(named[place] for place in pair) for pair in pairs.pages.tolist()}
    # d is a copy of a, and b is 64 bits from a: near enough to be looked at.
    assert ("a", "c") in found and ("a", "b") in found
    assert not any({"d", "white 1", "white 2", "bad"} & set(pair) for pair in found)


def test_groups_join_paths_pixels_and_links() -> None:
    groups = survey_of().groups
    assert [sorted((entry.split, entry.page_id) for entry in group.entries) for group in groups] == [
        [("test", "e"), ("train", "a"), ("val", "d")],
        [("test", "b"), ("train", "b")],
        [("train", "white 1"), ("val", "white 2")],
    ]
    assert [(group.kind, group.content) for group in groups] == [
        ("near", "page"),
        ("exact", "page"),
        ("exact", "blank"),
    ]
    assert survey_of().leaked == ["b", "e"]


@pytest.mark.parametrize(("sample", "count"), [(None, 9), (1, 1), (4, 4), (9, 9), (99, 9)])
def test_a_sample_is_of_so_many_pages_in_label_order(sample: int | None, count: int) -> None:
    chosen = sampled(DATA_SET, sample, seed=1)
    assert len(chosen) == count
    assert chosen == [page_id for page_id in MEASURES if page_id in chosen]
    assert chosen == sampled(DATA_SET, sample, seed=1)


def test_a_larger_sample_holds_the_smaller_one() -> None:
    assert set(sampled(DATA_SET, 3, seed=1)) < set(sampled(DATA_SET, 6, seed=1))


def test_files(tmp_path: Path) -> None:
    write_files(survey_of(), tmp_path)
    assert (tmp_path / "leaked.txt").read_text() == "b\ne\n"
    groups = [json.loads(line) for line in (tmp_path / "duplicates.jsonl").read_text().splitlines()]
    assert groups == [["a", "d", "e"]], "neither white pages nor a page that is in two splits"
    lines = [json.loads(line) for line in (tmp_path / "pages.jsonl").read_text().splitlines()]
    assert [line["page"] for line in lines] == list(MEASURES)
    assert lines[1]["splits"] == {"train": 3, "test": 3}
    assert lines[-1] == {"page": "bad", "splits": {"test": 7}, "kind": "unreadable", "reason": "empty file"}
    data = json.loads((tmp_path / "survey.json").read_text())
    assert data["entries"] == {"train": 4, "val": 2, "test": 4}
    assert data["complete"] is True
    assert data["kinds"]["test"] == {"page": 3, "blank": 0, "black": 0, "unreadable": 1}
    assert data["duplicates"]["leaked"] == 2
    assert data["sizes"]["val"]["aspect"]["0.5"] == 0.75
    assert data["classes"][1] == {"id": 7, "name": "<b>form</b>", "train": 2, "val": 1, "test": 2}


def test_notes_of_an_odd_data_set() -> None:
    lines = notes(results(survey_of()))
    assert [line.split(" ", 1)[0] for line in lines] == ["2", "1", "2", "1"]
    assert "leaked.txt" in lines[0] and "unreadable page" in lines[1]


def test_a_sample_is_stated_first() -> None:
    few = {page_id: MEASURES[page_id] for page_id in ("a", "d", "c", "e")}
    data = results(survey_of(few, sample=4))
    assert data["complete"] is False
    assert "4 of 10 pages" in notes(data)[0]


def test_a_data_set_without_problems_has_no_notes() -> None:
    data = results(survey_of())
    data["duplicates"] |= {"leaked": 0, "label_conflicts": 0}
    data["kinds"] = {split: {"page": 3, "blank": 0, "black": 0, "unreadable": 0} for split in data["kinds"]}
    detail = "pages/train: 3 files are not pages (2 .txt, 1 .db): a/x.txt"
    data["label_warnings"] = [{"kind": "passed_over", "split": "train", "page": None, "detail": detail, "count": 3}]
    assert notes(data) == [f"{detail}."]
    data["label_warnings"] = []
    assert notes(data) == []


def test_frames_leave_out_the_whole_page() -> None:
    shown = frames({HOLISTIC: WHOLE_PAGE} | PRESETS["halves"])
    assert [frame.name for frame in shown] == ["top", "bottom", "left", "right"]
    assert len({frame.color for frame in shown}) == 4


def test_a_group_of_one_page_in_two_splits_is_exact() -> None:
    group = Group((Entry("train", "b", 3), Entry("test", "b", 3)), (), "page")
    assert group.kind == "exact" and not group.conflicting
