"""The failed jobs of a run as text for the user: each error once, with every place where it occurred."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cluster.schedule.job import Failure, JobOutcome


@dataclass(frozen=True)
class ErrorGroup:
    """One error, and the jobs that ended with it."""

    outcomes: tuple[JobOutcome, ...]

    @property
    def failure(self) -> Failure | None:
        """The failure that ended the jobs; None if they ended for another reason."""
        first = self.outcomes[0]
        return first.failures[-1] if first.give_up_reason is not None and first.failures else None


def describe_failures(outcomes: Mapping[str, JobOutcome], descriptions: Mapping[str, str]) -> str:
    """Describe all failed jobs, then list the finished ones.

    descriptions: what each job is, by name (`stage regions, region top`).
    """
    groups = group_by_error(outcome for outcome in outcomes.values() if outcome.state == "failed")
    done = [name for name, outcome in outcomes.items() if outcome.state == "done"]
    finished = f"finished: {', '.join(done)}" if done else "no job finished"
    texts = [_text(group, descriptions) for group in groups]
    return "\n".join([*texts, f"{finished}; run the same command again to resume"])


def group_by_error(failed: Iterable[JobOutcome]) -> list[ErrorGroup]:
    """Group failed jobs by error, in order. Errors that differ only in rank, host, process or log are the same."""
    by_error: dict[tuple[str, str], list[JobOutcome]] = {}
    for outcome in failed:
        failure = ErrorGroup((outcome,)).failure
        key = (failure.message, _normalized(failure.traceback or "")) if failure else (outcome.error or "", "")
        by_error.setdefault(key, []).append(outcome)
    return [ErrorGroup(tuple(group)) for group in by_error.values()]


def _normalized(traceback: str) -> str:
    """A traceback without addresses and process numbers, which differ between processes."""
    return re.sub(r"0x[0-9a-f]+|\bpid[ =]\d+", "", traceback)


def _text(group: ErrorGroup, descriptions: Mapping[str, str]) -> str:
    names, failure = ", ".join(outcome.name for outcome in group.outcomes), group.failure
    if failure is None or failure.kind == "user":
        return f"{names} failed: {group.outcomes[0].error or 'unknown'}"
    lines = [f"{names} failed: {failure.message}"]
    for outcome in group.outcomes:
        lines += _place(outcome.failures[-1], descriptions.get(outcome.name, outcome.name))
    lines += [failure.traceback.rstrip()] if failure.traceback else []
    return "\n".join([*lines, *failure.also, group.outcomes[0].give_up_reason or ""]).rstrip()


def _place(failure: Failure, description: str) -> list[str]:
    rank = f", rank {failure.rank}" if failure.rank is not None else ""
    host = f" on {failure.host}" if failure.host else ""
    return [f"  {description}{rank}{host}", *([f"  log: {failure.log}"] if failure.log else [])]
