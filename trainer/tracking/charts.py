"""What TensorBoard shows of a job: curves within the epochs, figures of each epoch, sample pages, test figures."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.shard_set import ShardSet
from trainer.tracking.event import event
from trainer.tracking.event_file import EventFile

POINTS_PER_EPOCH = 25
"""Points within an epoch, at the same steps in every attempt; reading the sums of loss and accuracy waits for the
device."""
SAMPLE_PAGES = 8

WITHIN, EPOCH, PAGES, TEST = "training/", "epoch/", "pages/", "test/"
OF_AN_EPOCH = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "pages_per_s")
OF_TEST = ("test_loss", "test_accuracy")


def point_steps(steps_per_epoch: int) -> int:
    """Steps between two points within an epoch."""
    return max(1, -(-steps_per_epoch // POINTS_PER_EPOCH))


def still_holds(step: int, tag: str, *, resumed_at: int, last_epoch_at: int) -> bool:
    """Whether a point of an earlier attempt is of what the resumed job has done.

    resumed_at: step of the checkpoint; last_epoch_at: step at which the last epoch that it holds ended.
    """
    if tag.startswith(WITHIN):
        return step <= resumed_at
    return tag.startswith((EPOCH, PAGES)) and step <= last_epoch_at


@dataclass
class Charts:
    """The curves of one job; writes on rank 0 alone, and nothing if `on` is false.

    resumed_at, last_epoch_at: see `still_holds`; 0, 0: a new job.
    """

    folder: Path
    on: bool
    resumed_at: int = 0
    last_epoch_at: int = 0
    _timed: tuple[float, int] | None = field(default=None, init=False)
    _waited_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._file = EventFile(
            self.folder,
            keep=lambda step, tag: still_holds(step, tag, resumed_at=self.resumed_at, last_epoch_at=self.last_epoch_at),
        )
        if self.on:
            self._file.begin()

    def stepped(self, step: int, *, waited_s: float) -> None:
        """Count a step and the seconds that it waited for its pages; the first one of an epoch, which may compile,
        starts the clock.
        """
        if self._timed is None:
            self._timed, self._waited_s = (time.monotonic(), step), 0.0
        else:
            self._waited_s += waited_s

    def due(self, step: int, steps_per_epoch: int) -> bool:
        """Whether a point is due after `step` finished steps; ask before computing its figures."""
        return self.on and step % steps_per_epoch % point_steps(steps_per_epoch) == 0

    def within(self, step: int, figures: Mapping[str, float], *, global_batch: int) -> None:
        """A point within an epoch: `figures`, pages per second, and the share of the time that waits for pages."""
        self._add(step, WITHIN, {**figures, **self._pace(step, global_batch)})

    def epoch(self, row: Mapping[str, Any]) -> None:
        """The figures of a finished epoch, an `EpochRow`."""
        self._timed = None
        if self.on:
            self._add(int(row["step"]), EPOCH, {name: row[name] for name in OF_AN_EPOCH if row.get(name) is not None})

    def pages(self, step: int, shards: ShardSet, softmax: NDArray[np.floating], *, among: NDArray[np.bool_]) -> None:
        """Sample pages with their labels and predictions, the same ones in every epoch.

        softmax: float [n, C], of all n pages of `shards`; among: bool [n], the pages to choose from.
        """
        if self.on:
            from trainer.tracking.pictures import captioned, sample_positions  # Imported late: it loads OpenCV.

            allowed = np.flatnonzero(among)
            chosen = allowed[sample_positions(shards.labels[allowed], SAMPLE_PAGES)]
            names = _names(shards)
            images = {
                f"{PAGES}{number}": captioned(page, int(shards.labels[place]), softmax[place], names)
                for number, (place, page) in enumerate(
                    zip(chosen.tolist(), shards.gather(chosen), strict=True), start=1
                )
            }
            self._file.add(event(step, wall_time=time.time(), images=images))

    def test(self, step: int, figures: Mapping[str, float]) -> None:
        """Loss and accuracy on the test pages, at the job's last step."""
        if self.on:
            found = {name.removeprefix("test_"): figures[name] for name in OF_TEST if name in figures}
            self._add(step, TEST, found)

    def _pace(self, step: int, global_batch: int) -> dict[str, float]:
        if self._timed is None or step <= self._timed[1]:
            return {}
        (then, first), now, waited_s = self._timed, time.monotonic(), self._waited_s
        self._timed, self._waited_s = (now, step), 0.0
        return {"pages_per_s": (step - first) * global_batch / (now - then), "input_wait": waited_s / (now - then)}

    def _add(self, step: int, group: str, figures: Mapping[str, float]) -> None:
        scalars = {f"{group}{name}": float(value) for name, value in figures.items()}
        self._file.add(event(step, wall_time=time.time(), scalars=scalars))


def _names(shards: ShardSet) -> Sequence[str]:
    return [str(name) for name in shards.manifest.class_names]
