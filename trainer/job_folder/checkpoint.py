"""Checkpoints: a folder per step, whole or absent, with checksums; the newest whole one is what counts."""

import contextlib
import logging
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.errors import UserError
from data_tools.files import UNFINISHED, atomic_folder, read_json, sha256, temporary_name, write_json
from trainer.network.weights import load_arrays, save_arrays

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
CONFIG = "config.json"
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
    """The checkpoints of one job, written by its rank 0 alone.

    keep: newest ones that stay; config: the job's configuration, written into each.
    """

    def __init__(self, folder: Path, *, keep: int, config: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.keep = keep
        self._config = dict(config or {})

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

        Every file is synced before its folder gets its name, and that name before the pointer: whatever moment the
        process or its host dies at, what carries a final name is whole.

        Raises:
            UserError: the disk is full or the folder cannot be written; older checkpoints are untouched.
        """
        path = self.path(snapshot.step)
        try:
            if path.exists() and self._whole(snapshot.step):
                logger.info("%s: written already", path)
            else:
                self._write_files(path, snapshot)
            write_json(self.folder / POINTER, {"step": snapshot.step})
            self._prune({snapshot.step, best})
        except OSError as error:
            raise UserError(
                f"{path}: the checkpoint could not be written ({error}); earlier ones are untouched: make room or "
                "mend the folder, then run the same command again"
            ) from None
        return path

    def _write_files(self, path: Path, snapshot: Snapshot) -> None:
        with atomic_folder(path) as temporary:
            save_arrays(temporary / WEIGHTS, snapshot.weights)
            save_arrays(temporary / OPTIMIZER, snapshot.optimizer)
            write_json(temporary / STATE, dict(snapshot.state))
            write_json(temporary / CONFIG, self._config)
            files = {name: sha256(temporary / name) for name in (WEIGHTS, OPTIMIZER, STATE, CONFIG)}
            write_json(temporary / MANIFEST, {"step": snapshot.step, "sha256": files})

    def _prune(self, wanted: set[int | None]) -> None:
        for step in self.steps()[: -self.keep]:
            if step not in wanted:
                # Renamed first: a folder that is half deleted must not carry a checkpoint's name.
                self.path(step).rename(temporary_name(self.path(step)))
        for leftover in self.folder.glob(f"{UNFINISHED}*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def config(self) -> dict[str, Any]:
        """The configuration in the newest checkpoint that holds one; empty where none does."""
        for step in reversed(self.steps()):
            with contextlib.suppress(UserError):
                return dict(read_json(self.path(step) / CONFIG))
        return {}

    def newest(self) -> Snapshot | None:
        """The newest whole checkpoint; damaged ones are set aside under another name. None where none was written.

        Raises:
            UserError: checkpoints were written, and not one of them is there and whole.
        """
        for step in reversed(self.steps()):
            if self._whole(step):
                self._tell_if_gone(step)
                return self.read(step)
        if (self.folder / POINTER).exists() or any(self.folder.glob(f"{DAMAGED}*")):
            raise UserError(
                f"{self.folder}: no checkpoint is whole, so the job does not go on; restore one from a backup, or "
                f"delete the job's folder {self.folder.parent} to train it from the start"
            )
        return None

    def missing(self, step: int) -> bool:
        """Whether the checkpoint after `step` steps is not there, or a file of it is not; looks at names alone."""
        return not all((self.path(step) / name).exists() for name in (WEIGHTS, OPTIMIZER, STATE, MANIFEST))

    def _whole(self, step: int) -> bool:
        """Whether a checkpoint is whole; if not, it is set aside."""
        problem = self.problem(step)
        if problem is None:
            return True
        aside = self.folder / f"{DAMAGED}{self.path(step).name}"
        logger.warning("checkpoint %s is damaged (%s); set aside as %s", self.path(step), problem, aside.name)
        shutil.rmtree(aside, ignore_errors=True)
        self.path(step).rename(aside)
        return False

    def _tell_if_gone(self, step: int) -> None:
        """Warn where the pointer names a later checkpoint than `step`, the newest whole one."""
        pointer = self.folder / POINTER
        try:
            pointed = int(read_json(pointer)["step"]) if pointer.exists() else step
        except (UserError, KeyError, TypeError, ValueError):
            return
        if pointed > step:
            logger.warning(
                "%s: the checkpoint of step %d is gone or damaged; going on from step %d", self.folder, pointed, step
            )

    def problem(self, step: int) -> str | None:
        """What is wrong with a checkpoint, or None."""
        path = self.path(step)
        try:
            expected = read_json(path / MANIFEST)["sha256"]
            if not {WEIGHTS, OPTIMIZER, STATE} <= set(expected):
                return f"{MANIFEST}: files are missing from it"
            with ThreadPoolExecutor(len(expected)) as pool:
                found = list(pool.map(lambda name: sha256(path / name), expected))
            for name, digest in zip(expected, found, strict=True):
                if digest != expected[name]:
                    return f"{name}: checksum differs"
        except (UserError, OSError, KeyError, TypeError, AttributeError) as error:
            return str(error)
        return None

    def read(self, step: int) -> Snapshot:
        """The checkpoint after `step` steps, without checking it again."""
        path = self.path(step)
        state = read_json(path / STATE)
        return Snapshot(step, load_arrays(path / WEIGHTS), load_arrays(path / OPTIMIZER), state)
