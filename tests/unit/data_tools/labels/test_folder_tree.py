"""Folder trees: what is a page, what is passed over and reported, links, and empty classes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.labels.folder_tree import ClassFolders, labels_of_tree, scan, tree_warnings


def make_tree(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def labels(root: Path, *splits: str, allow_empty: bool = False) -> tuple[dict[str, list[tuple[str, int]]], object]:
    folders = {split: root / split for split in splits}
    found = {split: scan(root, folder) for split, folder in folders.items()}
    return labels_of_tree(found, folders, allow_empty=allow_empty)  # type: ignore[return-value]


def test_ids_span_all_splits(tmp_path: Path) -> None:
    make_tree(tmp_path, ["train/memo/b.tif", "train/letter/a.TIF", "train/letter/sub/c.png", "val/form/x.jpg"])
    found, names = labels(tmp_path, "train", "val")
    assert names == {0: "form", 1: "letter", 2: "memo"}
    assert found["train"] == [("train/letter/a.TIF", 1), ("train/letter/sub/c.png", 1), ("train/memo/b.tif", 2)]
    assert found["val"] == [("val/form/x.jpg", 0)]


def test_folders_named_by_numbers_are_class_ids(tmp_path: Path) -> None:
    make_tree(tmp_path, ["train/10/a.tif", "train/2/b.tif"])
    found, names = labels(tmp_path, "train")
    assert names == {2: "2", 10: "10"}
    assert found["train"] == [("train/10/a.tif", 10), ("train/2/b.tif", 2)]


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".jpe", ".JFIF", ".jpg", ".Png", ".bmp", ".webp", ".pdf"])
def test_suffixes_of_pages(tmp_path: Path, suffix: str) -> None:
    make_tree(tmp_path, [f"train/a/x{suffix}"])
    assert labels(tmp_path, "train")[0]["train"] == [(f"train/a/x{suffix}", 0)]


def test_what_is_no_page_is_counted_by_suffix_and_named(tmp_path: Path) -> None:
    others = ["a/Thumbs.db", "a/.DS_Store", "a/sub/._x.tif", "a/notes.txt", "a/more.TXT", "a/README", "stray.tif"]
    make_tree(tmp_path / "train", ["a/x.tif", *others])
    (tmp_path / "train" / "a" / ".git").mkdir()
    found = scan(tmp_path, tmp_path / "train")
    assert found.pages == {"a": ["train/a/x.tif"]}
    assert {kind: sorted(paths) for kind, paths in found.passed_over.items()} == {
        ".db": ["a/Thumbs.db"],
        "hidden": ["a/.DS_Store", "a/.git", "a/sub/._x.tif"],
        ".txt": ["a/more.TXT", "a/notes.txt"],
        "no suffix": ["a/README"],
        ".tif, not in a class folder": ["stray.tif"],
    }
    (warning,) = tree_warnings(found, "train", tmp_path / "train")
    assert (warning.kind, warning.split, warning.count) == ("passed_over", "train", 8)
    assert "2 .txt" in warning.detail
    assert "3 hidden" in warning.detail
    assert sum(name in warning.detail for name in [*others, "a/.git"]) == 5


def test_a_tree_of_pages_alone_has_no_warning(tmp_path: Path) -> None:
    make_tree(tmp_path, ["train/a/x.tif"])
    assert tree_warnings(scan(tmp_path, tmp_path / "train"), "train", tmp_path / "train") == []


def test_names_of_files_are_printable_in_messages(tmp_path: Path) -> None:
    make_tree(
        tmp_path, ["train/a/x.tif", "train/a/new\nline.txt", "train/a/esc\x1b[31m.txt", "train/a/byte\udcff.\udcffq"]
    )
    (tmp_path / "train" / "a" / "link\n").symlink_to("/etc")
    texts = [warning.detail for warning in tree_warnings(scan(tmp_path, tmp_path / "train"), "train", tmp_path)]
    assert all(text.isprintable() for text in texts)
    assert all(name in texts[0] for name in (r"new\nline.txt", r"esc\x1b[31m.txt", r"byte\xff.\xffq", r"1 .\xffq"))
    assert r"a/link\n: the link" in texts[1]
    make_tree(tmp_path, ["val/a/new\nline.txt", "val/b/x.tif"])
    with pytest.raises(UserError) as caught:
        labels(tmp_path, "val")
    assert r"it holds a/new\nline.txt" in str(caught.value)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A class with links to its parent, itself, a sub-folder, a place in the root, one outside, and nothing."""
    root = make_tree(tmp_path / "root", ["train/a/x.tif", "train/a/sub/y.tif", "pool/z.tif", "pool/deep/w.tif"])
    make_tree(tmp_path, ["outside/v.tif"])
    for name, target in {
        "up": "..", "self": ".", "again": "sub", "pool": "../../pool", "out": "../../../outside", "gone": "nowhere",
        "loop": "loop",
    }.items():  # fmt: skip
        (root / "train" / "a" / name).symlink_to(target)
    (root / "pool" / "back").symlink_to("../train")
    return root


