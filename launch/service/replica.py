"""The models of a run behind an asynchronous call: bytes of a file in, outputs of its pages out. No Ray in here."""

import asyncio
import queue
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_tools.cores import available_cores
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.workers.pool import Pool
from launch.api import open_run
from launch.predict.engine import cut_of
from launch.service.batching import Batcher
from launch.service.decoder import Decoded, DecodedPage, Rejection, Setup
from launch.service.limits import Limits
from trainer.config import STACK
from trainer.scoring.decision import Policy, read_policy
from trainer.scoring.unknown import contrast

BATCH = 64
"""Pages that are classified at once."""
_DECODER = "launch.service.decoder:open_decoder"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which run to serve, and in how many processes. decoders: of each replica; None: one for each core.

    model: what answers, the stack or a student.
    """

    run: str
    limits: Limits
    replicas: int = 1
    decoders: int | None = None
    model: str = STACK


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """`args` of the application in a Serve config file (docs/serve.md).

    gpus: of each replica. token_file: on the gateway's host.
    """

    run: str
    replicas: int = 1
    decoders: int | None = None
    gpus: float = 0.0
    token_file: str | None = None
    limits: Limits = field(default_factory=Limits)
    model: str = STACK

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.replicas < 1:
            raise UserError(f"replicas: must be 1 or more, is {self.replicas}")


@dataclass(frozen=True)
class PageView:
    """Size of a page in pixels, and a JPEG of it, or None."""

    width: int
    height: int
    preview: bytes | None


@dataclass(frozen=True, eq=False)
class ClassifiedFile:
    """A file of at least one page. pages: each of them, or why it is rejected.

    outputs: softmax float32 [k, classes] by model, a row for each of the k pages that are not rejected, in their order;
    empty without one. contrast: of these pages, None if the whole page is no region of the models.
    """

    pages: tuple[PageView | Rejection, ...]
    outputs: Mapping[str, NDArray[np.float32]]
    contrast: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class About:
    """What the service knows of its run. boxes: left, top, right, bottom as shares of the page, by region.

    models: the members of the stack, in its order, or the student, each with the region that it reads. policy: None
    without one.
    """

    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    boxes: Mapping[str, tuple[float, float, float, float]]
    models: Mapping[str, str]
    policy: Policy | None = None


Classified = ClassifiedFile | Rejection
"""A file's pages, or why the whole file is rejected."""


class Models:
    """The models, decoder processes and batches of one replica."""

    def __init__(self, run: str, limits: Limits, decoders: int | None = None, *, model: str = STACK) -> None:
        """Load the models and classify a blank page, so that the first request does not wait for compilation.

        decoders: processes; None: one for each core.

        Raises:
            UserError: the run is not finished, or a file of it is corrupt.
        """
        opened = open_run(run, model=model)
        record, ensemble = opened.record, opened.ensemble
        regions = {member.name: member.region for member in ensemble.members}
        self.about = About(
            class_ids=tuple(opened.class_ids),
            class_names=tuple(opened.class_names),
            boxes={name: edges for name, edges in record.regions.items() if name in regions.values()},
            models=regions,
            policy=read_policy(Path(run), model),
        )
        cut = cut_of(opened)
        setup = Setup(
            replace(cut, regions={name: edges for name, edges in cut.regions.items() if name in regions.values()}),
            max_pages=limits.pages,
            max_pixels=limits.megapixels * 10**6,
            file_s=limits.answer_s,
        )
        self._decoders = Decoders(setup, count=decoders or available_cores(), timeout_s=limits.decode_s)
        self._batcher = Batcher(ensemble.predict, most=BATCH)
        for pages in (1, 2):
            ensemble.predict({name: np.full((pages, *record.shape), 255, np.uint8) for name in setup.cut.regions})
        self._decoders.warm_up()

    async def classify(self, content: bytes, *, preview: bool = False) -> Classified:
        """The outputs for each page of a file, or why it is rejected."""
        pages = await self._decoders.decode(content, preview=preview)
        if isinstance(pages, Rejection):
            return pages
        decoded = [page for page in pages if isinstance(page, DecodedPage)]
        outputs = await self._batcher.outputs(_stacked(decoded)) if decoded else {}
        return ClassifiedFile(tuple(map(_view, pages)), outputs, _contrast(decoded))


def _view(page: DecodedPage | Rejection) -> PageView | Rejection:
    return page if isinstance(page, Rejection) else PageView(page.page_width, page.page_height, page.preview)


def _contrast(pages: list[DecodedPage]) -> NDArray[np.float64] | None:
    whole = [page.regions[HOLISTIC] for page in pages if HOLISTIC in page.regions]
    return contrast(np.stack(whole)) if whole else None


def _stacked(pages: list[DecodedPage]) -> dict[str, NDArray[np.uint8]]:
    return {name: np.stack([page.regions[name] for page in pages]) for name in pages[0].regions}


class Decoders:
    """Decoder processes, each with a thread that waits for it; a process that dies or hangs is replaced."""

    def __init__(self, setup: Setup, *, count: int, timeout_s: float) -> None:
        self._setup, self._count, self._timeout_s = setup, count, timeout_s
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="decoder")
        self._pools: queue.SimpleQueue[Pool] = queue.SimpleQueue()
        for _ in range(count):
            self._pools.put(self._new_pool())

    async def decode(self, content: bytes, *, preview: bool) -> Decoded:
        """Decode a file in the next process that is free.

        Raises:
            UserError: the processes cannot start, or die before they begin.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._decode, content, preview)

    def warm_up(self) -> None:
        """Start all processes."""
        for future in [self._threads.submit(self._decode, b"", False) for _ in range(self._count)]:
            future.result()

    def close(self) -> None:
        """End all processes; nothing may be decoded any more."""
        self._threads.shutdown()
        while not self._pools.empty():
            self._pools.get().__exit__()

    def _decode(self, content: bytes, preview: bool) -> Decoded:
        pool = self._pools.get()
        try:
            pool.submit((content, preview))
            answer: Decoded = next(result[1] for result in pool.results() if result is not None)
        except BaseException:
            # The pool still holds the task.
            pool.__exit__()
            pool = self._new_pool()
            raise
        finally:
            self._pools.put(pool)
        return answer

    def _new_pool(self) -> Pool:
        return Pool(_DECODER, self._setup, workers=1, item_timeout_s=self._timeout_s)
