"""The work of the service's decoder processes: an uploaded file becomes the regions of its pages.

Runs in child processes of `workers.pool` only, where a crash, a loop or a hunger for memory ends one file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from data_tools.documents.opencv import cv2, use_single_thread
from data_tools.documents.pixels import PageError, Pixels, decode, encode, fit, image_format
from data_tools.documents.regions import Box
from data_tools.workers.child import Handler, Items, limit_memory

_HEADROOM_BYTES = 3 * 2**30
PREVIEW_PX = 1000
"""Longer side of a page's preview."""

Reason = Literal["empty", "unsupported", "unreadable", "too_large", "failed"]


@dataclass(frozen=True)
class Setup:
    """What a decoder process needs of the run: regions, and the stored size of each; and the limits of the service."""

    boxes: Mapping[str, Box]
    height: int
    width: int
    color: bool
    max_pages: int
    max_pixels: int


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
        poisonous = items.begin(0)
        try:
            if poisonous is not None:
                return Rejection("failed", f"the file cannot be decoded: {poisonous}")
            return decode_file(content, setup, preview=preview)
        finally:
            items.end()

    return handle


def decode_file(content: bytes, setup: Setup, *, preview: bool) -> Decoded:
    """The regions of a file's pages, or why it is rejected."""
    if not content:
        return Rejection("empty", "empty file")
    if image_format(content) is None:
        return Rejection("unsupported", "not a TIFF, PNG, JPEG, BMP or WebP image")
    try:
        page = decode(content, color=setup.color)
    except PageError as error:
        return Rejection("too_large" if "pixels" in str(error) else "unreadable", str(error))
    if page.shape[0] * page.shape[1] > setup.max_pixels:
        return Rejection("too_large", f"more than {setup.max_pixels} pixels")
    return [_cut(page, setup, preview=preview)]


def _cut(page: Pixels, setup: Setup, *, preview: bool) -> DecodedPage:
    regions = {name: fit(page, box, setup.height, setup.width) for name, box in setup.boxes.items()}
    return DecodedPage(regions, page.shape[0], page.shape[1], preview_of(page) if preview else None)


def preview_of(page: Pixels) -> bytes:
    """A JPEG of a page uint8 [h, w(, 3)], its longer side at most PREVIEW_PX."""
    height, width = page.shape[:2]
    scale = min(1.0, PREVIEW_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode(small.reshape(size[1], size[0], -1), "jpeg")
