"""Checkpoints are complete or absent, and the newest intact one is read."""

import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import read_json
from trainer.job_folder.checkpoint import (
    MANIFEST,
    POINTER,
    STATE,
    WEIGHTS,
    CheckpointFolder,
    Snapshot,
    verified_sha256,
)
from trainer.job_folder.writer import BackgroundWriter
from trainer.optimizer.schedule import PlateauState
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
        (2, 2, [2, 5, 6]),  # the best one stays with the newest ones
        (9, 2, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_which_checkpoints_stay(tmp_path: Path, keep: int, best: int | None, left: list[int]) -> None:
    folder = CheckpointFolder(tmp_path, keep=keep)
    for step in range(1, 7):
        folder.write(snapshot(step), best=best)
    assert folder.steps() == left


@pytest.mark.parametrize("file", [WEIGHTS, STATE, MANIFEST])
@pytest.mark.parametrize("harm", ["cut", "flip", "delete"])
def test_a_corrupt_one_is_renamed_and_the_one_before_it_is_read(tmp_path: Path, file: str, harm: str) -> None:
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


def test_without_an_intact_one_the_job_fails(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    (folder.path(1) / WEIGHTS).write_bytes(b"")
    for _ in range(2):  # the second time only renamed ones are left; still no start from scratch
        with pytest.raises(UserError, match="no checkpoint is intact"):
            folder.newest()


def test_leftovers_of_a_killed_writer_are_ignored_and_deleted(tmp_path: Path) -> None:
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


def test_an_unwritable_pointer_is_one_line_and_keeps_the_older_ones(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    # The pointer cannot be written: a folder has its name.
    (tmp_path / POINTER).unlink()
    (tmp_path / POINTER).mkdir()
    with pytest.raises(UserError, match="make room"):
        folder.write(snapshot(2), best=None)
    assert folder.problem(1) is None


def test_the_background_writer_re_raises_its_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    writer = BackgroundWriter(CheckpointFolder(blocked, keep=1))
    writer.submit(snapshot(1), best=None)
    with pytest.raises(UserError, match="could not be written"):
        writer.wait()
    writer.wait()  # reported once


def test_if_all_are_deleted_the_job_does_not_start_from_scratch(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    shutil.rmtree(folder.path(1))
    with pytest.raises(UserError, match=r"no checkpoint is intact.*restore one.*delete the job's folder"):
        folder.newest()


def test_a_deleted_newest_one_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    folder.write(snapshot(2), best=None)
    shutil.rmtree(folder.path(2))
    found = folder.newest()
    assert found is not None
    assert found.step == 1
    assert "step 2 is missing or corrupt; resuming from step 1" in caplog.text


@pytest.mark.parametrize("harm", ["none", "flip"])
def test_an_existing_step_is_written_again_only_if_it_is_corrupt(tmp_path: Path, harm: str) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.write(snapshot(1), best=None)
    written = (folder.path(1) / WEIGHTS).stat().st_mtime_ns
    if harm == "flip":
        (folder.path(1) / STATE).write_text("{}")
    folder.write(snapshot(1), best=None)
    assert folder.problem(1) is None
    assert ((folder.path(1) / WEIGHTS).stat().st_mtime_ns == written) == (harm == "none")


def test_it_contains_the_configuration(tmp_path: Path) -> None:
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
def test_a_full_disk_is_one_line_and_saved_checkpoints_stay(tmp_path: Path, room: int) -> None:
    """room: bytes that fit into a file, chosen so that each file in turn is the first that does not fit."""
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
        ("val_accuracy", [0.5, 0.7, 0.7, 0.6], 2),  # the first of equal ones
        ("val_loss", [0.5, 0.3, 0.3, 0.4], 2),
        ("val_loss", [float("nan"), 0.9, float("inf")], 2),  # any finite figure is better
        ("val_loss", [float("nan"), float("nan")], 1),  # some epoch must be the best
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


def test_after_an_error_the_checkpoint_is_written_before_the_exit(tmp_path: Path) -> None:
    """Otherwise the next attempt, which may run in the same process, would find an incomplete checkpoint."""
    started, resume, order = threading.Event(), threading.Event(), []

    def slow() -> None:
        started.set()
        assert resume.wait(timeout=30)
        order.append("written")

    writer = BackgroundWriter(CheckpointFolder(tmp_path, keep=1))
    with pytest.raises(RuntimeError, match="the job's own"), writer:
        writer.begin(slow)
        assert started.wait(timeout=30)
        threading.Timer(0.05, resume.set).start()
        raise RuntimeError("the job's own")
    order.append("left")
    assert order == ["written", "left"]


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (None, f"{MANIFEST}: no such file"),
        ('{"sha256": {"weig', f"{MANIFEST}: not readable as JSON"),
        ("null", f"{MANIFEST}: expected a JSON object"),
        ("{}", f"{MANIFEST}: has no sha256"),
        ('{"sha256": null}', f"{MANIFEST}.sha256: expected an object, found null"),
        ('{"sha256": {}}', f"{MANIFEST}.sha256: has no {WEIGHTS}"),
        ('{"sha256": {"weights.safetensors": null}}', f"{WEIGHTS}: changed since it was written"),
    ],
)
def test_weights_without_their_checksum_are_named(tmp_path: Path, manifest: str | None, problem: str) -> None:
    path = CheckpointFolder(tmp_path, keep=1).write(snapshot(1), best=None)
    assert verified_sha256(path / WEIGHTS) == hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()
    if manifest is None:
        (path / MANIFEST).unlink()
    else:
        (path / MANIFEST).write_text(manifest)
    with pytest.raises(UserError, match=f"^{path}/{problem}.*copy of the run"):
        verified_sha256(path / WEIGHTS)
