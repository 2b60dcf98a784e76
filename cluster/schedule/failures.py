"""From what each rank of a world said to the one failure that a person is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.schedule.job import Failure, FailureKind


@dataclass(frozen=True)
class RankFailure:
    """How one rank ended. `lost_peer`: it only noticed that another one is gone."""

    rank: int
    host: str
    kind: FailureKind
    message: str
    traceback: str | None = None
    lost_peer: bool = False
    log: str | None = None


def first_failure(failures: Sequence[RankFailure]) -> Failure:
    """The cause among `failures` of one world, given in the order in which they came in.

    A rank that only lost its peers is the cause where no other said anything; such a loss is no fault of the
    program, so it counts as a death.
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
    """One line for each thing that other ranks said, with all the ranks that said it."""
    said: dict[str, list[int]] = {}
    for other in others:
        if other.lost_peer and not cause.lost_peer:
            what = "lost the connection after that"
        elif other.message == cause.message:
            what = "the same"
        else:
            what = other.message.partition("\n")[0]
        said.setdefault(what, []).append(other.rank)
    return [f"rank{'s' if len(ranks) > 1 else ''} {_listed(ranks)}: {what}" for what, ranks in said.items()]


def _listed(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(ranks)))
