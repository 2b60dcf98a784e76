"""The HTML page of `regionstack predict`: each page with its regions and every model's prediction."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.regions import WHOLE_PAGE, Box
from data_tools.files import write_atomically
from launch.report.html import page as html_page
from launch.report.plotting import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from launch.report.samples import top_classes
from launch.report.shard_pages import png_of
from trainer.config import STACK

BOX_COLORS = (VERMILION, GREEN, PURPLE, ORANGE, SKY, BLUE)

PAGE_PX = 512
"""Longer side of a page's picture."""


@dataclass(frozen=True)
class PagePicture:
    """A small picture of a page. aspect: width over height of the page itself."""

    png: bytes
    aspect: float


def picture_of(image: NDArray[np.uint8]) -> PagePicture:
    """The picture of a page uint8 [h, w] or [h, w, 1 or 3]."""
    return PagePicture(png_of(image, max_px=PAGE_PX), image.shape[1] / image.shape[0])


def write_predictions_page(
    path: Path,
    *,
    pictures: Mapping[str, PagePicture],
    outputs: Mapping[str, NDArray[np.floating[Any]]],
    class_names: Sequence[str],
    boxes: Mapping[str, Box],
) -> Path:
    """Write one self-contained HTML file with a card for every page; returns `path`.

    Args:
        pictures: By page name.
        outputs: Softmax float[n, C] by model; row i belongs to the i-th picture.
        class_names: Names of the C classes.
        boxes: Regions by name.
    """
    models = sorted(outputs, key=lambda name: name == STACK)
    pages = [
        {
            "name": name,
            "png": base64.b64encode(picture.png).decode(),
            "aspect": picture.aspect,
            "models": {model: top_classes(outputs[model][place]) for model in models},
        }
        for place, (name, picture) in enumerate(pictures.items())
    ]
    shown = [(name, box) for name, box in boxes.items() if box != WHOLE_PAGE]
    regions = [
        {"name": name, "box": box, "color": BOX_COLORS[place % len(BOX_COLORS)]}
        for place, (name, box) in enumerate(shown)
    ]
    html = html_page("predictions.html.j2", pages=pages, regions=regions, names=list(class_names))
    write_atomically(path, html)
    return path
