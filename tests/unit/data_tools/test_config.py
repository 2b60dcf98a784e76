"""Configuration from plain data: strict about keys and types, and exact about what it names."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from data_tools.config import differences, from_mapping, merge, override, read_yaml, to_mapping
from data_tools.errors import UserError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    kind: Literal["sgd", "adam"] = "sgd"


@dataclass(frozen=True)
class Outer:
    epochs: int
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[int, ...] = ()
    box: tuple[float, float] | None = None
    named: dict[str, Inner] = field(default_factory=dict)
    regions: str | dict[str, int] = "halves"
    on: bool = False
    workers: Literal["auto"] | dict[str, int] | None = None


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"epochs": 3}, Outer(3)),
        ({"epochs": 3, "inner": {"rate": 1}}, Outer(3, Inner(1.0))),  # an integer where a float is expected
        ({"epochs": 3, "inner": {"rate": "1e-4"}}, Outer(3, Inner(1e-4))),  # how YAML 1.1 reads 1e-4
        ({"epochs": 3, "sizes": [4, 5], "box": [0, 0.5]}, Outer(3, sizes=(4, 5), box=(0.0, 0.5))),
        ({"epochs": 3, "box": None}, Outer(3)),
        ({"epochs": 3, "named": {"a": {"kind": "adam"}}}, Outer(3, named={"a": Inner(kind="adam")})),
        ({"epochs": 3, "regions": {"top": 1}}, Outer(3, regions={"top": 1})),
    ],
)
def test_mappings_that_fit(mapping: dict[str, Any], expected: Outer) -> None:
    assert from_mapping(Outer, mapping, where="outer") == expected


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({}, ["outer.epochs", "no default"]),
        ({"epochs": 3, "epoch": 4}, ["outer.epoch:", "did you mean epochs?"]),
        ({"epochs": 3, "zzz": 4}, ["outer.zzz", "known here"]),
        ({"epochs": "three"}, ["outer.epochs", "an integer"]),
        ({"epochs": True}, ["outer.epochs", "an integer"]),  # bool is an int in Python, not in a configuration
        ({"epochs": 1.5}, ["outer.epochs", "an integer"]),
        ({"epochs": 3, "inner": {"rat": 1}}, ["outer.inner.rat", "rate"]),
        ({"epochs": 3, "inner": {"kind": "rmsprop"}}, ["outer.inner.kind", "sgd, adam"]),
        ({"epochs": 3, "inner": 4}, ["outer.inner", "mapping"]),
        # Of several types, the one that a value is meant for says what is wrong with it.
        ({"epochs": 3, "workers": {"a": "two"}}, ["outer.workers.a: expected an integer, found 'two'"]),
        ({"epochs": 3, "regions": {"a": 1.5}}, ["outer.regions.a: expected an integer, found 1.5"]),
        ({"epochs": 3, "workers": 3}, ["outer.workers: expected auto or a mapping, found 3"]),
        ({"epochs": 3, "sizes": 4}, ["outer.sizes", "list"]),
        ({"epochs": 3, "sizes": ["x"]}, ["outer.sizes[0]"]),
        ({"epochs": 3, "box": [1.0]}, ["outer.box", "list of 2"]),
        ({"epochs": 3, "named": {"a": {"rate": "x"}}}, ["outer.named.a.rate", "number"]),
        ({"epochs": 3, "on": "yes"}, ["outer.on", "true or false"]),
        ({"epochs": 3, "inner": {"rate": float("nan")}}, ["outer.inner.rate", "a finite number, found nan"]),
        ({"epochs": 3, "inner": {"rate": ".inf"}}, ["outer.inner.rate", "a number"]),  # text, as YAML has quoted it
        ({"epochs": 3, "inner": {"rate": "inf"}}, ["outer.inner.rate", "a finite number, found inf"]),
        ({"epochs": 3, "box": [0, float("-inf")]}, ["outer.box[1]", "a finite number, found -inf"]),
    ],
)
def test_mappings_that_do_not_fit(mapping: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        from_mapping(Outer, mapping, where="outer")
    for word in words:
        assert word in str(caught.value)


def test_there_and_back() -> None:
    value = Outer(3, Inner(0.5, "adam"), (1, 2), (0.0, 1.0), {"a": Inner()}, {"top": 1}, True)
    assert from_mapping(Outer, to_mapping(value), where="outer") == value


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        (["a.b=2"], {"a": {"b": 2, "c": 1}}),
        (["a.d.e=[1, 2]"], {"a": {"b": 1, "c": 1, "d": {"e": [1, 2]}}}),
        (["a=null"], {"a": None}),
        (["x=a=b"], {"a": {"b": 1, "c": 1}, "x": "a=b"}),  # only the first = counts
        (["a.b=2", "a.b=3"], {"a": {"b": 3, "c": 1}}),  # the last one wins
    ],
)
def test_override(assignments: list[str], expected: dict[str, Any]) -> None:
    base = {"a": {"b": 1, "c": 1}}
    assert override(base, assignments) == expected
    assert base == {"a": {"b": 1, "c": 1}}, "the original must stay as it is"


@pytest.mark.parametrize("assignment", ["a.b", "=1", "a.b.c=1", "a.b=[1"])
def test_override_that_cannot_be_read(assignment: str) -> None:
    with pytest.raises(UserError, match="--set"):
        override({"a": {"b": 1}}, [assignment])


def test_merge_lays_mappings_on_each_other_and_replaces_the_rest() -> None:
    assert merge({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2]}, "d": {"e": 1}}) == {
        "a": {"b": 1, "c": [2]},
        "d": {"e": 1},
    }


def test_differences_name_every_field() -> None:
    old = {"a": {"b": 1, "c": 2}, "d": 3}
    new = {"a": {"b": 1, "c": 4}, "e": 3}
    assert differences(old, new) == ["a.c: 2 -> 4", "d: 3 -> (absent)", "e: (absent) -> 3"]
    assert differences(old, old) == []


@pytest.mark.parametrize(
    ("content", "word"),
    [("a: [", "not valid YAML"), ("- a", "mapping"), ("", "mapping"), ("a: !!python/name:os.system", "YAML")],
)
def test_yaml_that_cannot_be_used(tmp_path: Path, content: str, word: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=word) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value), "an error is one line"


def test_yaml_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such configuration file"):
        read_yaml(tmp_path / "none.yaml")
