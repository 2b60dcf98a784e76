"""The pace of a job: seconds of its training steps alone, and of what follows each epoch."""

import time


class StepPace:
    """Measures steps without evaluations and without the first step after one, which may compile.

    global_batch: pages of a step.
    """

    def __init__(self, global_batch: int) -> None:
        self._batch = global_batch
        self._since: tuple[float, int] | None = None
        self._total = self._epoch = (0.0, 0)
        self._rate: float | None = None
        self._paused = 0.0
        self._first_batch: float | None = None
        self._epoch_end_s: float | None = None
        self.epoch_rate: float | None = None
        """Pages per second of all ranks in the last epoch; None: it had no second step in this attempt."""

    def stepped(self, step: int) -> None:
        """Count a finished step, the number `step`."""
        self._since = self._since or (time.monotonic(), step)

    def measure(self, step: int) -> None:
        """Take the pace since the last call, after `step` finished steps."""
        if self._since is not None and step > self._since[1]:
            (then, before), self._since = self._since, (time.monotonic(), step)
            seconds, steps = self._since[0] - then, step - before
            self._total = (self._total[0] + seconds, self._total[1] + steps)
            self._epoch = (self._epoch[0] + seconds, self._epoch[1] + steps)
            self._rate = steps * self._batch / seconds if seconds > 0 else None

    def restart(self) -> None:
        """Forget the steps so far: from here on, other layers train."""
        self._since, self._total = None, (0.0, 0)

    def pause(self, step: int) -> None:
        """The last step of an epoch, the number `step`, is finished; what follows is no training."""
        self.measure(step)
        self._since, self._paused, self._first_batch = None, time.monotonic(), None
        seconds, steps = self._epoch
        self.epoch_rate = steps * self._batch / seconds if seconds > 0 else None
        self._epoch = (0.0, 0)

    def evaluated(self) -> None:
        """Count a batch of the evaluation; the first one compiles if it is the first of the attempt."""
        self._first_batch = self._first_batch or time.monotonic()

    def resume(self) -> None:
        """All that follows an epoch is finished."""
        began = self._paused if self._epoch_end_s is not None else (self._first_batch or self._paused)
        self._epoch_end_s = time.monotonic() - began

    def figures(self) -> dict[str, float]:
        """`pages_per_s`, lately, of all ranks; `step_s`, the mean of a step; `epoch_end_s`; those that are known."""
        seconds, steps = self._total
        found = {
            "pages_per_s": self._rate,
            "step_s": seconds / steps if steps else None,
            "epoch_end_s": self._epoch_end_s,
        }
        return {name: value for name, value in found.items() if value is not None}
