"""The teacher's probabilities in the order of a student's training pages: an array on disk, mapped by every rank."""

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.files import read_json, write_atomically, write_json
from data_tools.shards.shard_set import ShardSet
from trainer.soft_targets.config import Distillation
from trainer.soft_targets.loss import SoftTargets

TARGETS = "targets.npy"
"""Probabilities float32 [pages, C], C-contiguous, in the order of the training shards, then of the unlabelled ones."""
PAGES = "targets.json"
"""Of which pages `TARGETS` is, and in which order."""
POOL = "pool"
"""Folder of the shards of unlabelled pages, in the teacher's folder."""


@dataclass(frozen=True, eq=False)
class TargetRows:
    """The targets of a training set. probabilities: float32 [pages, C], mapped; labelled: number of first pages that
    have a label."""

    probabilities: npt.NDArray[np.float32]
    labelled: int

    def of(self, positions: npt.NDArray[np.int64]) -> SoftTargets:
        """The targets of the pages at `positions` int64 [b]."""
        return SoftTargets(self.probabilities[positions], (positions < self.labelled).astype(np.float32))


def pool_folder(teacher: Path, region: str) -> Path:
    """Folder of the unlabelled pages' shard set of a region; teacher: the folder of the teacher's job."""
    return teacher / POOL / "train" / region


def order_of(sets: Sequence[ShardSet]) -> list[dict[str, int]]:
    """What identifies the pages of each set and their order: their number, and a checksum over their ids."""
    return [{"pages": len(one), "ids": zlib.crc32("\n".join(one.page_ids(range(len(one)))).encode())} for one in sets]


def write_targets(folder: Path, probabilities: npt.NDArray[np.floating], sets: Sequence[ShardSet]) -> None:
    """Write the targets of the pages of `sets`, one after the other, float [pages, C]; each file atomically."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(probabilities, np.float32), allow_pickle=False)
    write_atomically(folder / TARGETS, buffer.getvalue())
    write_json(folder / PAGES, {"sets": order_of(sets)})


def open_targets(folder: Path, sets: Sequence[ShardSet], *, classes: int) -> TargetRows:
    """Map the targets in `folder`, of the pages of `sets`: labelled ones, then, if there are two, unlabelled ones.

    Raises:
        UserError: they are missing or damaged, or of other pages, another order or other classes.
    """
    path = folder / TARGETS
    again = f"delete {folder} to compute them again"
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: the teacher's outputs cannot be read ({error}); {again}") from None
    pages = sum(len(one) for one in sets)
    if rows.dtype != np.float32 or rows.shape != (pages, classes):
        raise UserError(
            f"{path}: {list(rows.shape)} of {rows.dtype}, and the training pages need [{pages}, {classes}] of float32; "
            f"{again}"
        )
    if read_json(folder / PAGES).get("sets") != order_of(sets):
        raise UserError(f"{path}: is of other training pages than those in {sets[0].folder}; {again}")
    return TargetRows(np.asarray(rows), len(sets[0]))


def open_student_pages(train: ShardSet, folder: Path, config: Distillation) -> tuple[ShardSet, TargetRows]:
    """The training pages of a student, those without a label last, and their targets.

    folder: of the teacher's job. The label of a page without one is the teacher's most probable class.

    Raises:
        UserError: targets or shards are missing, or do not fit each other.
    """
    sets = [train]
    if config.unlabelled:
        sets.append(ShardSet.open(pool_folder(folder, train.manifest.region)))
    targets = open_targets(folder, sets, classes=len(train.manifest.class_ids))
    if len(sets) == 1:
        return train, targets
    joined = ShardSet.joined(sets)
    joined.labels[targets.labelled :] = targets.probabilities[targets.labelled :].argmax(axis=1)
    return joined, targets
