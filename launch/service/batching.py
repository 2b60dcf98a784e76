"""Joins the pages of waiting files to batches.

A batch starts when the model is free. Under load, clients that have just got an answer send their next file within
milliseconds, and a batch of eight pages costs less than two of four. So a batch waits a little for as many files as
there were around the last one: clients in a closed loop then come together. A lone client waits for nothing.
"""

import asyncio
import contextlib
import time
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


LINGER = 0.2
"""Longest wait for more files, as a share of the time that the last batch took."""


class Batcher:
    """One model computation at a time, over the pages of all files that wait by then; for one event loop."""

    def __init__(self, predict: Callable[[Regions], Outputs], *, most: int) -> None:
        """predict: blocks; it runs in a thread of its own. most: pages of a batch, unless one file has more."""
        self._predict, self._most = predict, most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wanted, self._enough = 0, asyncio.Event()

    async def outputs(self, regions: Regions) -> Outputs:
        """The outputs of one file's pages; raises what `predict` raises."""
        future: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        self._waiting.append((regions, _count(regions), future))
        if len(self._waiting) >= self._wanted:
            self._enough.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            joined = joined_regions([regions for regions, _, _ in batch])
            started = time.monotonic()
            try:
                outputs = await loop.run_in_executor(self._thread, self._predict, joined)
            except Exception as error:  # noqa: BLE001 (each caller gets it)
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            took_s = time.monotonic() - started
            first = 0
            for _, count, future in batch:
                if not future.done():
                    future.set_result({name: rows[first : first + count] for name, rows in outputs.items()})
                first += count
            if self._waiting:
                await self._gather(len(batch) + len(self._waiting), LINGER * took_s)

    async def _gather(self, files: int, limit_s: float) -> None:
        """Wait until so many files wait, or a batch of them is full, for at most `limit_s` seconds."""
        self._wanted = min(files, self._most)
        if len(self._waiting) >= self._wanted:
            return
        self._enough.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._enough.wait(), limit_s)
        self._wanted = 0

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
