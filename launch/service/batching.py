"""Joins the pages of waiting files to batches. A batch starts when the model is free; nothing waits for a timer."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

Regions = Mapping[str, NDArray[np.uint8]]
"""uint8 [n, height, width, channels] by region."""
Outputs = Mapping[str, NDArray[np.float32]]
"""Softmax float32 [n, classes] by model."""

_Waiting = tuple[Regions, int, "asyncio.Future[Outputs]"]


class Batcher:
    """One model computation at a time, over the pages of all files that wait by then; for one event loop."""

    def __init__(self, predict: Callable[[Regions], Outputs], *, most: int) -> None:
        """predict: blocks; it runs in a thread of its own. most: pages of a batch, unless one file has more."""
        self._predict, self._most = predict, most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    async def outputs(self, regions: Regions) -> Outputs:
        """The outputs of one file's pages; raises what `predict` raises."""
        future: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        self._waiting.append((regions, _count(regions), future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            joined = joined_regions([regions for regions, _, _ in batch])
            try:
                outputs = await loop.run_in_executor(self._thread, self._predict, joined)
            except Exception as error:  # noqa: BLE001 (each caller gets it)
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            first = 0
            for _, count, future in batch:
                if not future.done():
                    future.set_result({name: rows[first : first + count] for name, rows in outputs.items()})
                first += count

    def _next_batch(self) -> list[_Waiting]:
        """The files of the next batch, without those whose caller has gone; empty if none waits."""
        batch: list[_Waiting] = []
        pages = 0
        while self._waiting and (not batch or pages + self._waiting[0][1] <= self._most):
            regions, count, future = self._waiting.popleft()
            if not future.done():
                batch.append((regions, count, future))
                pages += count
        return batch


def joined_regions(files: list[Regions]) -> Regions:
    """The pages of several files, region by region, in their order."""
    if len(files) == 1:
        return files[0]
    return {name: np.concatenate([regions[name] for regions in files]) for name in files[0]}


def _count(regions: Regions) -> int:
    return len(next(iter(regions.values())))
