"""The work of a survey's worker processes: measuring pages, with one decode each, and comparing pairs in detail."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data_tools.documents.content import BLACK_LEVEL, BLANK_INK, INK_LEVEL
from data_tools.documents.document import open_document
from data_tools.documents.opencv import use_single_thread
from data_tools.documents.page_path import OutsideLinks, page_path, split_page_id
from data_tools.documents.pages import DPI
from data_tools.documents.pixels import PageError, Pixels, fit
from data_tools.documents.regions import WHOLE_PAGE, Box
from data_tools.survey import fingerprint
from data_tools.workers.child import Handler, Items, limit_memory

_INNER = Box(0.04, 0.04, 0.96, 0.96)
_HEADROOM_BYTES = 4 * 2**30
_KEPT_PAGES = 64


class PageMeasure(NamedTuple):
    """One page: size in pixels, ink, digest and perceptual hash; or the reason why it cannot be read.

    `ink` is the fraction of pixels darker than 3/4 of the paper's gray level, without the outer 4 % of the page;
    `kind` is `page`, `blank`, `black` or `unreadable`; `digest` is of the pixels, so it does not depend on the file's
    compression. `left_out`: later pages of its document that are not read.
    """

    page_id: str
    kind: str
    width: int = 0
    height: int = 0
    ink: float = 0.0
    digest: str = ""
    hash: str = ""
    reason: str = ""
    left_out: int = 0


@dataclass(frozen=True)
class MeasureTask:
    """Measure these pages; the answer is a list of PageMeasure in the same order."""

    page_ids: Sequence[str]


@dataclass(frozen=True)
class CompareTask:
    """Compare these pairs of pages in detail; the answer is the list of their agreements, 0..1."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class MeasureSetup:
    """Location of the pages; page_limit: pages that are taken of a document, at most."""

    root: str
    outside_links: OutsideLinks = "refuse"
    page_limit: int = 1
    pdf_dpi: int = DPI

    def read(self, page_id: str) -> Pixels:
        """The pixels of a page, uint8 [h, w].

        Raises:
            PageError: the page cannot be read.
            UserError: the page's path leaves the root.
        """
        return self.read_in_document(page_id)[0]

    def read_in_document(self, page_id: str) -> tuple[Pixels, int]:
        """The pixels of a page, uint8 [h, w], and how many pages of its document are left out after it.

        Raises:
            PageError: the page cannot be read.
            UserError: the page's path leaves the root.
        """
        path, number = page_path(self.root, page_id, outside_links=self.outside_links), split_page_id(page_id)[1]
        with open_document(path, dpi=self.pdf_dpi) as document:
            left_out = document.pages - number if number == self.page_limit else 0
            return document.read(number), left_out


def open_worker(setup: MeasureSetup) -> Handler:
    """The handler of a survey's worker."""
    use_single_thread()
    limit_memory(_HEADROOM_BYTES)

    def handle(task: MeasureTask | CompareTask, items: Items) -> list[PageMeasure] | list[float]:
        if isinstance(task, MeasureTask):
            return [_guarded(setup, page_id, item, items) for item, page_id in enumerate(task.page_ids)]
        return _compare(setup, task.pairs, items)

    return handle


def _guarded(setup: MeasureSetup, page_id: str, item: int, items: Items) -> PageMeasure:
    reason = items.begin(item)
    try:
        if reason is not None:
            return PageMeasure(page_id, "unreadable", reason=reason)
        page, left_out = setup.read_in_document(page_id)
        return measure(page_id, page)._replace(left_out=left_out)
    except PageError as error:
        return PageMeasure(page_id, "unreadable", reason=str(error))
    finally:
        items.end()


def measure(page_id: str, page: Pixels) -> PageMeasure:
    """Measure a decoded page, uint8 [h, w]."""
    thumb = fit(page, WHOLE_PAGE, fingerprint.THUMB_PX, fingerprint.THUMB_PX)[:, :, 0]
    paper = fingerprint.paper_level(thumb)
    ink = ink_share(page, paper) if paper >= BLACK_LEVEL else 1.0
    kind = "black" if paper < BLACK_LEVEL else "blank" if ink <= BLANK_INK else "page"
    return PageMeasure(
        page_id,
        kind,
        width=page.shape[1],
        height=page.shape[0],
        ink=ink,
        digest=pixel_digest(page),
        hash=fingerprint.hash_text(fingerprint.perceptual_hash(thumb)),
    )


def ink_share(page: Pixels, paper: int) -> float:
    """Fraction of pixels of `page` uint8 [h, w], without its outer 4 %, darker than 3/4 of gray level `paper`."""
    height, width = page.shape
    inner = page[
        int(height * _INNER.top) : max(int(height * _INNER.bottom), 1),
        int(width * _INNER.left) : max(int(width * _INNER.right), 1),
    ]
    # An integer: comparing with a float converts every pixel.
    return round(np.count_nonzero(inner < math.ceil(INK_LEVEL * paper)) / inner.size, 6)


def pixel_digest(page: Pixels) -> str:
    """128-bit hex digest of the size and pixels of a page, uint8 [h, w] or [h, w, 3]."""
    digest = hashlib.sha256(repr(page.shape).encode())
    digest.update(np.ascontiguousarray(page).data)
    return digest.hexdigest()[:32]


def _compare(setup: MeasureSetup, pairs: Sequence[tuple[str, str]], items: Items) -> list[float]:
    """Agreements of the pairs; 0 if a page can no longer be read."""
    kept: dict[str, Pixels] = {}
    agreements = []
    for item, pair in enumerate(pairs):
        agreed = 0.0
        try:
            if items.begin(item) is None:
                agreed = fingerprint.agreement(*(_in_detail(setup, page_id, kept) for page_id in pair))
        except PageError:
            pass
        finally:
            items.end()
        agreements.append(round(agreed, 4))
    return agreements


def _in_detail(setup: MeasureSetup, page_id: str, kept: dict[str, Pixels]) -> Pixels:
    """The page at comparison size, uint8 [256, 192]; recent pages are cached, since a page is in several pairs."""
    if page_id not in kept:
        if len(kept) >= _KEPT_PAGES:
            del kept[next(iter(kept))]
        page = setup.read(page_id)
        size = (fingerprint.DETAIL_HEIGHT, fingerprint.DETAIL_WIDTH)
        kept[page_id] = fit(page, WHOLE_PAGE, *size)[:, :, 0]
    return kept[page_id]
