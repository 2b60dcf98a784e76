"""The sixteen classes in the order of RVL-CDIP, and the drawing of a page of a class."""

from collections.abc import Callable

import numpy as np

from data_tools.drawn.canvas import Canvas, Gray
from data_tools.drawn.elements import bates_number, fax_line, punch_holes
from data_tools.drawn.layouts import accounts, articles, atypical, correspondence, display, forms
from data_tools.drawn.page import Page
from data_tools.drawn.scan import scanned

LAYOUTS: dict[str, Callable[[Page], None]] = {
    "letter": correspondence.letter,
    "form": forms.form,
    "email": correspondence.email,
    "handwritten": correspondence.handwritten,
    "advertisement": display.advertisement,
    "scientific report": articles.scientific_report,
    "scientific publication": articles.scientific_publication,
    "specification": forms.specification,
    "file folder": display.file_folder,
    "news article": articles.news_article,
    "budget": accounts.budget,
    "invoice": accounts.invoice,
    "presentation": display.presentation,
    "questionnaire": forms.questionnaire,
    "resume": articles.resume,
    "memo": correspondence.memo,
}
CLASS_NAMES = tuple(LAYOUTS)
"""Class names; the position is the class id."""

_ATYPICAL = 0.15
"""Fraction of upright pages that resemble another class."""
_LANDSCAPE = {"presentation": 0.7, "budget": 0.12, "scientific report": 0.05, "specification": 0.04}
_LANDSCAPE_WIDTH = 1290.0


def draw_page(class_name: str, random: np.random.Generator, *, height: int) -> Gray:
    """One scanned page, uint8 [height, width]; `random` is the only source of randomness."""
    landscape = random.random() < _LANDSCAPE.get(class_name, 0.0)
    turned = landscape and random.random() < 0.6
    width = _LANDSCAPE_WIDTH if landscape else float(random.uniform(710, 800))
    # A slide scanned sideways is drawn smaller, so that after the rotation it has the height of other pages.
    canvas = Canvas(round(height * 1000 / width) if turned else height, width)
    page = Page(canvas, random)
    upright = not landscape and class_name in atypical.LAYOUTS
    layouts = atypical.LAYOUTS if upright and page.chance(_ATYPICAL) else LAYOUTS
    layouts[class_name](page)
    if turned:
        canvas.ink = np.ascontiguousarray(np.rot90(canvas.ink)[:height])
    page.canvas = _archived(page, height)
    return scanned(page)


def _archived(page: Page, height: int) -> Canvas:
    """Add the marks of an archive to the page: number, holes, a fax line."""
    canvas = Canvas(height, 1000 * page.canvas.ink.shape[1] / height)
    canvas.paste(0, 0, page.canvas.ink)
    page.canvas = canvas
    if page.chance(0.55):
        bates_number(page)
    if page.chance(0.12):
        punch_holes(page)
    if page.chance(0.1):
        fax_line(page)
    return canvas
