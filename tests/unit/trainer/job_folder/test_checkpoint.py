"""Checkpoints are whole or absent, and the newest whole one counts."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import read_json
from trainer.job_folder.checkpoint import MANIFEST, POINTER, STATE, WEIGHTS, CheckpointFolder, Snapshot
from trainer.job_folder.writer import BackgroundWriter
from trainer.training.schedule import PlateauState
from trainer.training.state import TrainingState

ROOT = Path(__file__).parents[4]


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


def test_all_of_them_deleted_is_no_fresh_start(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    shutil.rmtree(folder.path(1))
    with pytest.raises(UserError, match=r"no checkpoint is whole.*restore one.*delete the job's folder"):
        folder.newest()


def test_a_newest_one_that_was_deleted_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    folder.write(snapshot(2), best=None)
    shutil.rmtree(folder.path(2))
    found = folder.newest()
    assert found is not None
    assert found.step == 1
    assert "step 2 is gone or damaged; going on from step 1" in caplog.text


@pytest.mark.parametrize("harm", ["none", "flip"])
def test_a_step_that_is_there_already_is_written_again_only_where_it_is_damaged(tmp_path: Path, harm: str) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    written = (folder.path(1) / WEIGHTS).stat().st_mtime_ns
    if harm == "flip":
        (folder.path(1) / STATE).write_text("{}")
    folder.write(snapshot(1), best=None)
    assert folder.problem(1) is None
    assert ((folder.path(1) / WEIGHTS).stat().st_mtime_ns == written) == (harm == "none")


def test_the_configuration_stands_in_it(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3, config={"seed": 7})
    assert folder.config() == {}
    folder.write(snapshot(1), best=None)
    assert CheckpointFolder(tmp_path, keep=3).config() == {"seed": 7}


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    path = CheckpointFolder(tmp_path, keep=3).write(snapshot(1), best=None)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}
    assert not any(b"\x80\x04" in file.read_bytes()[:2] for file in path.iterdir())


FULL = """
import resource, sys
from pathlib import Path
from data_tools.errors import UserError
from tests.unit.trainer.job_folder.test_checkpoint import snapshot
from trainer.job_folder.checkpoint import CheckpointFolder
folder = CheckpointFolder(Path(sys.argv[1]), keep=3)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    folder.write(snapshot(2), best=None)
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 30, 100, 200])
def test_a_full_disk_is_one_line_and_what_was_saved_stays(tmp_path: Path, room: int) -> None:
    """`room`: bytes that fit into a file, so that one file after the other is the one that does not."""
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    command = [sys.executable, "-c", FULL, str(tmp_path), str(room)]
    ended = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "earlier ones are untouched: make room" in ended.stdout
    assert len(ended.stdout.splitlines()) == 1
    assert folder.steps() == [1]
    assert folder.problem(1) is None
    folder.write(snapshot(2), best=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [POINTER, "step-00000001", "step-00000002"]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("val_accuracy", [0.5, 0.7, 0.7, 0.6], 2),  # the first of equals
        ("val_loss", [0.5, 0.3, 0.3, 0.4], 2),
        ("val_loss", [float("nan"), 0.9, float("inf")], 2),  # any figure is better than none
        ("val_loss", [float("nan"), float("nan")], 1),  # and some epoch is the best
    ],
)
def test_the_best_by_its_metric(metric: str, values: list[float], best: int) -> None:
    state = TrainingState()
    for epoch, value in enumerate(values, start=1):
        state.step += 4
        state.after_epoch({"epoch": epoch, metric: value}, PlateauState(), metric=metric)
    assert state.best is not None
    assert (state.best.epoch, state.best.step, state.best.metric) == (best, 4 * best, metric)


def test_seconds_are_added_up_over_epochs() -> None:
    state = TrainingState(epoch_seconds=3.0)
    state.after_epoch({"epoch": 1, "val_accuracy": 0.5}, PlateauState(), metric="val_accuracy")
    assert (state.seconds, state.epoch_seconds) == (3.0, 0.0)


def test_whoever_leaves_because_of_an_error_has_written_first(tmp_path: Path) -> None:
    """Otherwise the next attempt, which may run in the same process, would find the checkpoint half there."""
    begun, go_on, order = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        assert go_on.wait(timeout=30)
        order.append("written")

    writer = BackgroundWriter(CheckpointFolder(tmp_path, keep=1))
    with pytest.raises(RuntimeError, match="the job's own"), writer:
        writer.begin(slow)
        assert begun.wait(timeout=30)
        threading.Timer(0.05, go_on.set).start()
        raise RuntimeError("the job's own")
    order.append("left")
    assert order == ["written", "left"]
