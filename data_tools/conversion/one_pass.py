"""One pass of worker processes over the incomplete shards of a conversion."""

from collections.abc import Callable, Mapping, Sequence

from data_tools.conversion.assemble import REJECTED, Recipe
from data_tools.conversion.shard_plan import ShardPlan, Work, plan_split
from data_tools.conversion.staging import ShardState
from data_tools.errors import UserError
from data_tools.workers.pool import Pool

OnProgress = Callable[[int, int, int], None]
"""Called with (pages done, total pages, rejected pages), several times a second."""


def plan_missing(recipe: Recipe, missing: Mapping[str, Sequence[str]]) -> list[ShardPlan]:
    """The shards of all splits with missing regions."""
    return [
        plan
        for split, regions in missing.items()
        if regions
        for plan in plan_split(
            recipe.data.labels[split], split, seed=recipe.seed, shards=recipe.shards, regions=regions
        )
    ]


class TooManyRejected(UserError):
    """More pages were rejected than `max_rejected` allows."""


class ConversionPass:
    """Writes the incomplete shards of a conversion."""

    def __init__(
        self,
        work: Work,
        states: Sequence[ShardState],
        *,
        max_rejected: int,
        progress: OnProgress | None = None,
    ) -> None:
        """`run` completes the shards of `states`; it fails with more than `max_rejected` rejected pages."""
        self._work, self._max_rejected, self._progress = work, max_rejected, progress
        self._states = {(state.plan.split, state.plan.number): state for state in states}
        self._total = sum(len(state.plan.pages) for state in states)
        self._done = sum(len(state.plan.pages) for state in states if state.complete)
        self._rejected = [page for state in states for page in state.rejected]
        self._reported = 0

    def run(self, workers: int) -> None:
        """Write the incomplete shards with at most `workers` processes.

        Raises:
            TooManyRejected: more pages are rejected than allowed; complete shards are kept.
        """
        plans = [state.plan for state in self._states.values() if not state.complete]
        self._report(0)
        with Pool(
            "data_tools.conversion.shard_writer:open_worker",
            self._work,
            workers=max(1, min(workers, len(plans))),
            item_timeout_s=self._work.shards.page_timeout_s,
        ) as pool:
            for plan in plans:
                pool.submit(plan)
            for result in pool.results():
                if result is not None:
                    plan, rejected = result
                    state = self._states[plan.split, plan.number]
                    state.complete, state.rejected = True, rejected
                    self._done += len(plan.pages)
                    self._rejected += rejected
                self._report(pool.items_at_work())
        self._report(0)

    def _report(self, at_work: int) -> None:
        rejected = self._rejected
        if len(rejected) > self._max_rejected:
            raise TooManyRejected(
                f"{len(rejected)} of {self._total} pages cannot be used, more than data.max_rejected allows "
                f"({self._max_rejected}): {rejected[0]['page']}: {rejected[0]['reason']}; see {REJECTED} in the shard "
                "folder"
            )
        # When a process dies, its shard restarts; the reported count does not decrease.
        self._reported = max(self._reported, min(self._done + at_work, self._total))
        if self._progress is not None:
            self._progress(self._reported, self._total, len(rejected))
