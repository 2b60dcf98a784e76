"""Checkpoints: one folder per step with checksums, complete or absent; a job resumes from the newest intact one."""

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
from data_tools.files import (
    UNFINISHED,
    atomic_folder,
    read_json,
    read_json_object,
    sha256,
    temporary_name,
    write_json,
)
from trainer.network.weights import load_arrays, save_arrays

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
CONFIG = "config.json"
MANIFEST = "manifest.json"
POINTER = "newest.json"
DAMAGED = "damaged-"
TRAIN_AGAIN = "restore it from a copy of the run, or train its job again"
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Snapshot:
    """Everything that a job needs to resume after `step` finished steps.

    weights, optimizer: arrays by variable name. state: plain data (schedule, history, sums of the epoch).
    """

    step: int
    weights: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    state: Mapping[str, Any]


class CheckpointFolder:
    """The checkpoints of one job; only its rank 0 writes them.

    keep: number of newest checkpoints to keep. config: the job's configuration, written into each.
    """

    def __init__(self, folder: Path, *, keep: int, config: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.keep = keep
        self._config = dict(config or {})

    def path(self, step: int) -> Path:
        """Folder of the checkpoint after `step` finished steps."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, in ascending order."""
        if not self.folder.is_dir():
            return []
        matches = [_NAME.fullmatch(entry.name) for entry in self.folder.iterdir()]
        return sorted(int(match.group(1)) for match in matches if match)

    def write(self, snapshot: Snapshot, *, best: int | None) -> Path:
        """Write a checkpoint, update the pointer, then delete all but the newest ones and that of step `best`.

        Files are synced before the folder gets its final name, and the name before the pointer is replaced: a folder
        with a final name is complete, at whatever moment the process or its host dies.

        Raises:
            UserError: the disk is full or the folder is not writable; older checkpoints are untouched.
        """
        path = self.path(snapshot.step)
        try:
            if path.exists() and self._intact(snapshot.step):
                logger.info("%s: exists already", path)
            else:
                self._write_files(path, snapshot)
            write_json(self.folder / POINTER, {"step": snapshot.step})
            self._prune({snapshot.step, best})
        except OSError as error:
            raise UserError(
                f"{path}: the checkpoint could not be written ({error}); earlier ones are untouched: make room or "
                "repair the folder, then run the same command again"
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
                # Rename it first: a folder that is only half deleted must not have a checkpoint's name.
                self.path(step).rename(temporary_name(self.path(step)))
        for leftover in self.folder.glob(f"{UNFINISHED}*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def config(self) -> dict[str, Any]:
        """The configuration from the newest checkpoint that has one; empty if none has."""
        for step in reversed(self.steps()):
            with contextlib.suppress(UserError):
                return dict(read_json(self.path(step) / CONFIG))
        return {}

    def newest(self) -> Snapshot | None:
        """The newest intact checkpoint, or None if none was ever written. Corrupt ones are renamed to `damaged-…`.

        Raises:
            UserError: checkpoints were written, and none of them is intact.
        """
        for step in reversed(self.steps()):
            if self._intact(step):
                self._warn_if_newer_is_gone(step)
                return self.read(step)
        if (self.folder / POINTER).exists() or any(self.folder.glob(f"{DAMAGED}*")):
            raise UserError(
                f"{self.folder}: no checkpoint is intact, so the job cannot resume; restore one from a backup, or "
                f"delete the job's folder {self.folder.parent} to train it from scratch"
            )
        return None

    def missing(self, step: int) -> bool:
        """Whether the checkpoint after `step` steps, or a file of it, is missing; contents are not checked."""
        return not all((self.path(step) / name).exists() for name in (WEIGHTS, OPTIMIZER, STATE, MANIFEST))

    def _intact(self, step: int) -> bool:
        """Whether a checkpoint is intact; a corrupt one is renamed."""
        problem = self.problem(step)
        if problem is None:
            return True
        damaged = self.folder / f"{DAMAGED}{self.path(step).name}"
        logger.warning("checkpoint %s is corrupt (%s); renamed to %s", self.path(step), problem, damaged.name)
        shutil.rmtree(damaged, ignore_errors=True)
        self.path(step).rename(damaged)
        return False

    def _warn_if_newer_is_gone(self, step: int) -> None:
        """Warn if the pointer names a later checkpoint than `step`, the newest intact one."""
        pointer = self.folder / POINTER
        try:
            pointed = int(read_json(pointer)["step"]) if pointer.exists() else step
        except (UserError, KeyError, TypeError, ValueError):
            return
        if pointed > step:
            logger.warning(
                "%s: the checkpoint of step %d is missing or corrupt; resuming from step %d", self.folder, pointed, step
            )

    def problem(self, step: int) -> str | None:
        """What is wrong with a checkpoint, in one line; None if it is intact."""
        path = self.path(step)
        try:
            expected = read_json(path / MANIFEST)["sha256"]
            if not {WEIGHTS, OPTIMIZER, STATE} <= set(expected):
                return f"{MANIFEST}: lists too few files"
            with ThreadPoolExecutor(len(expected)) as pool:
                found = list(pool.map(lambda name: sha256(path / name), expected))
            for name, digest in zip(expected, found, strict=True):
                if digest != expected[name]:
                    return f"{name}: checksum differs"
        except (UserError, OSError, KeyError, TypeError, AttributeError) as error:
            return str(error)
        return None

    def read(self, step: int) -> Snapshot:
        """The checkpoint after `step` steps, without verifying its checksums.

        Raises:
            UserError: a file is missing or unreadable.
        """
        path = self.path(step)
        state = read_json(path / STATE)
        return Snapshot(step, load_arrays(path / WEIGHTS), load_arrays(path / OPTIMIZER), state)


def verified_sha256(path: Path) -> str:
    """The hex SHA-256 of a checkpoint's file, verified against the one in the checkpoint's manifest.

    Raises:
        UserError: the file differs or cannot be read, or the manifest is missing or damaged.
    """
    try:
        found = sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); {TRAIN_AGAIN}") from None
    manifest = path.with_name(MANIFEST)
    expected = read_json_object(manifest, {"sha256": dict}, advice=TRAIN_AGAIN)["sha256"]
    if path.name not in expected:
        raise UserError(f"{manifest}.sha256: has no {path.name}; {TRAIN_AGAIN}")
    if found != expected[path.name]:
        raise UserError(f"{path}: changed since it was written (checksum); {TRAIN_AGAIN}")
    return found
