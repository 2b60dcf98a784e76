"""Files are whole or absent."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.files import UNFINISHED, append_line, atomic_folder, read_json, read_lines, write_atomically, write_json


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(UNFINISHED)]


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
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


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
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


def test_json_lines_leave_out_an_unfinished_last_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert read_lines(path) == []
    append_line(path, {"a": 1})
    append_line(path, {"a": 2})
    with path.open("a") as file:
        file.write('{"a": 3')
    assert read_lines(path) == [{"a": 1}, {"a": 2}]


def test_json_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json"):
        read_json(tmp_path / "bad.json")
    write_json(tmp_path / "good.json", {"a": [1]})
    assert read_json(tmp_path / "good.json") == {"a": [1]}
