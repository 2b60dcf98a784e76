"""The division of a list: tables, and properties of any list."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.errors import UserError
from data_tools.labels.classes.stratified import Member, SplitConfig, divide, group_of, joined, split_list
from data_tools.labels.label import Label

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def singles(counts: dict[int, int]) -> list[Member]:
    pages = [(f"c{class_id}/{n}.tif", class_id) for class_id, count in counts.items() for n in range(count)]
    return [Member(page, class_id, page) for page, class_id in pages]


def by_class(members: list[Member], places: dict[str, str]) -> dict[int, tuple[int, ...]]:
    counts = Counter((member.class_id, places[member.page_id]) for member in members)
    classes = sorted({member.class_id for member in members})
    return {c: tuple(counts[c, split] for split in ("train", "val", "test")) for c in classes}


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (1, (1, 0, 0)),
        (2, (2, 0, 0)),
        (3, (1, 1, 1)),  # From three pages on, each split has one.
        (5, (3, 1, 1)),
        (10, (8, 1, 1)),
        (100, (80, 10, 10)),
        (1000, (800, 100, 100)),
    ],
)
def test_shares_of_a_class(pages: int, expected: tuple[int, ...]) -> None:
    members = singles({7: pages, 8: 50})
    assert by_class(members, split_list(members, SHARES, seed=1)) == {7: expected, 8: (40, 5, 5)}


def test_two_splits_alone() -> None:
    members = singles({0: 20, 1: 10})
    places = split_list(members, {"train": 0.8, "val": 0.2}, seed=1)
    assert by_class(members, places) == {0: (16, 4, 0), 1: (8, 2, 0)}


def test_another_seed_gives_another_split() -> None:
    members = singles({0: 100})
    assert split_list(members, SHARES, seed=1) != split_list(members, SHARES, seed=2)


def test_a_page_keeps_its_split_when_another_class_grows() -> None:
    few, many = singles({0: 40, 1: 40}), singles({0: 40, 1: 90})
    first, second = split_list(few, SHARES, seed=1), split_list(many, SHARES, seed=1)
    assert all(second[member.page_id] == first[member.page_id] for member in few if member.class_id == 0)


@given(
    counts=st.dictionaries(st.integers(-3, 9), st.integers(1, 60), min_size=1, max_size=5),
    val=st.sampled_from([0.05, 0.1, 0.25, 0.4]),
    test=st.sampled_from([0.05, 0.1, 0.3]),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_every_class_gets_its_share(counts: dict[int, int], val: float, test: float, seed: int) -> None:
    members = singles(counts)
    shares = {"train": 1 - val - test, "val": val, "test": test}
    places = split_list(members, shares, seed=seed)
    for class_id, found in by_class(members, places).items():
        assert sum(found) == counts[class_id]
        assert found[0] > 0
        for share, count in zip(shares.values(), found, strict=True):
            least = 1 if counts[class_id] >= 3 else 0
            assert abs(count - max(least, share * counts[class_id])) < 2 + least
            assert count >= least


@st.composite
def grouped(draw: st.DrawFn) -> list[Member]:
    """Groups of one to six pages, each page of any of four classes."""
    groups = draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=40))
    return [Member(f"{g}/{n}", c, f"g{g}") for g, classes in enumerate(groups) for n, c in enumerate(classes)]


@given(members=grouped(), seed=st.integers(0, 3), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_groups_stay_together_in_any_order_of_lines(members: list[Member], seed: int, shuffle: random.Random) -> None:
    places = split_list(members, SHARES, seed=seed)
    assert places.keys() == {member.page_id for member in members}
    of_group = {(member.group, places[member.page_id]) for member in members}
    assert len(of_group) == len({member.group for member in members})
    other = list(members)
    shuffle.shuffle(other)
    assert split_list(other, SHARES, seed=seed) == places


@given(sizes=st.lists(st.integers(1, 20), min_size=30, max_size=60), seed=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_groups_of_any_size_come_close_to_the_shares(sizes: list[int], seed: int) -> None:
    members = [Member(f"{g}/{n}", 0, str(g)) for g, size in enumerate(sizes) for n in range(size)]
    found = Counter(split_list(members, SHARES, seed=seed).values())
    for split, share in SHARES.items():
        assert abs(found[split] - share * len(members)) <= max(sizes)


LABELS = [Label(f"f{n % 5}/{n}.pdf#page={p}", n % 2) for n in range(20) for p in (1, 2)]


def test_pages_of_a_document_are_never_divided() -> None:
    divided = divide({"all": LABELS}, {}, SplitConfig(val=0.2, test=0.2))
    assert {split: len(labels) for split, labels in divided.items()} == {"train": 24, "val": 8, "test": 8}
    documents = [{label.page_id.split("#")[0] for label in labels} for labels in divided.values()]
    assert not documents[0] & documents[1] | documents[0] & documents[2] | documents[1] & documents[2]


def test_only_missing_splits_are_divided_off() -> None:
    given = {"train": LABELS, "test": [Label("t.tif", 0)]}
    divided = divide(given, {}, SplitConfig(val=0.2))
    assert divided["test"] == given["test"]
    assert len(divided["val"]) == 8
    assert sorted(divided["train"] + divided["val"]) == sorted(LABELS)


def test_a_list_needs_a_split() -> None:
    with pytest.raises(UserError, match=r"data.split"):
        divide({"all": LABELS}, {}, None)


def test_groups() -> None:
    assert group_of("x/a.pdf#page=2", "document", {}) == "x/a.pdf"
    assert group_of("x/a.pdf#page=2", "folder", {}) == "x"
    assert group_of("x/a.tif", "customer", {"x/a.tif": "c"}) == "c"
    for groups in ({}, {"x/a.tif": ""}):
        with pytest.raises(UserError, match=r"x/a.tif has no value in a column 'customer'"):
            group_of("x/a.tif", "customer", groups)


@pytest.mark.parametrize(
    "setting", [{"val": -0.1}, {"test": 1.0}, {"val": 0.5, "test": 0.5}, {"by": ""}], ids=str
)  # fmt: skip
def test_bad_split_settings(setting: dict[str, object]) -> None:
    with pytest.raises(UserError):
        SplitConfig(**setting)  # type: ignore[arg-type]


def test_too_few_groups_are_an_error() -> None:
    labels = [Label(f"class_{n % 2}/{n}.tif", n % 2) for n in range(20)]
    with pytest.raises(UserError, match=r"data\.split: no page is left for val: 20 pages in 2 groups by folder"):
        divide({"all": labels}, {}, SplitConfig(by="folder"))


def test_groups_that_share_a_document_are_one() -> None:
    pages = [("a.pdf#page=1", "x"), ("a.pdf#page=2", "y"), ("b.tif", "y"), ("c.tif", "z"), ("d.tif#page=2", "w")]
    found = {member.page_id: member.group for member in joined([Member(page, 0, group) for page, group in pages])}
    assert len({found[page] for page, _ in pages[:3]}) == 1
    assert len(set(found.values())) == 3


def test_a_split_without_effect_is_an_error() -> None:
    given = {split: [Label(f"{split}.tif", 0)] for split in ("train", "val", "test")}
    with pytest.raises(UserError, match=r"data\.split: has no effect"):
        divide(given, {}, SplitConfig())
