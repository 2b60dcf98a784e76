"""Pictures of pages for a review: from the page's own file where it can be read, otherwise as the shards store it."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.page_path import OutsideLinks, page_path
from data_tools.documents.pixels import DPI, PageError, encode, fit, read_page
from data_tools.documents.regions import WHOLE_PAGE
from data_tools.errors import UserError
from data_tools.labels.page_id import split_page_id
from data_tools.shards.reader import ShardSet

Pixels = NDArray[np.uint8]

SMALLER = (1.0, 0.8, 0.6, 0.45, 0.3)
"""Sizes that are tried, as shares of the wanted one, until a picture is small enough in bytes."""


@dataclass(frozen=True)
class Picture:
    """A page as a `data:` URI. small: it is the page of the shards, squeezed to their shape."""

    uri: str
    small: bool


@dataclass(frozen=True, kw_only=True)
class PageFiles:
    """Where the pages of a review lie. roots: folders that page ids are relative to, tried in turn.

    shards: the shard set of the whole page, by split. dpi: at which a PDF is rendered.
    """

    roots: Sequence[Path]
    outside_links: OutsideLinks = "refuse"
    shards: Mapping[str, Path] = field(default_factory=dict)
    color: bool = False
    dpi: int = DPI

    def original(self, page_id: str) -> Pixels | None:
        """The page uint8 [h, w] or [h, w, 3] from its own file; None if it cannot be read from here."""
        path, number = split_page_id(page_id)
        if path.startswith("/") or ".." in Path(path).parts or "\0" in path:
            return None
        for root in self.roots:
            try:
                file = page_path(str(root), page_id, outside_links=self.outside_links)
                return read_page(file, color=self.color, number=number, dpi=self.dpi)
            except (PageError, UserError, OSError):
                continue
        return None

    def stored(self, split: str, page_ids: Sequence[str]) -> dict[str, Pixels]:
        """The pages uint8 [h, w, c] that the shards of a split have, of `page_ids`."""
        folder = self.shards.get(split)
        if folder is None or not page_ids:
            return {}
        try:
            shards, wanted = ShardSet.open(folder), set(page_ids)
            places = {
                page_id: row for row, page_id in enumerate(shards.page_ids(range(len(shards)))) if page_id in wanted
            }
            images = shards.gather(np.array(list(places.values()), np.int64)) if places else ()
        except (UserError, OSError):
            return {}
        return dict(zip(places, images, strict=True))


def pictures(
    files: PageFiles,
    split: str,
    page_ids: Sequence[str],
    *,
    px: int,
    most_bytes: int,
    on_page: Callable[[], None] = lambda: None,
) -> dict[str, Picture]:
    """A picture of each page that can be read, by id: at most `px` pixels on its longer side and `most_bytes` bytes.

    on_page: called after each page that was looked for.
    """
    found, absent = {}, []
    for page_id in dict.fromkeys(page_ids):
        image = files.original(page_id)
        if image is None:
            absent.append(page_id)
        else:
            found[page_id] = Picture(encoded(image, px=px, most_bytes=most_bytes), small=False)
        on_page()
    for page_id, stored in files.stored(split, absent).items():
        found[page_id] = Picture(encoded(stored, px=px, most_bytes=most_bytes), small=True)
    return found


def encoded(image: Pixels, *, px: int, most_bytes: int) -> str:
    """A page uint8 [h, w] or [h, w, 1 or 3] as a `data:` URI, smaller than `px` where it has more than `most_bytes`."""
    height, width = image.shape[:2]
    largest = min(1.0, px / max(height, width))
    uri = ""
    for share in SMALLER:
        scale = largest * share
        small = fit(image, WHOLE_PAGE, max(1, round(height * scale)), max(1, round(width * scale)))
        kind, content = min(
            (("png", encode(small, "png")), ("jpeg", encode(small, "jpeg"))), key=lambda one: len(one[1])
        )
        uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        if len(content) <= most_bytes:
            break
    return uri
