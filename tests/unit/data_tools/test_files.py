"""Files are complete or absent."""

import errno
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.errors import UserError, storage_problem
from data_tools.files import (
    UNFINISHED,
    append_line,
    atomic_folder,
    read_json,
    read_json_object,
    read_lines,
    read_object,
    read_text,
    write_atomically,
    write_json,
)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(UNFINISHED)]


def test_writing_replaces_the_complete_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    write_atomically(path, "long old content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert leftovers(path.parent) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(TypeError):
        write_atomically(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(target) as temporary:
        (temporary / "whole").write_text("x")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["whole"]
    with pytest.raises(FileExistsError), atomic_folder(target):
        pass


def test_a_folder_is_on_disk_with_its_sub_folders_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()

    def fsync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "a" / "b").mkdir(parents=True)
        (temporary / "a" / "file").write_text("x")
    inside = {"", "a", "a/b", "a/file"}
    assert {str(path.relative_to(temporary)) for path in synced if path.is_relative_to(temporary)} == {
        name or "." for name in inside
    }
    assert tmp_path in synced


def test_json_lines_leave_out_an_unfinished_last_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert read_lines(path) == []
    append_line(path, {"a": 1})
    append_line(path, {"a": 2})
    with path.open("a") as file:
        file.write('{"a": 3')
    assert read_lines(path) == [{"a": 1}, {"a": 2}]
    append_line(path, {"a": 4})  # not glued to what a killed writer left
    append_line(path, {"a": 5}, sync=True)
    assert read_lines(path) == [{"a": 1}, {"a": 2}, {"a": 4}, {"a": 5}]


def test_tolerant_readers_skip_what_is_corrupt_and_report_it(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    problems: list[str] = []
    assert (read_text(job / "a"), read_object(job / "a"), read_lines(job / "a", problems)) == ("", {}, [])
    (job / "half.json").write_text('{"phase": "tra')
    (job / "list.json").write_text("[1]")
    (job / "bytes.json").write_bytes(b"\xff\xfe")
    (job / "lines.jsonl").write_text('{"a": 1}\n\nnot json\n{"a": 2}\n{"a": 3, "b')
    assert [read_object(job / name, problems) for name in ("half.json", "list.json", "bytes.json")] == [{}, {}, {}]
    assert read_lines(job / "lines.jsonl", problems) == [{"a": 1}, {"a": 2}]
    assert read_object(job / "half.json") == {}, "without a list, problems are not reported"
    assert [line.partition(":")[0] for line in problems] == ["job/half.json", "job/bytes.json", "job/lines.jsonl"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    problems: list[str] = []
    assert read_lines(tmp_path, problems) == []
    assert len(problems) == 1
    with pytest.raises(OSError, match="directory"):
        read_lines(tmp_path)


def test_json_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json"):
        read_json(tmp_path / "bad.json")
    write_json(tmp_path / "good.json", {"a": [1]})
    assert read_json(tmp_path / "good.json") == {"a": [1]}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left on device; what is saved is untouched: make room"),
        (errno.EDQUOT, "make room"),
        (errno.EFBIG, "make room"),
        (errno.EROFS, "make it writable"),
        (errno.EACCES, "make it writable"),
        (errno.ENOENT, "fix it"),
        (errno.EIO, "fix it"),
    ],
)
def test_a_file_system_in_trouble_is_one_line_that_names_the_file(number: int, words: str) -> None:
    problem = storage_problem(OSError(number, os.strerror(number), "/runs/a/file"))
    assert problem is not None
    assert str(problem).startswith("/runs/a/file: ")
    assert words in str(problem)
    assert "run the same command again" in str(problem)


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), TimeoutError(), OSError("of a library")])
def test_other_errors_stay_what_they_are(error: OSError) -> None:
    assert storage_problem(error) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_atomically(path, "four"),
        lambda path: append_line(path, {"longer": "than that"}),
        lambda path: write_json(path, [1, 2, 3]),
    ],
)
def test_a_file_without_room_is_named(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """A failed write names no file by itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            write(tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(tmp_path / "file")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, ": no such file"),
        ('{"a": ', ": not readable as JSON"),
        ("null", ": expected a JSON object, found null"),
        ("[1, 2]", r": expected a JSON object, found \[1, 2\]"),
        (json.dumps("x" * 100), ': expected a JSON object, found "x+'),
        ("{}", ": has no a"),
        ('{"a": 1}', r"\.a: expected text, found 1"),
    ],
)
def test_anything_but_the_expected_object_is_one_line_with_advice(
    tmp_path: Path, text: str | None, problem: str
) -> None:
    path = tmp_path / "record.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=f"^{path}{problem}.*; restore it$") as caught:
        read_json_object(path, {"a": str}, advice="restore it")
    assert len(str(caught.value)) < len(str(path)) + 120
    path.write_text('{"a": "b", "c": 1}')
    assert read_json_object(path, {"a": str}, advice="restore it") == {"a": "b", "c": 1}
