"""Sample pages for TensorBoard: the page, and under it what the model answers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.opencv import cv2
from data_tools.documents.pixels import encode
from trainer.tracking.event import Picture

LEAST_PX = 192
"""Width that a smaller page is enlarged to by a whole factor, so that its caption can be read."""
LINE_PX = 18
FONT_PX = 13
MARGIN_PX = 4


def sample_positions(labels: NDArray[np.int32], count: int) -> list[int]:
    """Positions of up to `count` pages, the first ones of as many classes as there are, spread over the classes.

    labels: int32 [n], class indices.
    """
    _, first = np.unique(labels, return_index=True)
    if len(first) > count:
        first = first[np.linspace(0, len(first) - 1, count).round().astype(np.int64)]
    return [int(position) for position in first]


def captioned(page: NDArray[np.uint8], label: int, softmax: NDArray[np.floating], names: Sequence[str]) -> Picture:
    """The page uint8 [h, w, c] with a caption: its label, and the most probable class with its probability.

    softmax: float [C]; names: of the C classes.
    """
    found = int(np.argmax(softmax))
    answer = f"{float(softmax[found]):.2f}"
    lines = [names[label], f"right {answer}" if found == label else f"wrong {answer} {names[found]}"]
    factor = -(-LEAST_PX // page.shape[1])
    enlarged = page.repeat(factor, axis=0).repeat(factor, axis=1)
    picture = np.concatenate([enlarged, _caption(lines, enlarged.shape[1], page.shape[2])])
    height, width, channels = picture.shape
    return Picture(encode(picture, "png"), height, width, channels)


def _caption(lines: Sequence[str], width: int, channels: int) -> NDArray[np.uint8]:
    strip = np.full((LINE_PX * len(lines) + MARGIN_PX, width), 255, np.uint8)
    font = cv2.FontFace("sans")
    for number, line in enumerate(lines, start=1):
        # A name may hold bytes that are not UTF-8.
        line = line.encode(errors="replace").decode()
        cv2.putText(strip, line, (MARGIN_PX, number * LINE_PX - MARGIN_PX), (0,), font, FONT_PX)
    return strip[:, :, None].repeat(channels, axis=2)
