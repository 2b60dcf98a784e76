"""Documents: image files, TIFF files of several pages and PDFs, read page by page.

The one reader of conversion, survey and prediction:

    for page in document_pages(path, pages="all"):
        print(page.number, page.of, page.error or page.pixels.shape)

It holds the file's bytes and one page's pixels at a time. Limits on file size and pixels hold in any process; a limit
on time needs a process that can be killed (`data_tools.workers.pool`), since decoders do not return early.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from data_tools.documents.formats import headers, tiff
from data_tools.documents.formats.image import decode_image, second_opinion
from data_tools.documents.formats.page_error import PageError, Pixels
from data_tools.documents.formats.page_file import read_file
from data_tools.documents.formats.pdfium import Pdf
from data_tools.documents.pages import DPI, MAX_PAGES, Pages, page_limit

__all__ = ["DPI", "MAX_PAGES", "Document", "DocumentPage", "Pages", "document_pages", "open_document", "page_limit"]


class Document:
    """An open document: `pages` is its number of pages, 1 for a plain image. A context that closes it."""

    def __init__(self, content: bytes, *, color: bool = False, dpi: int = DPI) -> None:
        """Open the document in a file's bytes; dpi: at which a PDF is rendered. Decodes no page.

        Raises:
            PageError: an unknown format, or a PDF that is encrypted, damaged or empty or cannot be read here.
        """
        self._content: bytes | bytearray = content
        self._color, self._dpi = color, dpi
        self._kind = headers.image_format(content)
        if self._kind is None:
            raise PageError(headers.foreign(content))
        self._pdf = Pdf(content) if self._kind == "PDF" else None
        self._directories = tiff.pages(content) if self._kind == "TIFF" else []
        self.pages: int = self._pdf.pages if self._pdf else max(len(self._directories), 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pdf:
            self._pdf.close()

    def read(self, number: int) -> Pixels:
        """Decode page `number`, from 1 on; uint8 [h, w], or as RGB [h, w, 3].

        Raises:
            PageError: the document has no such page, or the page cannot be decoded; other pages may be intact.
        """
        if not 1 <= number <= self.pages:
            raise PageError(f"no page {number}: the file has {self.pages} page{'' if self.pages == 1 else 's'}")
        if self._pdf:
            return self._pdf.render(number, dpi=self._dpi, color=self._color)
        return decode_image(self._begin_at(number), str(self._kind), color=self._color)

    def doubt(self, number: int) -> str | None:
        """What speaks against page `number`, just read, being as black or blank as it came out; None if nothing does.

        For a PDF the objects that it draws, for an image what a second decoder finds in its colors.
        """
        if self._pdf:
            drawn = self._pdf.objects(number)
            return f"draws {drawn} object{'' if drawn == 1 else 's'}" if drawn else None
        try:
            seen = second_opinion(self._begin_at(number), str(self._kind))
        except (PageError, MemoryError):
            return None
        return "ink in its colors" if seen == "page" else None

    def _begin_at(self, number: int) -> bytes | bytearray:
        """The file's bytes, with page `number` as the first one."""
        if len(self._directories) > 1 or self._first_is_no_page():
            if not isinstance(self._content, bytearray):
                self._content = bytearray(self._content)
            # The decoders read the first image of a file; this way the same code reads the others.
            tiff.put_first(self._content, self._directories[number - 1])
        return self._content

    def _first_is_no_page(self) -> bool:
        """Whether a TIFF begins with the thumbnail of its only page."""
        first = tiff.directory(self._content) if self._directories else None
        return first is not None and first.offset != self._directories[0]


def open_document(path: Path | str, *, color: bool = False, dpi: int = DPI) -> Document:
    """Open the document in a file; see `Document`.

    Raises:
        PageError: the file is missing, not regular, empty or too large, or `Document` rejects it.
    """
    return Document(read_file(path), color=color, dpi=dpi)


@dataclass(frozen=True)
class DocumentPage:
    """One page of a document: its number, from 1 on, of `of` pages, and its pixels or the reason why it has none."""

    number: int
    of: int
    pixels: Pixels | None
    error: str | None = None


def document_pages(
    path: Path | str, *, pages: Pages = "first", color: bool = False, dpi: int = DPI
) -> Iterator[DocumentPage]:
    """The pages of a document in their order, at most as many as `pages` says, decoded one at a time.

    A document that cannot be opened gives one page, with the reason. `of - number` of the last page were left out.
    """
    try:
        document = open_document(path, color=color, dpi=dpi)
    except PageError as error:
        yield DocumentPage(1, 1, None, str(error))
        return
    with document:
        for number in range(1, min(document.pages, page_limit(pages)) + 1):
            try:
                yield DocumentPage(number, document.pages, document.read(number))
            except PageError as error:
                yield DocumentPage(number, document.pages, None, str(error))
