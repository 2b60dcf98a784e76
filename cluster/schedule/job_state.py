"""What the scheduler knows of one job, from waiting to its outcome."""

from dataclasses import dataclass, field

from cluster.schedule.job import Failure, JobOutcome, JobSpec
from cluster.schedule.slots import Placement

FINAL = "done", "failed", "skipped", "stopped"


@dataclass(eq=False)
class JobState:
    """One job: where it stands, its attempts, and why it waits or ended."""

    job: JobSpec
    placement: Placement
    state: str = "waiting"  # waiting, running, or one of FINAL
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    not_before: float = 0.0
    lost_since: float | None = None
    """Since when the hosts that are there are too few for it, and it could start; inf: it could not in any case."""
    value: object = None
    error: str | None = None
    verdict: str | None = None
    failures: list[Failure] = field(default_factory=list)

    def outcome(self) -> JobOutcome:
        """How the job ended.

        Raises:
            RuntimeError: it has not ended yet.
        """
        ran = self.attempts > 0
        if self.state not in FINAL:
            raise RuntimeError(f"job {self.job.name} is still {self.state}")
        return JobOutcome(
            name=self.job.name,
            state=self.state,  # type: ignore[arg-type]  # narrowed just above
            value=self.value,
            error=self.error,
            started=self.started,
            ended=self.ended,
            group=self.placement.group if ran else None,
            wave=self.placement.wave if ran else None,
            attempts=self.attempts,
            failures=tuple(self.failures),
            verdict=self.verdict,
        )
