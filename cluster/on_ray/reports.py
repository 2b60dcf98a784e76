"""Gathers what the ranks of one call report: their values, or the failure that is their cause."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from cluster.liveness.watch import Hang
from cluster.schedule.failures import RankFailure, first_failure
from cluster.schedule.job import Failure

POLL_S = 1.0
GRACE_S = 2.0
"""How long to wait for the other ranks after the first failure, which may be a consequence of theirs."""
TAIL_LINES = 15


class Failed(Exception):
    """An attempt has failed, and why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Gatherer:
    """Waits for the reports of all ranks of a world.

    hosts: by rank. logs: folder of the ranks' output, or null. look: called once a second; it may raise. suspect: which
    of the given ranks, for which all others gave up waiting, is the cause; None where that is unknown.
    """

    hosts: Sequence[str]
    logs: str | None
    look: Callable[[], None]
    suspect: Callable[[Sequence[int]], Hang | None] = lambda _: None

    def gather(self, refs: Sequence[Any]) -> list[dict[str, Any]]:
        """The reports, by rank. Ends at most GRACE_S seconds after the first failure.

        Raises:
            Failed: a rank failed; with the cause, and what the other ranks reported.
        """
        waiting = {ref: rank for rank, ref in enumerate(refs)}
        reports: dict[int, dict[str, Any]] = {}
        failures: list[RankFailure] = []
        until = float("inf")
        while waiting and time.monotonic() < until:
            ready, _ = ray.wait(list(waiting), timeout=POLL_S)
            self.look()
            for ref in ready:
                rank = waiting.pop(ref)
                report = self._report(ref, rank)
                if isinstance(report, RankFailure):
                    failures.append(report)
                    until = min(until, time.monotonic() + GRACE_S)
                else:
                    reports[rank] = report
        if failures:
            raise Failed(first_failure([*self.missed(failures, sorted(waiting.values())), *failures]))
        return [reports[rank] for rank in range(len(refs))]

    def missed(self, failures: Sequence[RankFailure], waiting: Sequence[int]) -> list[RankFailure]:
        """Of the ranks `waiting`, which have reported nothing, the one that all others gave up waiting for."""
        if not waiting or not all(failure.lost_peer for failure in failures):
            return []
        hang = self.suspect(waiting)
        if hang is None:
            return []
        return [RankFailure(hang.rank, self.hosts[hang.rank], "hung", hang.message, log=self.log(hang.rank))]

    def _report(self, ref: Any, rank: int) -> dict[str, Any] | RankFailure:
        log, host = self.log(rank), self.hosts[rank]
        try:
            report: dict[str, Any] = ray.get(ref)
        except ray.exceptions.RayActorError as error:
            return RankFailure(rank, host, "died", _death(str(error)), traceback=_tail(log), log=log)
        except ray.exceptions.RayError as error:
            return RankFailure(rank, host, "raised", first_line(error), traceback=str(error), log=log)
        return self.failure(rank, report) if "failure" in report else report

    def failure(self, rank: int, report: Mapping[str, Any]) -> RankFailure:
        """The failure in a rank's report."""
        return RankFailure(rank, self.hosts[rank], **report["failure"], log=self.log(rank))

    def log(self, rank: int) -> str | None:
        """Path of a rank's output."""
        return str(Path(self.logs) / f"rank-{rank}.txt") if self.logs else None


def first_line(error: BaseException) -> str:
    """The first line of one of Ray's long errors that is not empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _death(text: str) -> str:
    """Why an actor died, from Ray's long text about it, which names no exit status."""
    if "SYSTEM_ERROR" in text:
        return "the worker died: killed, out of memory, or crashed"
    if "node has died" in text:
        return "the worker's host is gone: down, cut off, or its Ray was stopped"
    because = text.rpartition("The actor is dead because ")[2].strip().partition(". ")[0].rstrip(".")
    return f"the worker died: {because}" if because else "the worker died"


def _tail(log: str | None) -> str | None:
    """The last lines of a rank's output; None where the file is not visible on this host."""
    if log is None:
        return None
    try:
        lines = Path(log).read_text(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return None
    return "\n".join(["last lines of its output:", *(f"  {line}" for line in lines)]) if lines else None
