"""Files that are written past the page cache hold what was written, whatever its sizes and the file system."""

import os
import resource
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.direct_file import BLOCK_BYTES, DirectFile


@pytest.fixture
def background() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.mark.parametrize("past_the_cache", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [1],
        [BLOCK_BYTES - 1, 1],
        [BLOCK_BYTES],
        [BLOCK_BYTES + 1],
        [7, BLOCK_BYTES, 3 * BLOCK_BYTES + 5],
        [100_003] * 90,
    ],
    ids=str,
)
def test_the_file_holds_what_was_written(
    tmp_path: Path, sizes: list[int], past_the_cache: bool, background: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not past_the_cache:
        monkeypatch.setattr("data_tools.conversion.direct_file._DIRECT", 0)
    pieces = [np.random.default_rng(i).bytes(size) for i, size in enumerate(sizes)]
    path = tmp_path / "file"
    path.write_bytes(b"what was there before")
    file = DirectFile(path, background=background)
    for piece in pieces:
        file.write(piece)
    assert file.close()
    assert path.read_bytes() == b"".join(pieces)


def test_a_file_system_without_a_way_past_the_cache(
    tmp_path: Path, background: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses O_TMPFILE beside O_CREAT with EINVAL, as some file systems do O_DIRECT."""
    monkeypatch.setattr("data_tools.conversion.direct_file._DIRECT", os.O_TMPFILE)
    with pytest.raises(OSError, match="Invalid argument"):
        os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_TMPFILE)
    file = DirectFile(tmp_path / "file", background=background)
    file.write(b"content")
    assert file.close()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_write_that_is_refused_past_the_cache_goes_through_it(tmp_path: Path, background: Executor) -> None:
    """Room for less than a sector: the kernel refuses the direct write, then says what is wrong."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = DirectFile(tmp_path / "file", background=background)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.write(bytes(BLOCK_BYTES))
            file.close()
    finally:
        file.discard()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "file").stat().st_size == 10_000


def test_a_deleted_file_is_noticed(tmp_path: Path, background: Executor) -> None:
    file = DirectFile(tmp_path / "file", background=background)
    file.write(b"gone")
    (tmp_path / "file").unlink()
    assert not file.close()


def test_a_folder_that_is_not_there(tmp_path: Path, background: Executor) -> None:
    with pytest.raises(FileNotFoundError):
        DirectFile(tmp_path / "none" / "file", background=background)
