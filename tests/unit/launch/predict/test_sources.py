"""What was asked for, as a list of files."""

import io
import os
from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.predict.sources import GROUP, Source, find_sources, groups_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.tif",
        "a.PNG",
        "sub/c.jpg",
        "sub/notes.txt",
        "sub.tif/d.tif",
        ".hidden/e.tif",
        ".f.tif",
        "x[1].tif",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"page")
    return tmp_path


def paths(*arguments: str, stdin: bytes = b"") -> list[str]:
    return [source.path for source in find_sources(arguments, stdin=io.BytesIO(stdin)).files]


def test_a_folder_is_searched_in_the_order_of_its_paths(here: Path) -> None:
    assert paths("in") == ["in/a.PNG", "in/b.tif", "in/sub/c.jpg", "in/sub.tif/d.tif", "in/x[1].tif"]
    assert find_sources(["in"]).skipped == 2, "notes.txt and .f.tif"


def test_the_order_is_that_of_the_arguments_and_nothing_is_dropped(here: Path) -> None:
    assert paths("in/sub", "in/b.tif", "in/b.tif", "absent.tif") == [
        "in/sub/c.jpg",
        "in/b.tif",
        "in/b.tif",
        "absent.tif",
    ]


def test_globs_are_expanded_unless_a_file_has_the_name(here: Path) -> None:
    assert paths("in/*.tif") == ["in/b.tif", "in/sub.tif/d.tif", "in/x[1].tif"]
    assert paths("in/x[1].tif") == ["in/x[1].tif"]
    assert paths("in/**/c.jpg") == ["in/sub/c.jpg"]
    (source,) = find_sources(["in/*.nothing"]).files
    assert source.error


def test_lists_hold_what_the_command_line_may_hold(here: Path) -> None:
    Path("list.txt").write_bytes("\ufeffin/b.tif\r\n\n in/absent.tif\nin/sub\nin/*.PNG".encode())
    expected = ["in/b.tif", " in/absent.tif", "in/sub/c.jpg", "in/a.PNG"]
    assert paths("@list.txt") == expected
    assert paths("in/b.tif", "-", stdin=b"in/sub\nin/a.PNG\n") == ["in/b.tif", "in/sub/c.jpg", "in/a.PNG"]


def test_names_that_are_not_utf8_survive(here: Path) -> None:
    (source,) = find_sources(["-"], stdin=io.BytesIO(b"caf\xe9.tif\n")).files
    assert os.fsencode(source.path) == b"caf\xe9.tif"


def test_a_missing_or_empty_list_is_refused(here: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt"):
        paths("@none.txt")
    with pytest.raises(UserError, match="no page"):
        paths("-", stdin=b"\n\r\n")


def test_a_folder_without_pages_has_a_row_with_the_reason(here: Path) -> None:
    Path("empty").mkdir()
    Path("in/sub/c.jpg").unlink()
    for folder in ("empty", "in/sub"):
        (source,) = find_sources([folder]).files
        assert source.path == folder
        assert source.error


def test_a_link_back_into_a_folder_ends_the_search(here: Path) -> None:
    Path("in/sub/loop").symlink_to(here / "in")
    assert paths("in/sub") == ["in/sub/c.jpg", "in/sub/loop/a.PNG", "in/sub/loop/b.tif", "in/sub/loop/sub.tif/d.tif",
                               "in/sub/loop/x[1].tif"]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (["a.tif"] * GROUP, [GROUP]),
        (["a.tif"] * (GROUP + 1), [GROUP, 1]),
        (["a.tif", "b.pdf", "c.tif"], [1, 1, 1]),
        (["a.PDF", "b.pdf"], [1, 1]),
        ([], []),
    ],
)
def test_groups_depend_on_the_files_alone(names: list[str], sizes: list[int]) -> None:
    files = [Source(name) for name in names]
    groups = groups_of(files)
    assert [len(group) for group in groups] == sizes
    assert [source for group in groups for source in group] == files
