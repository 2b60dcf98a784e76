"""The work of the service's decoder processes: an uploaded file becomes the regions of its pages.

Runs in child processes of `workers.pool` only, where a crash, a loop or a hunger for memory ends one file.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from data_tools.documents.document import Document
from data_tools.documents.opencv import cv2, use_single_thread
from data_tools.documents.pixels import PageError, Pixels, encode, image_format
from data_tools.workers.child import Handler, Items, limit_memory
from trainer.serving.decode import Cut

T = TypeVar("T")

_HEADROOM_BYTES = 3 * 2**30
PREVIEW_PX = 1000
"""Longer side of a page's preview."""

Reason = Literal["empty", "unsupported", "unreadable", "too_large", "failed"]


@dataclass(frozen=True)
class Setup:
    """How pages become the models' input, and the limits of the service.

    file_s: seconds for all pages of a file; the time for one page is the pool's.
    """

    cut: Cut
    max_pages: int
    max_pixels: int
    file_s: float


@dataclass(frozen=True)
class DecodedPage:
    """regions: uint8 [height, width, channels] by name. preview: a JPEG for a browser, or None."""

    regions: Mapping[str, Pixels]
    page_height: int
    page_width: int
    preview: bytes | None


@dataclass(frozen=True)
class Rejection:
    """Why a file, or a page of it, cannot be classified."""

    reason: Reason
    text: str


Decoded = list[DecodedPage | Rejection] | Rejection
"""The pages of a file, each decoded or rejected; or why the whole file is rejected."""


def open_decoder(setup: Setup) -> Handler:
    """The handler of a decoder process: (content, whether to make previews) -> `Decoded`."""
    use_single_thread()
    limit_memory(_HEADROOM_BYTES)

    def handle(task: Any, items: Items) -> Decoded:
        content, preview = task
        return decode_file(content, setup, preview=preview, items=items)

    return handle


def decode_file(content: bytes, setup: Setup, *, preview: bool, items: Items | None = None) -> Decoded:
    """The regions of a file's pages, or why it is rejected; items: the worker's, which name the page that kills it."""
    if not content:
        return Rejection("empty", "empty file")
    known = image_format(content) is not None
    document = _guarded(lambda: Document(content, color=setup.cut.color, dpi=setup.cut.dpi), setup, items, 0)
    if isinstance(document, Rejection):
        return document if known else replace(document, reason="unsupported")
    with document:
        if document.pages > setup.max_pages:
            return Rejection("too_large", f"{document.pages} pages, more than {setup.max_pages}")
        return _pages(document, setup, preview=preview, items=items)


def _pages(document: Document, setup: Setup, *, preview: bool, items: Items | None) -> Decoded:
    until = time.monotonic() + setup.file_s
    pages: list[DecodedPage | Rejection] = []
    for number in range(1, document.pages + 1):
        if time.monotonic() > until:
            return Rejection("failed", f"its {document.pages} pages take longer than {setup.file_s:g} s")

        def read(number: int = number) -> DecodedPage:
            return _cut(document.read(number), setup, preview=preview)

        pages.append(_guarded(read, setup, items, number))
    return pages


def _guarded(work: Callable[[], T], setup: Setup, items: Items | None, item: int) -> T | Rejection:
    """The result of `work`, or why the page or file is rejected."""
    poisonous = items.begin(item) if items else None
    try:
        return work() if poisonous is None else Rejection("failed", f"cannot be decoded: {poisonous}")
    except _TooLarge:
        return Rejection("too_large", f"more than {setup.max_pixels} pixels")
    except PageError as error:
        # Each decoder has a limit of its own, too.
        if "pixels" in str(error):
            return Rejection("too_large", f"more than {setup.max_pixels} pixels")
        return Rejection("unreadable", str(error))
    finally:
        if items:
            items.end()


class _TooLarge(Exception):
    """A page of more pixels than the service takes."""


def _cut(page: Pixels, setup: Setup, *, preview: bool) -> DecodedPage:
    if page.shape[0] * page.shape[1] > setup.max_pixels:
        raise _TooLarge
    return DecodedPage(setup.cut.of(page), page.shape[0], page.shape[1], preview_of(page) if preview else None)


def preview_of(page: Pixels) -> bytes:
    """A JPEG of a page uint8 [h, w(, 3)], its longer side at most PREVIEW_PX."""
    height, width = page.shape[:2]
    scale = min(1.0, PREVIEW_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode(small.reshape(size[1], size[0], -1), "jpeg")
