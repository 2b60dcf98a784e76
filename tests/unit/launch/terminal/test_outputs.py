"""A command's output files: `-` leaves stdout to the file, and what cannot be written ends it before its work."""

import os
import tempfile
from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.files import write_atomically
from launch.terminal.console import USER_ERROR, guarded, print_out
from launch.terminal.outputs import is_file_name, new_folder, output_files, output_folder


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "{}/link"])
def test_standard_output_holds_the_file_alone(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    with output_files(name.format(tmp_path), None) as (path, other):
        assert path is not None
        assert other is None
        print_out("a message")
        os.write(1, b"of a library\n")
        write_atomically(path, "the file\n")
        print_out("another")
    print_out("after")
    out, err = capfd.readouterr()
    assert out == "the file\nafter\n"
    assert sorted(err.splitlines()) == ["a message", "another", "of a library"]


def test_other_files_leave_standard_output_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with output_files(str(tmp_path / "a" / "file"), "/dev/stderr") as (path, stream):
        assert path is not None
        assert stream is not None
        print_out("a message")
        write_atomically(path, "x")
        write_atomically(stream, "y\n")
    assert capfd.readouterr() == ("a message\n", "y\n")
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_standard_output_holds_one_file_and_no_folder() -> None:
    with pytest.raises(UserError, match="one file"), output_files("-", "/dev/stdout"):
        pass
    for make in (new_folder, output_folder):
        with pytest.raises(UserError, match="folder"):
            make("-")


def test_an_output_that_cannot_be_written_ends_the_command_before_its_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make in (output_folder, new_folder):
        with pytest.raises(OSError, match="file"):
            make(str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="file"), output_files(str(tmp_path / "file" / "below")):
        raise AssertionError("not reached")
    output_folder(str(tmp_path / "made"))
    new_folder(str(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "made"]


def test_a_new_folder_is_made_where_its_link_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("disk/folder")
    assert new_folder(str(tmp_path / "link")) == tmp_path / "disk" / "folder"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("name", "is_file"), [("-", True), ("a.html", True), ("report", False), ("{}", False), ("/dev/null", True)]
)
def test_a_page_or_a_folder(name: str, is_file: bool, tmp_path: Path) -> None:
    assert is_file_name(name.format(tmp_path)) is is_file


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "/some/file"),
        OSError(30, "Read-only file system", "/some/file"),
        OSError(28, "No space left on device", "/some/file"),
        OSError(36, "File name too long", "/some/file"),
        NotADirectoryError(20, "Not a directory", "/some/file"),
        IsADirectoryError(21, "Is a directory", "/some/file"),
        OSError(5, "Input/output error", "/some/file"),
    ],
)
def test_what_the_file_system_refuses_is_one_line_with_the_path(
    error: OSError, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise error

    assert guarded(command) == USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: /some/file: ")


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), FileNotFoundError(2, "None", "/a"), OSError()]
)
def test_what_may_be_a_bug_keeps_its_traceback(error: OSError) -> None:
    def command() -> int:
        raise error

    with pytest.raises(type(error)) as caught:
        guarded(command)
    assert caught.value is error


def test_a_working_folder_that_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    def command() -> int:
        return len(str(Path("run").absolute()))

    assert guarded(command) == USER_ERROR
    assert "working folder" in capsys.readouterr().err


def test_no_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    assert guarded(lambda: len(tempfile.gettempdir())) == USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "none") in line
