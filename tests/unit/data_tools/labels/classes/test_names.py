"""Class names: files of names, and ids for labels that are names."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.labels.classes.names import (
    alike,
    class_names_from,
    ids_of_labels,
    known_names,
    plain_name,
    read_class_names,
)

ABC = {0: "a b", 1: "b", 2: "c"}


@pytest.mark.parametrize(
    ("text", "ids", "names"),
    [
        ("letter\nform\nemail\n", [0, 2], {0: "letter", 2: "email"}),
        ("letter\nform\n", [10, 20], {10: "letter", 20: "form"}),
        ("7 news article\n3 memo\n", [3, 7], {3: "memo", 7: "news article"}),
        ("-1 other\n3 memo\n", [-1, 3], {-1: "other", 3: "memo"}),
        ("2\tc\n0\ta b\n1\tb\n", [0, 1, 2], ABC),
        ("2,c\n0,a b\n1,b\n", [0, 1, 2], ABC),
        ("2;c\n0; a b\n1 ; b\n", [0, 1, 2], ABC),
        ("2: c\n0:a b\n1: b\n", [0, 1, 2], ABC),
        ('"2","c"\n"0","a b"\n"1","b"\n', [0, 1, 2], ABC),
        ("id,name\n2,c\n0,a b\n1,b\n", [0, 1, 2], ABC),
        ("Class ID;Class name\n2;c\n0;a b\n1;b\n", [0, 1, 2], ABC),
        ("names:\n  0: a b\n  1: b\n  2: c\n", [0, 1, 2], ABC),
        ("# made by me\n2 c\n0 a b\n# and so on\n1 b\n", [0, 1, 2], ABC),
        ("\u0662 c\n\u0660 a b\n\u0661 b\n", [0, 1, 2], ABC),
        ("0 a, b\n1 c: d\n", [0, 1], {0: "a, b", 1: "c: d"}),
        # Names that begin with a number which is no class id, or that are few.
        ("1040 form\n1099 form\nW2 form\n", [0, 1, 2], {0: "1040 form", 1: "1099 form", 2: "W2 form"}),
        ("memo\nletter\n2 pages\n", [0, 1, 2], {0: "memo", 1: "letter", 2: "2 pages"}),
        ("1. reminder\n2. reminder\nbill\n", [0, 1, 2], {0: "1. reminder", 1: "2. reminder", 2: "bill"}),
        ("form 0\nform 1\n", [0, 1], {0: "form 0", 1: "form 1"}),
        ("class\nlabel\n", [0, 1], {0: "class", 1: "label"}),
        ("index\nmemo\nform\n", [0, 1], {0: "index", 1: "memo"}),
    ],
)
def test_class_names(tmp_path: Path, text: str, ids: list[int], names: dict[int, str]) -> None:
    (tmp_path / "n.txt").write_text(text)
    assert read_class_names(tmp_path / "n.txt", ids) == names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("letter\n", "1 names"),
        ("3 memo\n3 form\n", "class 3 has two names"),
        ("3 memo\n", "no name for class 7"),
        ("3,memo\n3,form\n", "class 3 has two names"),
        ("", "0 names"),
    ],
)
def test_bad_class_names(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "n.txt").write_text(text)
    with pytest.raises(UserError, match=problem):
        read_class_names(tmp_path / "n.txt", [3, 7])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("--2 c\n0 a\n1 b\n", "'--2 c'"),
        ("0 a\n1 b\nc\n", "'c'"),
        ("0 a\n1 b\n\u00b2 c\n", "'\u00b2 c'"),
        ("2.0 c\n0.0 a\n1.0 b\n", "'2.0 c'"),
        ("my classes\n2 c\n0 a\n1 b\n", "'my classes'"),
        ("c 2\na 0\nb 1\n", "'c 2'"),
        ("c,2\na,0\nb,1\n", "'c,2'"),
        ("# x\na\nb\nc\n", "'# x'"),
        ("name\na\nb\nc\n", "'name'"),
        ('[\n"a",\n"b",\n"c"\n]\n', r"'\['"),
        (f"{'1' * 5000} a\nb\nc\n1 d\n2 e\n0 f\n3 g\n", "'1111"),
        ("a\nb\x1b[0m\nc\n", r"class 1: .*not printable"),
    ],
)
def test_class_names_that_would_be_given_to_other_classes(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "n.txt").write_text(text)
    with pytest.raises(UserError, match=rf"n\.txt: .*{problem}") as caught:
        read_class_names(tmp_path / "n.txt", [0, 1, 2])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_list_of_names_is_no_file() -> None:
    """Names in the configuration have no header, no comments, and no delimiter but a blank after an id."""
    names = ["1,5 mm", "2,5 mm", "name", "# of pages"]
    assert class_names_from(names, [0, 1, 2], source="data.class_names") == dict(enumerate(names[:3]))
    assert class_names_from(["1 b", "0 a"], [0, 1], source="data.class_names") == {0: "a", 1: "b"}
    assert known_names(tuple(names)) == {name: place for place, name in enumerate(names)}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_class_names_as_editors_save_them(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "n.txt").write_bytes("Brief\r\nMémo\r\n".encode(encoding))
    assert read_class_names(tmp_path / "n.txt", [0, 1]) == {0: "Brief", 1: "Mémo"}


@pytest.mark.parametrize(
    ("labels", "known", "ids", "names"),
    [
        (["7", "-3", "+2"], None, {"7": 7, "-3": -3, "+2": 2}, {}),
        (["memo", "form"], None, {"form": 0, "memo": 1}, {0: "form", 1: "memo"}),
        (["memo", "form"], {"memo": 0, "form": 1, "other": 2}, {"memo": 0, "form": 1}, {0: "memo", 1: "form"}),
        (["1099", "letter"], {"letter": 0, "1099": 1}, {"1099": 1, "letter": 0}, {1: "1099", 0: "letter"}),
        (["1", "2"], {"1": 5}, {"1": 1, "2": 2}, {}),  # Integers are ids, whatever the names are.
        (["+0000000000002"], None, {"+0000000000002": 2}, {}),
        (["٣"], None, {"٣": 0}, {0: "٣"}),  # Digits of another script are a name.
    ],
)
def test_ids_of_labels(
    labels: list[str], known: dict[str, int] | None, ids: dict[str, int], names: dict[int, str]
) -> None:
    assert ids_of_labels(dict.fromkeys(labels, "f:1"), known) == (ids, names)


@pytest.mark.parametrize(
    ("labels", "known", "problem"),
    [
        ({"3": "f:1", "memo": "f:9"}, None, "f:9: .*'memo'.* f:1 has the class id 3"),
        ({"3.0": "f:2"}, None, "f:2: the class id must be an integer"),
        ({"memo": "f:1", "1e3": "f:2"}, None, "f:2: the class id must be an integer"),
        ({"0,0": "f:2", "10,0": "f:3"}, None, "f:2: the class id must be an integer, found '0,0'"),
        ({"memo": "f:1", "1,5e3": "f:2"}, None, "f:2: the class id must be an integer"),
        ({"memo": "f:1", "b.tif": "f:2"}, None, "f:2: .*no class"),
        ({"memo": "f:1", "scan.tif,3": "f:2"}, None, "f:2: .*path,label"),
        ({"memo": "f:1", "": "f:2"}, None, "f:2: the class is missing"),
        ({"memo": "f:1", "bill": "f:2"}, {"memo": 0}, "f:2: .*'bill' is not in data.class_names"),
        ({"3000000000": "f:2"}, None, "f:2: .* 32 bits"),
        ({"9" * 5000: "f:2"}, None, "f:2: .* 32 bits"),
        ({"a\nb": "f:2"}, None, "f:2: .*not printable"),
        ({"a\u202eb": "f:2"}, None, r"f:2: .*u202e.*not printable"),
    ],
)
def test_labels_without_an_id(labels: dict[str, str], known: dict[str, int] | None, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        ids_of_labels(labels, known)


@pytest.mark.parametrize(
    "name",
    ["\N{WOMAN}\u200d\N{STAFF OF AESCULAPIUS}\ufe0f", "\u0646\u0627\u0645\u0647\u200c\u0647\u0627", "Akte\u202f12"],
    ids=["emoji of several characters", "Persian", "narrow blank"],
)
def test_names_of_any_script(name: str) -> None:
    assert ids_of_labels({name: "f:1"}) == ({name: 0}, {0: name})


def test_names_are_compared_without_quotes_blanks_and_normalization() -> None:
    assert plain_name("news\u00a0 article") == "news article"
    assert plain_name(" 'cafe\u0301' ") == plain_name("caf\u00e9")


def test_names_that_look_alike_are_reported() -> None:
    assert [one.count for one in alike({0: "News Article", 1: "news_article", 2: "memo"})] == [2]
    assert [one.count for one in alike({0: "inv", 1: "inv ", 2: " inv", 3: "inv\u200b"})] == [4]
    assert alike({0: "form", 1: "forms"}) == []


def test_known_names(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("7 news article\n3 memo\n")
    assert known_names(str(tmp_path / "n.txt")) == {"news article": 7, "memo": 3}
    (tmp_path / "n.txt").write_text("id;name\n7;'news  article'\n3;memo\n")
    assert known_names(str(tmp_path / "n.txt")) == {"news article": 7, "memo": 3}
    assert known_names(("memo", "form")) == {"memo": 0, "form": 1}
    assert known_names(None) is None
