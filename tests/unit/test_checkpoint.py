"""Checkpoints are whole or absent, and the newest whole one counts."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import read_json
from trainer.checkpoint import MANIFEST, POINTER, STATE, WEIGHTS, BackgroundWriter, CheckpointFolder, Snapshot


def snapshot(step: int) -> Snapshot:
    return Snapshot(
        step, {"a/kernel": np.full(3, step, np.float32)}, {"rate": np.array(0.1, np.float32)}, {"epoch": step // 2}
    )


def test_written_is_read_back(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    assert folder.newest() is None
    folder.write(snapshot(4), best=None)
    found = folder.newest()
    assert found is not None
    assert (found.step, found.state) == (4, {"epoch": 2})
    np.testing.assert_array_equal(found.weights["a/kernel"], [4, 4, 4])
    assert read_json(folder.folder / POINTER) == {"step": 4}


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [
        (1, None, [6]),
        (2, None, [5, 6]),
        (2, 2, [2, 5, 6]),  # the best stays beside the newest
        (9, 2, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_stays(tmp_path: Path, keep: int, best: int | None, left: list[int]) -> None:
    folder = CheckpointFolder(tmp_path, keep=keep)
    for step in range(1, 7):
        folder.write(snapshot(step), best=best)
    assert folder.steps() == left


@pytest.mark.parametrize("file", [WEIGHTS, STATE, MANIFEST])
@pytest.mark.parametrize("harm", ["cut", "flip", "delete"])
def test_a_damaged_one_is_set_aside_and_the_one_before_it_counts(tmp_path: Path, file: str, harm: str) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    folder.write(snapshot(2), best=None)
    path = folder.path(2) / file
    raw = path.read_bytes()
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes(raw[:-3] if harm == "cut" else raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:])
    found = folder.newest()
    assert found is not None
    assert found.step == 1
    assert (tmp_path / "damaged-step-00000002").is_dir()


def test_none_whole_stops_the_job(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    (folder.path(1) / WEIGHTS).write_bytes(b"")
    for _ in range(2):  # the second time there are only damaged ones left, and it is still no fresh start
        with pytest.raises(UserError, match="no checkpoint is whole"):
            folder.newest()


def test_leftovers_of_a_killed_writer_are_ignored_and_cleared(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    half = tmp_path / ".unfinished-step-00000002-deadbeef"
    half.mkdir()
    (half / WEIGHTS).write_bytes(b"half")
    found = folder.newest()
    assert found is not None
    assert found.step == 1
    folder.write(snapshot(3), best=None)
    assert not half.exists()


def test_an_unwritable_pointer_is_one_line_and_leaves_the_older_ones(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    # The pointer cannot be written: its place is a folder.
    (tmp_path / POINTER).unlink()
    (tmp_path / POINTER).mkdir()
    with pytest.raises(UserError, match="make room"):
        folder.write(snapshot(2), best=None)
    assert folder.problem(1) is None


def test_the_background_writer_hands_its_error_back(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    writer = BackgroundWriter(CheckpointFolder(blocked, keep=1))
    writer.submit(snapshot(1), best=None)
    with pytest.raises(UserError, match="could not be written"):
        writer.wait()
    writer.wait()  # told once
