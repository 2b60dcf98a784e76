"""Batches made ahead by threads, into buffers that are used again once nobody holds them."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.shard_set import Images

ALIGNMENT = 64
"""Bytes; TensorFlow takes no CPU buffer that is aligned to less."""
THREAD_NAME = "regionstack-prefetch"

T = TypeVar("T")


class Ring:
    """Buffers of one shape that are used again once nothing refers to them any more.

    Whatever holds a batch's images, an array, a view or a tensor made of it without a copy, holds a
    reference on the buffer, so a buffer is never overwritten under its reader; a reader that keeps batches
    makes the ring grow. Buffers are to be taken by one thread.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: of the uint8 buffers."""
        self._shape = shape
        self._size = int(np.prod(shape))
        self._buffers: list[NDArray[np.uint8]] = []

    def take(self) -> Images:
        """A buffer that nobody holds, uint8 of the ring's shape, aligned to ALIGNMENT, content arbitrary."""
        for number in range(len(self._buffers)):
            # Two references: the list's, and the argument's of getrefcount itself.
            if sys.getrefcount(self._buffers[number]) == _FREE:
                return self._view(self._buffers[number])
        self._buffers.append(np.empty(self._size + ALIGNMENT, np.uint8))
        return self._view(self._buffers[-1])

    def _view(self, buffer: NDArray[np.uint8]) -> Images:
        skip = -buffer.ctypes.data % ALIGNMENT
        return buffer[skip : skip + self._size].reshape(self._shape)

    def __len__(self) -> int:
        """Buffers made so far."""
        return len(self._buffers)


_FREE = 2


class Prefetch(Iterator[T], Generic[T]):
    """`make(number, buffer)` for each of `numbers`, in their order; `ahead` of them are being made or made.

    Several threads make them at once, since each is a function of its number alone. An error of `make` is raised
    where its turn comes, and nothing comes after it. The threads know nothing of this object, so that they end when
    it is forgotten without `close`. For one reader.
    """

    def __init__(
        self, make: Callable[[int, Images], T], numbers: Iterable[int], ring: Ring, *, ahead: int, threads: int
    ) -> None:
        """The first ones are begun at once."""
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
        """The next one; waits for it where it is not made yet."""
        if not self._begun:
            raise StopIteration
        future = self._begun.popleft()
        self._begin()
        try:
            return future.result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the threads; what is being made is made to its end."""
        self._numbers = iter(())
        self._begun.clear()
        self._pool.shutdown(cancel_futures=True)
