"""Which files of the sources become unlabelled pages, and what is said about the others."""

import os
from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.distillation.pool import _files, documents_of
from launch.predict.sources import Source


def test_files_are_named_from_the_folder_that_holds_them_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "1.tif", tmp_path / "b" / "c" / "2.pdf"]
    found = documents_of([Source(str(path)) for path in [*paths, paths[0]]], own=set())
    assert (found.root, found.names, found.left_out) == (tmp_path, ("a/1.tif", "b/c/2.pdf"), {})


def test_one_file_is_named_from_its_folder(tmp_path: Path) -> None:
    found = documents_of([Source(str(tmp_path / "1.tif"))], own=set())
    assert (found.root, found.names) == (tmp_path, ("1.tif",))


def test_pages_of_the_run_and_names_that_are_no_text_are_left_out_and_counted(tmp_path: Path) -> None:
    own, odd = tmp_path / "x" / ".." / "own.tif", os.fsdecode(bytes(tmp_path) + b"/\xff.tif")
    files = [Source(str(own)), Source(odd), Source(str(tmp_path / "new.tif"))]
    found = documents_of(files, own={str(tmp_path / "own.tif")})
    assert found.names == ("new.tif",)
    assert sorted(found.left_out.values()) == [1, 1]


def test_a_file_is_the_same_under_the_name_of_a_link(tmp_path: Path) -> None:
    """A link to validation pages does not make them training pages, and a page counts once."""
    real, links = tmp_path / "real", tmp_path / "links"
    for folder in (real, links):
        folder.mkdir()
    for name in ("own.tif", "new.tif"):
        (real / name).touch()
    (links / "folder").symlink_to(real)
    (links / "again.tif").symlink_to(real / "new.tif")
    found = documents_of(_files([str(links)]), own={os.path.realpath(real / "own.tif")})
    assert found.names == ("again.tif",)
    assert found.left_out == {"a page of the run's own splits": 1, "the same file under another name": 1}


def test_nothing_left_is_no_error_here() -> None:
    assert documents_of([Source("/run/own.tif")], own={"/run/own.tif"}).names == ()


def test_an_empty_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(UserError, match=rf"^{tmp_path}/list\.txt: .*the list of paths is empty$"):
        _files([f"@{tmp_path / 'list.txt'}"])


@pytest.mark.parametrize("kind", ["absent", "empty folder", "folder without pages", "glob"])
def test_a_source_without_a_page_is_one_line_that_names_it(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "folder"
    source = {"absent": tmp_path / "absent.tif", "glob": tmp_path / "*.tif"}.get(kind, folder)
    if "folder" in kind:
        folder.mkdir()
    if kind == "folder without pages":
        (folder / "notes.txt").touch()
    with pytest.raises(UserError, match="--pool") as caught:
        _files([str(source)])
    assert str(source) in str(caught.value)
