"""Checkpoints: a folder per step, whole or absent, with checksums; the newest whole one is what counts."""

import logging
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.errors import UserError
from data_tools.files import UNFINISHED, atomic_folder, read_json, sha256, write_json
from trainer.weights import load_arrays, save_arrays

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
MANIFEST = "manifest.json"
POINTER = "newest.json"
DAMAGED = "damaged-"
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Snapshot:
    """All that a job needs to go on from `step` finished steps.

    weights, optimizer: arrays by variable name; state: plain data (schedule, history, sums of the epoch).
    """

    step: int
    weights: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    state: Mapping[str, Any]


class CheckpointFolder:
    """The checkpoints of one job, written by its rank 0 alone."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def path(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        if not self.folder.is_dir():
            return []
        matches = [_NAME.fullmatch(entry.name) for entry in self.folder.iterdir()]
        return sorted(int(match.group(1)) for match in matches if match)

    def write(self, snapshot: Snapshot, *, best: int | None) -> Path:
        """Write a checkpoint, point to it, then drop those that are neither among the newest nor `best`.

        Raises:
            UserError: the disk is full or the folder cannot be written; older checkpoints are untouched.
        """
        path = self.path(snapshot.step)
        try:
            if not path.exists():
                with atomic_folder(path) as temporary:
                    save_arrays(temporary / WEIGHTS, snapshot.weights)
                    save_arrays(temporary / OPTIMIZER, snapshot.optimizer)
                    write_json(temporary / STATE, dict(snapshot.state))
                    files = {name: sha256(temporary / name) for name in (WEIGHTS, OPTIMIZER, STATE)}
                    write_json(temporary / MANIFEST, {"step": snapshot.step, "sha256": files})
            write_json(self.folder / POINTER, {"step": snapshot.step})
        except OSError as error:
            raise UserError(
                f"{path}: the checkpoint could not be written ({error}); earlier ones are untouched: make room or "
                "mend the folder, then run the same command again"
            ) from None
        self._prune({snapshot.step, best})
        return path

    def _prune(self, wanted: set[int | None]) -> None:
        for step in self.steps()[: -self.keep]:
            if step not in wanted:
                shutil.rmtree(self.path(step), ignore_errors=True)
        for leftover in self.folder.glob(f"{UNFINISHED}*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)

    def newest(self) -> Snapshot | None:
        """The newest whole checkpoint; damaged ones are set aside under another name. None where there are none.

        Raises:
            UserError: there are checkpoints, and not one of them is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            problem = self.problem(step)
            if problem is None:
                return self.read(step)
            aside = self.folder / f"{DAMAGED}{self.path(step).name}"
            logger.warning("checkpoint %s is damaged (%s); set aside as %s", self.path(step), problem, aside.name)
            shutil.rmtree(aside, ignore_errors=True)
            self.path(step).rename(aside)
        if steps or any(self.folder.glob(f"{DAMAGED}*")):
            raise UserError(
                f"{self.folder}: no checkpoint is whole, so the job does not go on; restore one from a backup, or "
                "delete the job's folder to train it from the start"
            )
        return None

    def problem(self, step: int) -> str | None:
        """What is wrong with a checkpoint, or None."""
        path = self.path(step)
        try:
            expected = read_json(path / MANIFEST)["sha256"]
            for name, digest in expected.items():
                if sha256(path / name) != digest:
                    return f"{name}: checksum differs"
        except (UserError, OSError, KeyError, TypeError, AttributeError) as error:
            return str(error)
        return None

    def read(self, step: int) -> Snapshot:
        """The checkpoint after `step` steps, without checking it again."""
        path = self.path(step)
        state = read_json(path / STATE)
        return Snapshot(step, load_arrays(path / WEIGHTS), load_arrays(path / OPTIMIZER), state)


class BackgroundWriter:
    """Writes snapshots in a thread, one at a time, so that training waits only where the disk is slower than it."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, snapshot: Snapshot, *, best: int | None) -> None:
        """Begin to write `snapshot`, after the one before it.

        Raises:
            UserError: the one before it could not be written.
        """
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(snapshot, best), name="checkpoint")
        self._thread.start()

    def _write(self, snapshot: Snapshot, best: int | None) -> None:
        try:
            self._folder.write(snapshot, best=best)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error

    def wait(self) -> None:
        """Return when nothing is being written any more; raise what the last write raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
