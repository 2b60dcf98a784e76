"""When all ranks agree on saving and stopping: often enough to stop in time, too seldom to be felt."""

import time

AGREE_S = 2.0
"""Longest time between two agreements, unless one step takes longer: so long a wish to stop may wait."""


class Pace:
    """The step (or batch of an evaluation) of the next agreement, the same on every rank.

    next: that step. The first one comes after the first step: how long a step takes is not known before.
    """

    def __init__(self, step: int) -> None:
        self._step, self._last, self.next = step, step, step + 1
        self._at = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether the ranks agree after `step` steps."""
        self._step = step
        return step >= self.next

    def seconds(self) -> float:
        """What a step took on this rank since the last agreement."""
        return (time.monotonic() - self._at) / max(1, self._step - self._last)

    def agreed(self, agree_steps: int, seconds: float) -> None:
        """Plan the next agreement; seconds: what a step takes, a number that all ranks agreed on."""
        self._at, self._last = time.monotonic(), self._step
        self.next = self._step + steps_to_agreement(agree_steps, seconds)


def steps_to_agreement(agree_steps: int, seconds: float) -> int:
    """Steps until all ranks agree again: `agree_steps`, or fewer where these take longer than AGREE_S."""
    return max(1, min(agree_steps, int(AGREE_S / max(seconds, 1e-9))))
