"""How many pages the documents of a data set have, counted by worker processes; no page is decoded."""

import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.documents.document import Document
from data_tools.documents.formats import headers, tiff
from data_tools.documents.formats.page_error import PageError
from data_tools.documents.formats.page_file import open_regular, read_file
from data_tools.documents.opencv import use_single_thread
from data_tools.documents.page_path import OutsideLinks, page_path
from data_tools.workers.child import Handler, Items, limit_memory
from data_tools.workers.pool import Pool

OnProgress = Callable[[int, int, int], None]
"""Called with (documents done, total documents, 0)."""

DOCUMENTS_A_TASK = 32
_HEADROOM_BYTES = 4 * 2**30


@dataclass(frozen=True)
class CountSetup:
    """Location of the documents."""

    root: str
    outside_links: OutsideLinks = "refuse"


def count_documents(
    setup: CountSetup,
    documents: Sequence[str],
    *,
    workers: int,
    timeout_s: float,
    progress: OnProgress | None = None,
) -> dict[str, int]:
    """Pages of each of the `documents`, paths relative to the root, in `workers` processes.

    A document that cannot be opened, or takes longer than `timeout_s` seconds, counts as one page: whoever reads that
    page gets the reason.

    Raises:
        UserError: a document's link leads out of the data root.
    """
    counts: dict[str, int] = {}
    tasks = -(-len(documents) // DOCUMENTS_A_TASK)
    target = "data_tools.documents.page_counts:open_worker"
    with Pool(target, setup, workers=max(1, min(workers, tasks)), item_timeout_s=timeout_s) as pool:
        for first in range(0, len(documents), DOCUMENTS_A_TASK):
            pool.submit(tuple(documents[first : first + DOCUMENTS_A_TASK]))
        for result in pool.results():
            if result is not None:
                counts |= zip(result[0], result[1], strict=True)
            if progress is not None:
                progress(len(counts) + pool.items_at_work(), len(documents), 0)
    return counts


def open_worker(setup: CountSetup) -> Handler:
    """The handler of a counting worker: it answers a tuple of documents with their numbers of pages."""
    use_single_thread()
    limit_memory(_HEADROOM_BYTES)

    def handle(documents: Sequence[str], items: Items) -> list[int]:
        return [_guarded(setup, document, item, items) for item, document in enumerate(documents)]

    return handle


def _guarded(setup: CountSetup, document: str, item: int, items: Items) -> int:
    path = Path(page_path(setup.root, f"{document}#page=1", outside_links=setup.outside_links))
    reason = items.begin(item)
    try:
        return pages_in(path) if reason is None else 1
    except PageError:
        return 1
    finally:
        items.end()


def pages_in(path: Path) -> int:
    """The number of pages of the document at `path`; 1 for an image of another format than TIFF.

    Raises:
        PageError: the file cannot be read, or a PDF cannot be opened.
    """
    with open_regular(path) as file:
        kind = headers.image_format(file.read(headers.PDF_SEARCHED))
        if kind == "TIFF":
            # Its directories are a small part of it.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return max(1, len(tiff.pages(content)))
    if kind != "PDF":
        return 1
    with Document(read_file(path)) as document:
        return document.pages
