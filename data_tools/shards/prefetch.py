"""Batches prefetched by threads into buffers that are reused when nothing refers to them."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.shard_set import Images

ALIGNMENT = 64
"""Bytes; the least alignment of CPU buffers that TensorFlow accepts."""
THREAD_NAME = "regionstack-prefetch"

T = TypeVar("T")


class Ring:
    """Buffers of one shape that are reused when nothing refers to them.

    Arrays, views and zero-copy tensors of a batch's images hold a reference to the buffer, so a buffer in use is never
    overwritten. The ring grows if the reader keeps batches. `take` is for one thread.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape` of the uint8 buffers."""
        self._shape = shape
        self._size = int(np.prod(shape))
        self._buffers: list[NDArray[np.uint8]] = []

    def take(self) -> Images:
        """A free buffer, uint8 of the ring's shape, aligned to ALIGNMENT, with arbitrary content."""
        for number in range(len(self._buffers)):
            # Two references: the list, and the argument of getrefcount.
            if sys.getrefcount(self._buffers[number]) == _FREE:
                return self._view(self._buffers[number])
        self._buffers.append(np.empty(self._size + ALIGNMENT, np.uint8))
        return self._view(self._buffers[-1])

    def _view(self, buffer: NDArray[np.uint8]) -> Images:
        skip = -buffer.ctypes.data % ALIGNMENT
        return buffer[skip : skip + self._size].reshape(self._shape)

    def __len__(self) -> int:
        """Buffers allocated so far."""
        return len(self._buffers)


_FREE = 2


class Prefetch(Iterator[T], Generic[T]):
    """Iterator of `make(number, buffer)` over `numbers`, in their order, with `ahead` results in progress or ready.

    `threads` threads call `make` concurrently. An exception of `make` is raised at its position and ends the iteration.
    The threads hold no reference to this object, so they end if it is deleted without `close`. For one reader.
    """

    def __init__(
        self, make: Callable[[int, Images], T], numbers: Iterable[int], ring: Ring, *, ahead: int, threads: int
    ) -> None:
        """Starts the first `ahead` calls."""
        self._make, self._numbers, self._ring = make, iter(numbers), ring
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=THREAD_NAME)
        self._begun: deque[Future[T]] = deque()
        for _ in range(max(1, ahead)):
            self._begin()

    def _begin(self) -> None:
        for number in self._numbers:
            self._begun.append(self._pool.submit(self._make, number, self._ring.take()))
            return

    def __next__(self) -> T:
        """The next result; waits until it is ready."""
        if not self._begun:
            raise StopIteration
        future = self._begun.popleft()
        self._begin()
        with ExitStack() as on_error:
            on_error.callback(self.close)
            result = future.result()
            on_error.pop_all()
        return result

    def close(self) -> None:
        """Stop the threads after their current calls."""
        self._numbers = iter(())
        self._begun.clear()
        self._pool.shutdown(cancel_futures=True)
