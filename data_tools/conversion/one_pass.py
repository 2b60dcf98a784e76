"""One pass of worker processes over everything of a conversion that is not whole yet."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from data_tools.conversion.assemble import REJECTED, Recipe
from data_tools.conversion.join import Joiner
from data_tools.conversion.parts import PartTask, part_task
from data_tools.conversion.shard_plan import ShardPlan, Work, plan_split
from data_tools.conversion.staging import ShardState
from data_tools.errors import UserError
from data_tools.workers.pool import Pool

OnProgress = Callable[[int, int, int], None]
"""Called with pages done, pages in all, pages set aside; several times a second."""


def plan_missing(recipe: Recipe, missing: Mapping[str, Sequence[str]]) -> list[ShardPlan]:
    """The shards of all splits of which some regions are missing."""
    return [
        plan
        for split, regions in missing.items()
        if regions
        for plan in plan_split(
            recipe.data.labels[split], split, seed=recipe.seed, shards=recipe.shards, regions=regions
        )
    ]


class TooManyRejected(UserError):
    """More pages were set aside than `max_rejected` allows."""


class ConversionPass:
    """One pass over everything that is not whole yet."""

    def __init__(
        self,
        work: Work,
        states: Sequence[ShardState],
        allowed: int,
        progress: OnProgress | None,
    ) -> None:
        """`states` are brought to the end by `finish`; up to `allowed` pages may be set aside."""
        self._work, self._allowed, self._progress = work, allowed, progress
        self._states = {(state.plan.split, state.plan.number): state for state in states}
        self._total = sum(state.plan.pages for state in states)
        self._done = sum(state.pages_done for state in states)
        self._rejected = sum(len(state.pages_rejected()) for state in states)

    def finish(self, workers: int) -> None:
        """Bring every shard to the end.

        Raises:
            TooManyRejected: more pages than allowed are set aside; what was written is kept.
        """
        tasks = [*chain.from_iterable(self._parts(state) for state in self._states.values())]
        timeout_s = self._work.shards.page_timeout_s
        size = max(1, min(workers, len(tasks)))
        with (
            Pool("data_tools.conversion.parts:open_worker", self._work, workers=size, item_timeout_s=timeout_s) as pool,
            Joiner(Path(self._work.staging)) as joiner,
        ):
            for task in tasks:
                pool.submit(task)
            self._report(0)
            for state in self._states.values():
                joiner.advance(state)
            while not all(state.whole for state in self._states.values()):
                for result in pool.results():
                    if result is not None:
                        self._take(joiner, *result)
                    self._joined(pool, joiner, block=False)
                    self._report(pool.items_at_work())
                # What is left is with the joiner; a damaged part makes work for the pool again.
                self._joined(pool, joiner, block=True)
            self._report(0)

    def _parts(self, state: ShardState) -> list[PartTask]:
        return [self._part(state, part) for part in sorted(state.missing)]

    def _part(self, state: ShardState, part: int) -> PartTask:
        return part_task(Path(self._work.staging), state.plan, part)

    def _take(self, joiner: Joiner, task: PartTask, answer: list[Any]) -> None:
        state = self._states[task.split, task.number]
        state.missing.discard(task.part)
        state.rejected[task.part] = answer
        self._done += len(task.pages)
        self._rejected += len(answer)
        joiner.advance(state)

    def _joined(self, pool: Pool, joiner: Joiner, *, block: bool) -> None:
        for state, damaged in joiner.results(block=block):
            if damaged is not None:
                state.missing.add(damaged)
                self._done -= len(state.plan.parts[damaged])
                self._rejected -= len(state.rejected.pop(damaged, ()))
                pool.submit(self._part(state, damaged), first=True)
            joiner.advance(state)

    def _report(self, at_work: int) -> None:
        if self._rejected > self._allowed:
            first = next(page for state in self._states.values() for page in state.pages_rejected())
            raise TooManyRejected(
                f"{self._rejected} of {self._total} pages cannot be used, more than data.max_rejected allows "
                f"({self._allowed}): {first['page']}: {first['reason']}; see {REJECTED} in the shard folder"
            )
        if self._progress is not None:
            self._progress(min(self._done + at_work, self._total), self._total, self._rejected)
