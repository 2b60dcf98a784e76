"""A step whose loss or gradients are not finite: its pages, a file with its batch, and the message."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_tools.files import write_atomically
from data_tools.shards.reader import ShardSet, TrainBatches
from trainer.config import JobConfig

IDS_SHOWN = 8


class MixedPages(NamedTuple):
    """What each page of a batch was mixed with: ids str [b], labels int32 [b], own shares float32 [b]."""

    ids: NDArray[np.str_]
    labels: NDArray[np.int32]
    shares: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NonFiniteStep:
    """The global batch of a step whose loss or gradients are not finite.

    ids: str [b]; labels: int32 [b]; images: uint8 [b, h, w, c]; losses: float32 [b]. compression_overflow: loss and
    gradients are finite on every rank, and only their float16 copies for the all-reduce overflow. mixed: None unless
    mixup or cutmix is on.
    """

    step: int
    ids: NDArray[np.str_]
    labels: NDArray[np.int32]
    images: NDArray[np.uint8]
    losses: NDArray[np.floating[Any]]
    compression_overflow: bool = False
    mixed: MixedPages | None = None


def read_nonfinite_step(
    shards: ShardSet, config: JobConfig, *, step: int, losses: NDArray[Any], compression_overflow: bool
) -> NonFiniteStep:
    """Read the global batch of step number `step` (from 1) again; it depends on the seed and the step alone.

    losses: float32 [b], of all ranks, rank 0's first, which is the order of the batch.
    """
    with TrainBatches(shards, config.batch_plan(), start_step=step - 1, prefetch=1) as batches:
        batch = next(batches)
    ids = np.array(shards.page_ids(batch.positions), np.str_)
    labels, images = batch.labels.copy(), batch.images.copy()
    mixed = None
    if batch.mix is not None:
        partners = np.array(shards.page_ids(batch.mix.positions), np.str_)
        mixed = MixedPages(partners, batch.mix.labels, batch.mix.shares)
    return NonFiniteStep(step, ids, labels, images, losses, compression_overflow, mixed)


def file_of(folder: Path, step: int) -> Path:
    """The file with the batch of such a step, in the job's folder."""
    return folder / f"not-finite-step-{step:08d}.npz"


def dump(folder: Path, bad: NonFiniteStep) -> Path:
    """Write the step's batch as arrays without pickle: step, ids (UTF-8 bytes), labels, images, losses.

    If pages were mixed, also partner_ids, partner_labels and shares.
    """
    buffer = io.BytesIO()
    mixed: dict[str, NDArray[Any]] = {}
    if bad.mixed is not None:
        mixed = {
            "partner_ids": _encoded(bad.mixed.ids), "partner_labels": bad.mixed.labels, "shares": bad.mixed.shares,
        }  # fmt: skip
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        step=np.int64(bad.step),
        ids=_encoded(bad.ids),
        labels=bad.labels,
        images=bad.images,
        losses=bad.losses.astype(np.float32),
        **mixed,
    )
    path = file_of(folder, bad.step)
    write_atomically(path, buffer.getvalue())
    return path


def _encoded(ids: NDArray[np.str_]) -> NDArray[np.bytes_]:
    return np.array([page_id.encode() for page_id in ids.tolist()], np.bytes_)


def _names(bad: NonFiniteStep) -> NDArray[np.str_]:
    """The pages' ids, each with that of the page that it is mixed with."""
    if bad.mixed is None:
        return bad.ids
    rows = zip(bad.ids.tolist(), bad.mixed.ids.tolist(), (bad.mixed.shares < 1).tolist(), strict=True)
    return np.array([f"{own} with {partner}" if mixed else own for own, partner, mixed in rows], np.str_)


def describe(folder: Path, bad: NonFiniteStep) -> str:
    """One line: the step, what is not finite, the pages (if their own loss is not finite: only those), what to do."""
    nonfinite = ~np.isfinite(bad.losses)
    names = _names(bad)
    ids = names.tolist()
    advice = "lower the stage's learning_rate or set optimizer.clip_norm"
    if bad.compression_overflow:
        what = "the gradients are finite, but overflow as float16 (more than 65,504) in the all-reduce"
        # clip_norm would not help: clipping follows the all-reduce.
        advice = "set training.compression: none; if the loss was growing, lower the stage's learning_rate as well"
    elif nonfinite.any():
        what = f"the loss is not finite on {nonfinite.sum()} of {len(nonfinite)} pages"
        ids = names[nonfinite].tolist()
    else:
        what = "the gradients are not finite"
    more = f" and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
    return (
        f"step {bad.step}: {what} ({', '.join(ids[:IDS_SHOWN])}{more}); the batch is in {file_of(folder, bad.step)}; "
        f"{advice}; the last checkpoint precedes this step"
    )
