"""The failed jobs of a run as a person is told of them: each error once, with all the places where it came up."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.schedule.job import Failure, JobOutcome


@dataclass(frozen=True)
class Told:
    """One error, and the jobs that ended with it."""

    outcomes: tuple[JobOutcome, ...]

    @property
    def failure(self) -> Failure | None:
        """The failure that was not borne; None where something else ended the job."""
        first = self.outcomes[0]
        return first.failures[-1] if first.verdict is not None and first.failures else None


def describe_failures(outcomes: Mapping[str, JobOutcome], places: Mapping[str, str]) -> str:
    """All that is known of the failed jobs; `places` says by job what it is (`stage regions, region top`)."""
    failed = [outcome for outcome in outcomes.values() if outcome.state == "failed"]
    parts = [_text(told, places) for told in once_each(failed)]
    done = [name for name, outcome in outcomes.items() if outcome.state == "done"]
    finished = f"finished: {', '.join(done)}" if done else "no job finished"
    return "\n".join([*parts, f"{finished}; run the same command again to go on"])


def once_each(failed: Sequence[JobOutcome]) -> list[Told]:
    """The failed jobs by error, in order: errors that differ only in rank, host, process or log are the same."""
    by_error: dict[tuple[str, str], list[JobOutcome]] = {}
    for outcome in failed:
        failure = Told((outcome,)).failure
        key = (failure.message, _bare(failure.traceback or "")) if failure else (outcome.error or "", "")
        by_error.setdefault(key, []).append(outcome)
    return [Told(tuple(group)) for group in by_error.values()]


def _bare(traceback: str) -> str:
    """A traceback without addresses and numbers of processes, which differ from one process to the next."""
    return re.sub(r"0x[0-9a-f]+|\bpid[ =]\d+", "", traceback)


def _text(told: Told, places: Mapping[str, str]) -> str:
    names, failure = ", ".join(outcome.name for outcome in told.outcomes), told.failure
    if failure is None or failure.kind == "user":
        return f"{names} failed: {told.outcomes[0].error or 'unknown'}"
    lines = [f"{names} failed: {failure.message}"]
    for outcome in told.outcomes:
        lines += _where(outcome.failures[-1], places.get(outcome.name, outcome.name))
    lines += [failure.traceback.rstrip()] if failure.traceback else []
    return "\n".join([*lines, *failure.also, told.outcomes[0].verdict or ""]).rstrip()


def _where(failure: Failure, place: str) -> list[str]:
    rank = f", rank {failure.rank}" if failure.rank is not None else ""
    host = f" on {failure.host}" if failure.host else ""
    return [f"  {place}{rank}{host}", *([f"  log: {failure.log}"] if failure.log else [])]
