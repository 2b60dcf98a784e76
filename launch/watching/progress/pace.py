"""The progress records of one attempt of a job, and when they are worth a line."""

from dataclasses import dataclass
from typing import Any

from launch.run.schema import ProgressRecord
from launch.terminal.wording import duration

LINE_EVERY_S = 10.0
"""Least time between two lines about one job without a terminal; the line of an epoch's end waits for it."""

LINE_AT_LEAST_EVERY_S = 60.0
"""Longest time between two lines about one job without a terminal."""


@dataclass(frozen=True)
class Figures:
    """What a person follows, as text; empty where it is unknown or belongs to another phase."""

    phase: str
    epoch: str
    step: str
    loss: str
    accuracy: str
    rate: str
    left: str


class JobPace:
    """The progress records of one attempt, and when they are worth a line. Times are unix seconds.

    previous: the record that an earlier attempt left. It is recognized by its time, not by its age, since the clocks of
    hosts differ.
    """

    def __init__(self, name: str, started: float, *, previous: ProgressRecord | None = None) -> None:
        self.name = name
        self.started = started
        self.latest = ProgressRecord()
        self._previous_time = (previous or {}).get("time")
        self._line_time = started
        self._line_epoch: int | None = None
        self._line_doing: str | None = None

    def take(self, record: ProgressRecord) -> bool:
        """Keep a progress record if it is new and of this attempt; whether it was."""
        moment = record.get("time")
        if not isinstance(moment, int | float) or moment in (self._previous_time, self.latest.get("time")):
            return False
        self.latest = record
        return True

    def seconds_left(self) -> float | None:
        """Seconds that the remaining steps and the ends of the remaining epochs take; None: unknown yet.

        Neither compilation nor the time before this attempt counts. Ends of epochs count once one was measured.
        """
        latest = self.latest
        step, steps, step_s = latest.get("step"), latest.get("steps"), latest.get("step_s")
        if step is None or not steps or not is_number(step_s) or step_s is None or step >= steps:
            return None
        ends = (latest.get("epochs") or 0) - (latest.get("epoch") or 0)
        # In the evaluation that follows an epoch, that epoch's end has begun.
        ends += 0 if latest.get("phase") == "evaluating" else 1
        return (steps - step) * step_s + max(0, ends) * float(latest.get("epoch_end_s") or 0.0)

    def line(self, now: float) -> str | None:
        """A line if one is due: at each part of the start, at the end of an epoch, but not too often, and after a long
        silence.
        """
        if not self.latest:
            return None
        waited, epoch, doing = now - self._line_time, self.latest.get("epoch"), self.latest.get("doing")
        new_epoch = epoch != self._line_epoch and waited >= LINE_EVERY_S
        new_doing = doing is not None and doing != self._line_doing
        if not (new_epoch or new_doing) and waited < LINE_AT_LEAST_EVERY_S:
            return None
        self._line_time, self._line_doing = now, doing
        if not new_doing:
            self._line_epoch = epoch
        return f"{self.name}: {', '.join(part for part in self.parts() if part)}"

    def figures(self) -> Figures:
        """What is known now."""
        latest, left = self.latest, self.seconds_left()
        loss, accuracy, rate = latest.get("loss"), latest.get("accuracy"), latest.get("pages_per_s")
        phase = str(latest.get("phase", "starting"))
        training = phase == "training"  # in other phases, these are not figures of the epoch
        doing = latest.get("doing")
        return Figures(
            phase=f"{phase}: {doing}" if doing and phase == "starting" else phase,
            epoch=f"{latest.get('epoch')}/{latest.get('epochs')}" if latest.get("epoch") is not None else "",
            step=f"{latest.get('step') or 0}/{latest.get('steps')}" if latest.get("steps") else "",
            loss=f"{loss:.3f}" if training and is_number(loss) else "",
            accuracy=f"{accuracy:.1%}" if training and is_number(accuracy) else "",
            rate=f"{rate:,.0f}" if training and is_number(rate) else "",
            left=duration(left) if left is not None else "",
        )

    def parts(self) -> list[str]:
        """The figures with their names."""
        now = self.figures()
        return [
            now.phase,
            f"epoch {now.epoch}" if now.epoch else "",
            f"step {now.step}" if now.step else "",
            f"loss {now.loss}" if now.loss else "",
            f"accuracy {now.accuracy}" if now.accuracy else "",
            f"{now.rate} pages/s" if now.rate else "",
            f"{now.left} left" if now.left else "",
        ]


def is_number(value: Any) -> bool:
    """Whether `value` is a number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
