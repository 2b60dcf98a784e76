"""Folds the failures of a world's ranks into the one that is reported."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.schedule.job import Failure, FailureKind


@dataclass(frozen=True)
class RankFailure:
    """How one rank ended. lost_peer: see `data_tools.errors.is_lost_peer`."""

    rank: int
    host: str
    kind: FailureKind
    message: str
    traceback: str | None = None
    lost_peer: bool = False
    log: str | None = None


def first_failure(failures: Sequence[RankFailure]) -> Failure:
    """The cause among the `failures` of one world, given in order of arrival.

    A rank that only lost its peers is the cause only where no rank reported anything else; it then counts as a death,
    since the program is not at fault.
    """
    causes = [failure for failure in failures if not failure.lost_peer] or list(failures)
    cause = causes[0]
    return Failure(
        kind="died" if cause.lost_peer else cause.kind,
        message=cause.message,
        traceback=cause.traceback,
        rank=cause.rank,
        host=cause.host,
        log=cause.log,
        also=tuple(_others(cause, [failure for failure in failures if failure is not cause])),
    )


def _others(cause: RankFailure, others: Sequence[RankFailure]) -> list[str]:
    """One line for each thing that other ranks reported, with the ranks that reported it."""
    reported: dict[str, list[int]] = {}
    for other in others:
        if other.lost_peer and not cause.lost_peer:
            what = "lost the connection after that"
        elif other.message == cause.message:
            what = "the same"
        else:
            what = other.message.partition("\n")[0]
        reported.setdefault(what, []).append(other.rank)
    return [f"rank{'s' if len(ranks) > 1 else ''} {_listed(ranks)}: {what}" for what, ranks in reported.items()]


def _listed(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(ranks)))
