"""The HTML page of `regionstack predict`, in pieces: a head, a card for each shown answer, an end."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.regions import WHOLE_PAGE, Box
from data_tools.plain_text import printable
from launch.report.html import page as html_page
from launch.report.plotting import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from launch.report.samples import top_classes
from launch.report.shard_pages import png_of
from trainer.serving.answer import Answer

BOX_COLORS = (VERMILION, GREEN, PURPLE, ORANGE, SKY, BLUE)

PAGE_PX = 512
"""Longer side of a page's picture."""

CARD = '<div class="page">'
CARD_ALSO = '<div class="page also">'
"""How the line of a card begins: one of the first answers, and a later one."""


@dataclass(frozen=True)
class PagePicture:
    """A small picture of a page. aspect: width over height of the page itself."""

    png: bytes
    aspect: float


def picture_of(image: NDArray[np.uint8]) -> PagePicture:
    """The picture of a page uint8 [h, w] or [h, w, 1 or 3]."""
    return PagePicture(png_of(image, max_px=PAGE_PX), image.shape[1] / image.shape[0])


def page_head(run: str, *, first: int, more: int) -> str:
    """What precedes the cards; first, more: how many of the first and of the later answers have one."""
    return html_page("predictions.html.j2", run=run, first=first, more=more) + "\n"


def page_end(counts: Any, *, shown: int) -> str:
    """What follows the cards. counts: `launch.predict.forms.Counts`."""
    return html_page("predictions_end.html.j2", counts=counts, shown=shown) + "\n"


def card(
    answer: Answer, picture: PagePicture | None, *, names: Sequence[str], boxes: Mapping[str, Box], also: bool
) -> str:
    """One answer as HTML in one line. names: of the classes, in the order of the outputs. also: not among the first."""
    shown = [(name, box) for name, box in boxes.items() if box != WHOLE_PAGE]
    regions = [
        {"name": name, "box": box, "color": BOX_COLORS[place % len(BOX_COLORS)]}
        for place, (name, box) in enumerate(shown)
    ]
    shares = {model: np.array([own[name] for name in names]) for model, own in answer.probabilities.items()}
    place = answer.place
    html = html_page(
        "prediction.html.j2",
        name=printable(place.source) + ("" if place.page in (1, None) else f", page {place.page}"),
        picture=picture,
        png=base64.b64encode(picture.png).decode() if picture else "",
        models={model: top_classes(row) for model, row in shares.items()},
        error=answer.error,
        decision=answer.decision,
        also=also,
        regions=regions,
        names=list(names),
    )
    return " ".join(html.split("\n")).strip()
