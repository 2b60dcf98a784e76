"""Which pages of a document are read, and at which resolution; imports no decoder, since configurations use it."""

from typing import Literal

DPI = 200
"""Resolution at which PDFs are rendered by default: that of a fax or an office scanner."""
LOWEST_DPI, HIGHEST_DPI = 18, 2400
MAX_PAGES = 10_000
"""Most pages that are read from one document; the others are left out, and counted."""

Pages = Literal["first", "all"] | int
"""Which pages of a document are read: the first, all, or at most the first N."""


def page_limit(pages: Pages) -> int:
    """The largest number of pages that `pages` takes from a document."""
    return 1 if pages == "first" else MAX_PAGES if pages == "all" else min(int(pages), MAX_PAGES)
