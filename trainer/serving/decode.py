"""Worker processes that turn files into the models' input: decoded, cut into regions, resized. No TensorFlow."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from data_tools.documents.document import DPI, MAX_PAGES, open_document
from data_tools.documents.opencv import use_single_thread
from data_tools.documents.pixels import PageError, Pixels, fit
from data_tools.documents.regions import Box
from data_tools.workers.child import Handler, Items, limit_memory
from data_tools.workers.pool import Pool

T = TypeVar("T")

HANDLER = "trainer.serving.decode:open_worker"

FIRST_PAGES = 2
"""Pages that the first look at a file decodes: most files have one, and many such files are decoded ahead."""

NEXT_PAGES = 16
"""Pages that every further task of a long document decodes."""

_HEADROOM_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Cut:
    """How a page becomes the models' input. regions: left, top, right, bottom as shares of the page, by name.

    shape: height and width in pixels, and channels, of each region. dpi: at which a PDF is rendered.
    """

    regions: dict[str, tuple[float, float, float, float]]
    shape: tuple[int, int, int]
    dpi: int = DPI

    @property
    def color(self) -> bool:
        """Whether pages are decoded as RGB."""
        return self.shape[2] == 3

    def of(self, image: Pixels) -> dict[str, Pixels]:
        """The regions of a page uint8 [h, w(, 3)], each uint8 [height, width, channels]."""
        height, width, _ = self.shape
        return {name: fit(image, Box(*edges), height, width) for name, edges in self.regions.items()}


class Part(NamedTuple):
    """Pages of a file: at most `most` from page `first` (from 1) on."""

    path: str
    first: int = 1
    most: int = FIRST_PAGES


class DecodedPage(NamedTuple):
    """A page's number, and its regions by name, or the reason why it was rejected."""

    number: int
    regions: dict[str, Pixels]
    error: str | None = None


class DecodedPart(NamedTuple):
    """Pages of a file of `of` pages and `left_out` more, beyond a limit; `error`: it cannot be opened, and has none."""

    pages: list[DecodedPage]
    of: int
    error: str | None = None
    left_out: int = 0


def open_worker(cut: Cut) -> Handler:
    """The handler of a worker process: (number, parts) -> a `DecodedPart` for each part."""
    use_single_thread()
    limit_memory(_HEADROOM_BYTES)

    def handle(task: tuple[int, Sequence[Part]], items: Items) -> list[DecodedPart]:
        # An item's number must be the same when a killed process's task is repeated.
        return [
            decode_part(part, cut, items, first_item=place * (NEXT_PAGES + 1)) for place, part in enumerate(task[1])
        ]

    return handle


def decode_part(part: Part, cut: Cut, items: Items | None = None, *, first_item: int = 0) -> DecodedPart:
    """Decode the pages of `part`; items: the worker's, which name the page that kills it."""
    document = _guarded(lambda: open_document(part.path, color=cut.color, dpi=cut.dpi), items, first_item)
    if isinstance(document, str):
        return DecodedPart([], 0, document)
    with document:
        of = min(document.pages, MAX_PAGES)
        pages = []
        for place, number in enumerate(range(part.first, min(part.first + part.most, of + 1)), start=1):

            def read(number: int = number) -> dict[str, Pixels]:
                return cut.of(document.read(number))

            regions = _guarded(read, items, first_item + place)
            pages.append(DecodedPage(number, {}, regions) if isinstance(regions, str) else DecodedPage(number, regions))
        return DecodedPart(pages, of, left_out=document.pages - of)


def _guarded(work: Callable[[], T], items: Items | None, item: int) -> T | str:
    """The result of `work`, or the reason why the page or file was rejected."""
    reason = items.begin(item) if items else None
    try:
        return work() if reason is None else reason
    except PageError as error:
        return str(error)
    finally:
        if items:
            items.end()


class Decoders:
    """A pool of decoding processes behind a thread, so that they work while this process computes. A context."""

    def __init__(self, cut: Cut, *, workers: int, page_timeout_s: float) -> None:
        """Processes start with the first tasks. page_timeout_s: seconds for a page before its process is killed."""
        self._cut, self._workers, self._timeout_s = cut, workers, page_timeout_s
        self._inbox: queue.SimpleQueue[tuple[int, Sequence[Part]] | None] = queue.SimpleQueue()
        self._futures: dict[int, Future[list[DecodedPart]]] = {}
        self._next = 0
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="decoders", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the processes."""
        self._inbox.put(None)
        self._thread.join()

    def submit(self, parts: Sequence[Part]) -> "Future[list[DecodedPart]]":
        """Decode `parts` in one process; the future's result is a `DecodedPart` for each.

        The future raises what `Pool.results` raises.
        """
        future: Future[list[DecodedPart]] = Future()
        with self._lock:
            if self._failure is not None:
                future.set_exception(self._failure)
                return future
            number, self._next = self._next, self._next + 1
            self._futures[number] = future
        self._inbox.put((number, parts))
        return future

    def _serve(self) -> None:
        try:
            with Pool(HANDLER, self._cut, workers=self._workers, item_timeout_s=self._timeout_s) as pool:
                while self._take(pool, wait=True):
                    for answered in pool.results():
                        if answered is not None:
                            (number, _), parts = answered
                            with self._lock:
                                future = self._futures.pop(number)
                            future.set_result(parts)
                        if not self._take(pool, wait=False):
                            return
        except Exception as error:  # noqa: BLE001 (thread boundary: the caller's thread raises it)
            with self._lock:
                self._failure = error
                pending = list(self._futures.values())
            for future in pending:
                future.set_exception(error)

    def _take(self, pool: Pool, *, wait: bool) -> bool:
        """Hand new tasks to the pool; False to close it."""
        while wait or not self._inbox.empty():
            task = self._inbox.get()
            if task is None:
                return False
            pool.submit(task)
            wait = False
        return True


def rest_of(path: str, decoded: DecodedPart, decoders: Decoders, *, ahead: int) -> Iterator[DecodedPage]:
    """The pages of a file after those in its first part, in order, `ahead` tasks at a time."""
    starts = iter(range(len(decoded.pages) + 1, decoded.of + 1, NEXT_PAGES))
    waiting: deque[tuple[Part, Future[list[DecodedPart]]]] = deque()
    while True:
        for start in islice(starts, ahead - len(waiting)):
            part = Part(path, start, min(NEXT_PAGES, decoded.of - start + 1))
            waiting.append((part, decoders.submit([part])))
        if not waiting:
            return
        part, future = waiting.popleft()
        (found,) = future.result()
        if found.error is None:
            yield from found.pages
        else:
            numbers = range(part.first, part.first + part.most)
            yield from (DecodedPage(number, {}, found.error) for number in numbers)


def is_document(path: str, pages: int) -> bool:
    """Whether a file's answers include one about the whole file: it has several pages, or is a PDF."""
    return pages > 1 or Path(path).suffix.lower() == ".pdf"
