"""Agreement of all ranks on stop requests and due checkpoints: soon enough to stop in time, rare enough to be fast."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from data_tools.errors import Stopped
from trainer.job_folder.heartbeat import Heartbeat
from trainer.job_folder.writer import BackgroundWriter
from trainer.world import World

AGREE_S = 2.0
"""Longest time between two agreements, s, unless one step takes longer; a stop request waits at most that long."""


def steps_to_agreement(agree_steps: int, step_s: float) -> int:
    """Steps until the next agreement: `agree_steps`, or fewer if these take longer than AGREE_S.

    step_s: seconds a step takes.
    """
    return max(1, min(agree_steps, int(AGREE_S / max(step_s, 1e-9))))


class AgreementTimer:
    """Schedules agreements by steps (or batches of an evaluation), identically on every rank.

    The first agreement follows the first step, since the duration of a step is not known before.
    """

    def __init__(self, step: int) -> None:
        """step: finished steps so far."""
        self._step, self._last, self._next = step, step, step + 1
        self._at = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether the ranks agree after `step` finished steps."""
        self._step = step
        return step >= self._next

    def step_seconds(self) -> float:
        """Mean duration of a step on this rank since the last agreement, s."""
        return (time.monotonic() - self._at) / max(1, self._step - self._last)

    def schedule_next(self, agree_steps: int, step_s: float) -> None:
        """Schedule the next agreement. step_s: seconds a step takes, the same number on every rank."""
        self._at, self._last = time.monotonic(), self._step
        self._next = self._step + steps_to_agreement(agree_steps, step_s)


@dataclass
class Coordinator:
    """Publishes what one rank does and agrees with all other ranks on stop requests.

    stop_asked: whether this process received a stop request.
    on_progress: called with (phase, finished steps, finished batches of an evaluation) before each agreement.
    """

    world: World
    heartbeat: Heartbeat
    writer: BackgroundWriter
    agree_steps: int
    stop_asked: Callable[[], bool] = lambda: False
    on_progress: Callable[[str, int, int], None] = lambda phase, step, batch: None

    def publish(self, phase: str, *, step: int, batch: int = 0) -> None:
        """Update this rank's heartbeat and call `on_progress`."""
        self.heartbeat.at(phase, step=step, batch=batch)
        self.on_progress(phase, step, batch)

    def agree_on_flags(self, flags: Sequence[bool], timer: AgreementTimer) -> list[bool]:
        """For each flag, whether any rank has set it; then schedules the next agreement of `timer`."""
        self.heartbeat.waiting = True
        values = np.array([*flags, 1e6 * timer.step_seconds()], np.int64)
        *counts, microseconds = self.world.sum(values, name="agree").tolist()
        self.heartbeat.waiting = False
        timer.schedule_next(self.agree_steps, 1e-6 * microseconds / self.world.size)
        return [bool(count) for count in counts]

    def any_stop_asked(self) -> bool:
        """Whether any rank received a stop request; a collective."""
        return self.world.any([self.stop_asked()], name="stop")[0]

    def batch_callback(self, phase: str, *, step: int) -> Callable[[int], None]:
        """A function to call after each batch of an evaluation that follows `step` finished steps.

        It takes the number of finished batches and raises `Stopped` on all ranks once any of them has a stop request.
        """
        timer = AgreementTimer(0)

        def finished(batches: int) -> None:
            self.publish(phase, step=step, batch=batches)
            if timer.due(batches) and any(self.agree_on_flags([self.stop_asked()], timer)):
                self.exit_stopped(f"stopped while {phase} after step {step}, saved")

        return finished

    def exit_stopped(self, message: str) -> NoReturn:
        """Wait for the checkpoint writer, then exit on all ranks.

        Raises:
            Stopped: always, with `message`.
        """
        self.heartbeat.at("saving")
        self.writer.wait()
        # No rank exits before rank 0 has written: a launcher ends all ranks as soon as the first one exits.
        self.world.any([True], name="written")
        raise Stopped(message)
