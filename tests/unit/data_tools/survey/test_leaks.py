"""Groups over the splits: who leaks, what the tables count, whose labels disagree."""

import pytest

from data_tools.survey.leaks import Entry, Group, Link, as_data, crossings, leaked, summary

LINK = Link("a", "b", 12, 0.9)


def group(*entries: tuple[str, str, int], near: bool = False, content: str = "page") -> Group:
    return Group(tuple(Entry(*entry) for entry in entries), (LINK,) if near else (), content)


LEAKS = [
    ("nothing", [], []),
    ("within train", [group(("train", "a", 1), ("train", "b", 1))], []),
    ("val and test", [group(("val", "a", 1), ("test", "b", 1))], []),
    ("train and test", [group(("train", "a", 1), ("test", "b", 1))], ["b"]),
    ("near counts as well", [group(("train", "a", 1), ("test", "b", 1), near=True)], ["b"]),
    ("the same path in both", [group(("train", "a", 1), ("test", "a", 1))], ["a"]),
    ("two of test, sorted", [group(("test", "c", 1), ("train", "a", 1), ("test", "b", 1))], ["b", "c"]),
    (
        "two groups",
        [group(("test", "d", 1), ("train", "a", 1)), group(("train", "e", 1), ("test", "c", 1))],
        ["c", "d"],
    ),
]


@pytest.mark.parametrize(("what", "groups", "expected"), LEAKS)
def test_leaked(what: str, groups: list[Group], expected: list[str]) -> None:
    assert leaked(groups) == expected


def test_crossings_count_entries_with_a_duplicate_elsewhere() -> None:
    counts = crossings(
        [
            group(("train", "a", 1), ("train", "b", 1), ("test", "c", 1)),
            group(("val", "d", 1), ("test", "e", 1)),
        ]
    )
    assert counts == {
        "train": {"train": 2, "val": 0, "test": 2},
        "val": {"train": 0, "val": 0, "test": 1},
        # c alone in test has none there.
        "test": {"train": 1, "val": 1, "test": 0},
    }


def test_summary() -> None:
    groups = [
        group(("train", "a", 1), ("test", "b", 2), near=True),
        group(("train", "c", 1), ("train", "d", 1)),
        group(("train", "e", 1), ("train", "f", 1), ("train", "g", 1), content="blank"),
    ]
    found = summary(groups)
    assert found["groups"] == {"exact": 2, "near": 1}
    assert found["entries"] == {"exact": 5, "near": 2}
    assert found["blank_or_black_groups"] == 1
    assert found["label_conflicts"] == 1


def test_a_group_as_data() -> None:
    assert as_data(group(("train", "a", 1), ("test", "b", 2), near=True), {1: "memo", 2: "letter"}) == {
        "kind": "near",
        "content": "page",
        "label_conflict": True,
        "entries": [
            {"split": "train", "page": "a", "class": "memo"},
            {"split": "test", "page": "b", "class": "letter"},
        ],
        "links": [{"first": "a", "second": "b", "bits": 12, "agreement": 0.9}],
    }
