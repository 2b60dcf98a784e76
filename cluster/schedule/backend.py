"""What the scheduler needs of whatever starts its jobs."""

from collections.abc import Sequence
from typing import Protocol

from cluster.schedule.job import Ended, JobSpec, Started
from cluster.schedule.slots import Group, Host


class Backend(Protocol):
    """What starts jobs: one attempt of a job at a time, many jobs at once."""

    def hosts(self) -> Sequence[Host]:
        """The hosts that are there now."""
        ...

    def start(self, job: JobSpec, group: Group, *, attempt: int) -> None:
        """Begin an attempt and return at once; what becomes of it comes out of `wait`."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
        """News of the attempts, oldest first; none if `timeout_s` passes without. `Ended` frees the slots."""
        ...

    def ask(self, job: str) -> bool:
        """Ask an attempt to save and leave; its `Ended` then comes out of `wait`. False: it does not run yet."""
        ...

    def stop(self, job: str) -> None:
        """End an attempt's processes now; nothing more comes of it."""
        ...