def test_linked_folders_are_read_once_and_inside_the_root(linked: Path) -> None:
    found = scan(linked, linked / "train")
    pages = ["train/a/pool/deep/w.tif", "train/a/pool/z.tif", "train/a/sub/y.tif", "train/a/x.tif"]
    assert found.pages == {"a": pages}
    assert {name for name, _ in found.links} == {"a/up", "a/self", "a/again", "a/out", "a/pool/back"}
    assert found.passed_over == {"no suffix": ["a/gone", "a/loop"]}
    kinds = [warning.kind for warning in tree_warnings(found, "train", linked / "train")]
    assert kinds == ["passed_over", *["link_not_read"] * 5]


def test_links_out_of_the_root_are_followed_on_request(linked: Path) -> None:
    assert "train/a/out/v.tif" in scan(linked, linked / "train", follow_outside=True).pages["a"]


@pytest.fixture
def linked_classes(tmp_path: Path) -> Path:
    """Two class folders, and links beside them to each kind of place."""
    root = make_tree(tmp_path / "root", ["train/inv/x.tif", "train/let/sub/y.tif", "pool/z.tif", "train/.kept/w.tif"])
    make_tree(tmp_path, ["outside/v.tif"])
    for name, target in {
        "again": "../pool", "z": ".kept", "loop": ".", "memo": "let", "out": "../../outside", "part": "let/sub",
        "pool": "../pool", "up": "..", "inv/let": "../let", "inv/hidden": "../.kept",
    }.items():  # fmt: skip
        (root / "train" / name).symlink_to(target)
    return root


def test_a_linked_class_folder_is_read_unless_another_class_has_its_pages(linked_classes: Path) -> None:
    found = scan(linked_classes, linked_classes / "train")
    assert found.pages == {
        "again": ["train/again/z.tif"],
        "inv": ["train/inv/x.tif"],
        "let": ["train/let/sub/y.tif"],
        "z": ["train/z/w.tif"],
    }
    read_already = "leads to a folder that is read already"
    problems = {name: problem for name, problem in found.links if problem == read_already}
    assert problems.keys() == {"loop", "memo", "part", "pool", "up", "inv/let", "inv/hidden"}
    assert dict(found.links).keys() - problems.keys() == {"out"}
    followed = scan(linked_classes, linked_classes / "train", follow_outside=True)
    assert followed.pages == found.pages | {"out": ["train/out/v.tif"]}


def test_links_that_are_the_only_classes_and_lead_out_are_named(tmp_path: Path) -> None:
    make_tree(tmp_path, ["outside/v.tif"])
    (tmp_path / "root" / "train").mkdir(parents=True)
    (tmp_path / "root" / "train" / "out").symlink_to("../../outside")
    (tmp_path / "root" / "train" / "loop").symlink_to(".")
    with pytest.raises(UserError, match=r"no pages; .*; the link loop leads .*; the link out leads out of data\.root"):
        labels(tmp_path / "root", "train")


