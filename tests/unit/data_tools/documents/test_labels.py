"""Label files, folder trees and class names."""

from pathlib import Path

import pytest

from data_tools.documents.labels import Label, read_class_names, read_folder_tree, read_labels
from data_tools.errors import UserError


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a/b.tif 3\n", [("a/b.tif", 3)]),
        ("a.tif 0\nb.tif 15", [("a.tif", 0), ("b.tif", 15)]),
        ("a.tif 0\r\n\r\nb.tif 1\r\n", [("a.tif", 0), ("b.tif", 1)]),
        ("\ufeffa.tif 1\n", [("a.tif", 1)]),
        ("with space.tif 2\n", [("with space.tif", 2)]),
        ("a.tif -4\n", [("a.tif", -4)]),
        ("ä/ö.tif 7\n", [("ä/ö.tif", 7)]),
        ("a..b/c.tif 7\n", [("a..b/c.tif", 7)]),
    ],
)
def test_label_lines(tmp_path: Path, text: str, labels: list[tuple[str, int]]) -> None:
    (tmp_path / "l.txt").write_text(text)
    assert read_labels(tmp_path / "l.txt") == [Label(*label) for label in labels]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a.tif 0\nb.tif\n", ":2: expected `path/to/page.tif CLASS_ID`, found 'b.tif'"),
        ("a.tif x\n", ":1: the class id must be an integer, found 'x'"),
        ("a.tif 1.0\n", "must be an integer"),
        (" 4\n", ":1: expected"),
        ("a.tif 3000000000\n", "32 bits"),
        ("/etc/a.tif 1\n", "leaves the data root"),
        ("../a.tif 1\n", "leaves the data root"),
        ("a/../../b.tif 1\n", "leaves the data root"),
        ("a\0.tif 1\n", "leaves the data root"),
        ("a" * 5000 + " 1\n", "5000 characters"),
    ],
)
def test_bad_label_lines_are_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(UserError) as caught:
        read_labels(tmp_path / "l.txt")
    assert problem in str(caught.value)
    assert str(tmp_path / "l.txt") in str(caught.value)


def test_missing_and_binary_label_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such label file"):
        read_labels(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "b.txt")


def make_tree(root: Path, names: dict[str, list[str]]) -> dict[str, Path]:
    for split, pages in names.items():
        for name in pages:
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return {split: root / split for split in names}


def test_folder_tree_ids_span_all_splits(tmp_path: Path) -> None:
    folders = make_tree(
        tmp_path,
        {"train": ["memo/b.tif", "letter/a.TIF", "letter/sub/c.png", "letter/notes.txt"], "val": ["form/x.jpg"]},
    )
    labels, names = read_folder_tree(tmp_path, folders)
    assert names == {0: "form", 1: "letter", 2: "memo"}
    assert labels["train"] == [("train/letter/a.TIF", 1), ("train/letter/sub/c.png", 1), ("train/memo/b.tif", 2)]
    assert labels["val"] == [("val/form/x.jpg", 0)]


def test_folders_named_by_numbers_are_class_ids(tmp_path: Path) -> None:
    labels, names = read_folder_tree(tmp_path, make_tree(tmp_path, {"train": ["10/a.tif", "2/b.tif"]}))
    assert names == {2: "2", 10: "10"}
    assert labels["train"] == [("train/10/a.tif", 10), ("train/2/b.tif", 2)]


def test_folder_tree_problems(tmp_path: Path) -> None:
    (tmp_path / "root" / "train" / "empty").mkdir(parents=True)
    with pytest.raises(UserError, match="no pages"):
        read_folder_tree(tmp_path / "root", {"train": tmp_path / "root" / "train"})
    with pytest.raises(UserError, match="outside the data root"):
        read_folder_tree(tmp_path / "root", {"train": tmp_path})


@pytest.mark.parametrize(
    ("text", "ids", "names"),
    [
        ("letter\nform\nemail\n", [0, 2], {0: "letter", 2: "email"}),
        ("letter\nform\n", [10, 20], {10: "letter", 20: "form"}),
        ("7 news article\n3 memo\n", [3, 7], {3: "memo", 7: "news article"}),
        ("-1 other\n3 memo\n", [-1, 3], {-1: "other", 3: "memo"}),
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
    ],
)
def test_bad_class_names(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "n.txt").write_text(text)
    with pytest.raises(UserError, match=problem):
        read_class_names(tmp_path / "n.txt", [3, 7])
