"""Output goes to what a path leads to: a link stays a link, a FIFO or a device is never replaced."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.files import UNFINISHED, atomic_folder, require_writable, temporary_name, write_atomically
from data_tools.targets import leads_to, target_of


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def received(reading: int) -> bytes:
    return os.read(reading, 99)


@pytest.mark.parametrize("target", ["file", "deep/down/file"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, target: str, exists: bool) -> None:
    if exists:
        write_atomically(tmp_path / target, "old")
    link, again = tmp_path / "link", tmp_path / "again"
    link.symlink_to(target)
    again.symlink_to(link)
    write_atomically(again, "new")
    assert (again.is_symlink(), link.is_symlink()) == (True, True)
    assert (tmp_path / target).read_text() == "new"
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))


def test_a_link_to_a_link_that_leads_to_itself_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a'") as caught:
        write_atomically(tmp_path / "a", "new")
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "a").is_symlink()


def test_a_fifo_gets_the_bytes_and_stays(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    content: list[bytes] = []
    for path in (fifo, link):
        reader = threading.Thread(target=lambda: content.append(fifo.read_bytes()))
        reader.start()
        write_atomically(path, b"x" * 200_000)
        reader.join()
    assert [len(got) for got in content] == [200_000, 200_000]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert link.is_symlink()


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """By a link, since a mistake here would replace the machine's own device."""
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    assert target_of(link).stream
    write_atomically(link, "nothing")
    assert link.is_symlink()
    assert stat.S_ISCHR(link.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}", "/proc/thread-self/fd/{}"])
@pytest.mark.parametrize("by_link", [False, True])
def test_a_descriptor_gets_the_bytes(tmp_path: Path, pipe: tuple[int, int], name: str, by_link: bool) -> None:
    reading, writing = pipe
    path = Path(name.format(writing, pid=os.getpid()))
    if by_link:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    assert leads_to(path, writing)
    write_atomically(path, "text")
    assert received(reading) == b"text"
    os.fstat(writing)  # still open


def test_a_descriptor_of_a_file_continues_where_it_stands(tmp_path: Path) -> None:
    """As with `command > file` and an output of /dev/stdout: earlier lines stay."""
    file = tmp_path / "file"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"first\n")
    before = file.stat().st_ino
    write_atomically(Path(f"/dev/fd/{descriptor}"), "second\n")
    os.write(descriptor, b"third\n")
    os.close(descriptor)
    assert file.read_text() == "first\nsecond\nthird\n"
    assert file.stat().st_ino == before


@pytest.mark.parametrize("flags", [None, os.O_RDONLY])
def test_a_descriptor_that_cannot_be_written_is_named(tmp_path: Path, flags: int | None) -> None:
    (tmp_path / "file").touch()
    number = 987 if flags is None else os.open(tmp_path / "file", flags)
    with pytest.raises(OSError, match="open") as caught:
        write_atomically(Path(f"/dev/fd/{number}"), "text")
    assert (caught.value.errno, caught.value.filename) == (errno.EBADF, f"/dev/fd/{number}")
    assert not leads_to(Path(f"/dev/fd/{number}"), number)
    if flags is not None:
        os.close(number)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_and_folders_have_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a" / "file", "x")
        with atomic_folder(tmp_path / "folder") as temporary:
            write_atomically(temporary / "file", "x")
    finally:
        os.umask(before)
    for file in ("a/file", "folder/file"):
        assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o666 & ~umask
    for folder in ("a", "folder"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("size", [1, 230, 245, 255])
def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path, size: int) -> None:
    write_atomically(tmp_path / ("n" * size), "x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [size]
    assert len(temporary_name(tmp_path / ("ü" * 127)).name.encode()) <= 255


@pytest.mark.parametrize(
    ("path", "number", "named"),
    [
        ("n" * 256, errno.ENAMETOOLONG, "n" * 256),
        ("file/below", errno.ENOTDIR, "file"),
        ("file/far/below", errno.ENOTDIR, "file"),
        ("folder", errno.EISDIR, "folder"),
        ("", errno.EISDIR, "."),
        ("folder/inside/..", errno.EISDIR, "folder/inside/.."),
        ("dangling/below", errno.ENOTDIR, "/proc"),
    ],
)
def test_a_path_that_cannot_be_written_is_named_before_the_work_and_at_its_end(
    tmp_path: Path, path: str, number: int, named: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    (tmp_path / "dangling").symlink_to("/proc/none")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="/") as early:
        require_writable(tmp_path / path)
    with pytest.raises(OSError, match="/") as late:
        write_atomically(tmp_path / path, "x")
    for error in (early.value, late.value):
        assert (error.errno, error.filename) == (number, str(tmp_path / named))
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_a_link_to_nothing_is_made_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("disk/folder")
    with atomic_folder(tmp_path / "link") as temporary:
        (temporary / "file").touch()
    assert (tmp_path / "disk" / "folder" / "file").exists()
    assert (tmp_path / "link").is_symlink()


def test_a_file_name_that_is_not_utf8_keeps_its_bytes_in_a_text(tmp_path: Path) -> None:
    write_atomically(tmp_path / "list", os.fsdecode(b"page-\xff.tif\n"))
    assert (tmp_path / "list").read_bytes() == b"page-\xff.tif\n"
    write_atomically(tmp_path / "list", "\ud800")
    assert (tmp_path / "list").read_bytes() == b"?"