def test_folders_that_are_passed_over_are_named_as_folders(tmp_path: Path) -> None:
    make_tree(tmp_path, ["train/a/x.tif", "train/.memo/y.tif", "train/a/.sub/z.tif", "train/a/n.txt"])
    (warning,) = tree_warnings(scan(tmp_path, tmp_path / "train"), "train", tmp_path / "train")
    kinds = "1 .txt, 1 hidden, 1 hidden, not in a class folder"
    assert warning.detail.endswith(
        f"train: 1 file is not a page and 2 folders are not read ({kinds}): .memo/, a/.sub/, a/n.txt"
    )
    assert warning.count == 3


@pytest.mark.parametrize("others", [[], ["train/b/notes.txt"], ["train/b/.x.tif"]])
def test_a_class_folder_without_a_page_is_named(tmp_path: Path, others: list[str]) -> None:
    make_tree(tmp_path, ["train/a/x.tif", "train/c/y.tif", *others])
    (tmp_path / "train" / "b").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="train/b: the class folder has no page"):
        labels(tmp_path, "train")
    found, names = labels(tmp_path, "train", allow_empty=True)
    assert found["train"] == [("train/a/x.tif", 0), ("train/c/y.tif", 2)], "ids do not shift"
    assert names == {0: "a", 1: "b", 2: "c"}


def test_problems_of_the_folders(tmp_path: Path) -> None:
    (tmp_path / "root" / "train" / "empty").mkdir(parents=True)
    with pytest.raises(UserError, match="no pages"):
        labels(tmp_path / "root", "train")
    with pytest.raises(UserError, match="outside the data root"):
        scan(tmp_path / "root", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        scan(tmp_path, tmp_path / "none")


@pytest.mark.parametrize(
    "name",
    [
        "Screenshot 2026-01-01 at 3.04.05\u202fPM.png",
        "a\u00a0b.png",
        "\u0646\u0627\u0645\u0647\u200c\u0647\u0627.png",
        "\ue022.png",
        "caf\u00e9 \U0001f468\u200d\U0001f469.png",
    ],
    ids=["macOS", "no-break blank", "Persian", "colon over SMB", "emoji"],
)
def test_names_of_pages_in_any_script(tmp_path: Path, name: str) -> None:
    make_tree(tmp_path, [f"train/a/{name}"])
    assert labels(tmp_path, "train")[0]["train"] == [(f"train/a/{name}", 0)]


@pytest.mark.parametrize(
    "name",
    [
        "a\nb.tif",
        "a\tb.tif",
        "a\x85b.tif",
        "a\u2028b.tif",
        "a\u2029b.tif",
        "a\u202eb.tif",
        "a\u2066b.tif",
        "\udce4.tif",
    ],
)
def test_names_that_would_not_survive_in_a_line_of_text(tmp_path: Path, name: str) -> None:
    make_tree(tmp_path, [f"bad/a/{name}"])
    with pytest.raises(UserError, match="not a printable") as caught:
        scan(tmp_path, tmp_path / "bad")
    assert str(caught.value).isprintable()


def test_class_folders_start_empty() -> None:
    assert ClassFolders() == ClassFolders({}, {}, [])


def test_class_folders_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    nfc, nfd = "m\u00e9mo", "me\u0301mo"
    make_tree(tmp_path, [f"train/{nfc}/a.tif", f"val/{nfd}/b.tif", "train/letter/c.tif", "val/letter/d.tif"])
    found, names = labels(tmp_path, "train", "val")
    assert names == {0: "letter", 1: nfc}
    assert found["val"] == [("val/letter/d.tif", 0), (f"val/{nfd}/b.tif", 1)]
    make_tree(tmp_path, [f"alone/{nfd}/a.tif"])
    assert labels(tmp_path, "alone")[1] == {0: nfd}, "a name alone stays as it is"
