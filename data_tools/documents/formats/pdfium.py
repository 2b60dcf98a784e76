"""The only import of pypdfium2, an optional package: pages of a PDF as pixels.

PDFium is built without JavaScript. It is not thread-safe; a process renders one page at a time.
"""

import importlib.util
import logging
import math
from itertools import islice
from types import TracebackType
from typing import Any, Self

import numpy as np

from data_tools.documents.formats.page_error import PageError, Pixels
from data_tools.documents.opencv import MAX_PIXELS, cv2
from data_tools.errors import UserError

NOT_INSTALLED = "pypdfium2 is not installed; install it with `pip install 'regionstack[pdf]'`"

_POINTS_PER_INCH = 72
_FORMAT_ERROR, _PASSWORD_ERROR, _SECURITY_ERROR = 3, 4, 5
"""FPDF_ERR_FORMAT, FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY of fpdfview.h."""
_XFA_FORM = 2
"""FORMTYPE_XFA_FULL of fpdf_formfill.h: the page itself only asks for another viewer."""

# It warns of forms that also have an XFA part.
logging.getLogger("pypdfium2").setLevel(logging.ERROR)


def installed() -> bool:
    """Whether PDFs can be read here."""
    return importlib.util.find_spec("pypdfium2") is not None


def require(place: str) -> None:
    """Check that PDFs can be read, before work begins; `place` names the first PDF.

    Raises:
        UserError: pypdfium2 is not installed.
    """
    if not installed():
        raise UserError(f"{place}: is a PDF, and {NOT_INSTALLED}")


class Pdf:
    """An open PDF; a context that closes it."""

    def __init__(self, content: bytes) -> None:
        """Open the PDF in the bytes `content`.

        Raises:
            PageError: pypdfium2 is not installed; the PDF is encrypted, damaged or has no page.
        """
        if not installed():
            raise PageError(f"a PDF, and {NOT_INSTALLED}")
        import pypdfium2  # Imported late: it is optional, and most pages are images.

        self._errors = (pypdfium2.PdfiumError, OSError, ValueError, MemoryError)
        library = pypdfium2.raw
        # PdfDocument reports a PDF without pages as the last error of any other, and does not copy the bytes.
        opened, self._content = library.FPDF_LoadMemDocument64(content, len(content), None), content
        if not opened:
            raise PageError(_opening(library.FPDF_GetLastError()))
        self._document = pypdfium2.PdfDocument(opened)
        if not len(self._document):
            self._document.close()
            raise PageError("the PDF has no page")
        if self._document.get_formtype() == _XFA_FORM:
            self._document.close()
            raise PageError("the PDF is an XFA form, whose pages only Adobe's programs draw; print it to a PDF")
        try:
            # Filled fields are drawn only with a form environment, which must exist before the first page.
            self._document.init_forms()
        except self._errors:
            self._document.close()
            raise PageError("PDF cannot be opened: its form is damaged") from None
        self.pages = len(self._document)
        """Number of pages that the PDF declares."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the document."""
        self._document.close()

    def render(self, number: int, *, dpi: int, color: bool) -> Pixels:
        """Page `number` (from 1) on white paper at `dpi`; uint8 [h, w], or [h, w, 3] as RGB with `color`.

        Raises:
            PageError: the page is damaged, or has no area or too many pixels.
        """
        try:
            page = self._document[number - 1]
        except self._errors:
            raise PageError(f"page {number} of the PDF cannot be read (damaged)") from None
        try:
            width, height = _size(page, number, dpi)
            bitmap = page.render(scale=dpi / _POINTS_PER_INCH, rev_byteorder=True)
            pixels = np.array(bitmap.to_numpy()[:, :, :3])
            bitmap.close()
        except self._errors as error:
            raise PageError(f"page {number} of the PDF cannot be rendered: {_text(error)}") from None
        finally:
            page.close()
        if pixels.shape[0] < 1 or pixels.shape[1] < 1:
            raise PageError(f"page {number} of the PDF is {width} x {height} pixels at {dpi} dpi")
        return pixels if color else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)

    def objects(self, number: int) -> int:
        """Texts, pictures and paths that page `number` draws, 1000 at most; 0 if that is not known."""
        try:
            page = self._document[number - 1]
            try:
                return sum(1 for _ in islice(page.get_objects(max_depth=1), 1000))
            finally:
                page.close()
        except self._errors:
            return 0


def _size(page: Any, number: int, dpi: int) -> tuple[int, int]:
    """Width and height in pixels, within the limits."""
    points = page.get_size()
    if not all(math.isfinite(length) and length > 0 for length in points):
        raise PageError(f"page {number} of the PDF has no area")
    width, height = (math.ceil(length * dpi / _POINTS_PER_INCH) for length in points)
    if width * height > MAX_PIXELS:
        raise PageError(
            f"page {number} of the PDF is {width} x {height} pixels at {dpi} dpi, more than {MAX_PIXELS} pixels"
        )
    return width, height


def _opening(code: int) -> str:
    if code == _PASSWORD_ERROR:
        return "the PDF is encrypted; save it without a password"
    if code == _SECURITY_ERROR:
        return "the PDF is encrypted in a way that is not supported; save it without encryption"
    return "PDF cannot be opened (truncated or damaged)"


def _text(error: Exception) -> str:
    return "needs too much memory" if isinstance(error, MemoryError) else " ".join(str(error).split())[:200]


def version() -> str | None:
    """PDFium's version; None where it is not installed."""
    if not installed():
        return None
    import pypdfium2  # As above.

    return str(pypdfium2.PDFIUM_INFO.tag)
