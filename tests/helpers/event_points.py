"""Event files of a job, read with TensorBoard's own reader."""

import sys
import types
from dataclasses import dataclass
from pathlib import Path

# TensorBoard then reads with its own code and does not load TensorFlow, which takes seconds.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

PACE = {"training/pages_per_s", "training/input_wait", "epoch/seconds", "epoch/pages_per_s"}
"""Tags whose values are times, which no two runs share."""


@dataclass(frozen=True)
class Points:
    """scalars: (step, value) by tag. images: steps by tag."""

    scalars: dict[str, list[tuple[int, float]]]
    images: dict[str, list[int]]


def points_in(folder: Path) -> Points:
    """All points of the event files in `folder`, as `tensorboard --logdir` shows them."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    return Points(
        {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags["scalars"]},
        {tag: [picture.step for picture in events.Images(tag)] for tag in tags["images"]},
    )
