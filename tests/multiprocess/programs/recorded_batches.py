"""Program: launch/train.py that records the pages of each training batch of this rank before the step."""

import os
import sys
from pathlib import Path
from typing import Any

from data_tools.files import append_line
from launch.train import main
from trainer.training.loop import Loop

PLACE = Path(os.environ["RECORDED_BATCHES"])
train_to = Loop.train_to


class Recorded:
    """The batches of a loop; `step` counts the finished steps before the next batch."""

    def __init__(self, loop: Loop, batches: Any) -> None:
        self.loop, self.batches, self.step = loop, batches, loop.state.step

    def __next__(self) -> Any:
        batch = next(self.batches)
        line = {"size": self.loop.world.size, "step": self.step, "positions": batch.positions.tolist()}
        append_line(PLACE / f"rank-{self.loop.world.rank}.jsonl", line)
        self.step += 1
        return batch


def recorded(self: Loop, target: int, batches: Any) -> None:
    train_to(self, target, Recorded(self, batches))  # type: ignore[arg-type]


Loop.train_to = recorded  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
