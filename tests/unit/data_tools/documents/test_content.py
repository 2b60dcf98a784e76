"""Nearly blank and nearly black pages."""

import numpy as np
import pytest

from data_tools.documents.content import Content, content_of


def painted(paper: int, ink: int, share: float, *, shape: tuple[int, int] = (1000, 780)) -> np.ndarray:
    page = np.full(shape, paper, np.uint8)
    rows = int(shape[0] * share)
    page[shape[0] // 2 - rows // 2 : shape[0] // 2 + rows - rows // 2] = ink
    return page


@pytest.mark.parametrize(
    ("page", "content"),
    [
        (painted(255, 0, 0.02), "page"),
        (painted(255, 0, 0.0), "blank"),
        (painted(200, 180, 0.5), "blank"),
        (painted(0, 255, 0.0), "black"),
        (painted(30, 255, 0.02), "black"),
        (painted(30, 255, 0.2), "page"),
        (painted(255, 0, 0.2, shape=(3, 3)), "blank"),
        (np.zeros((1, 1), np.uint8), "black"),
        (np.full((1, 5000), 255, np.uint8), "blank"),
    ],
)
def test_the_kinds_of_pages(page: np.ndarray, content: Content) -> None:
    assert content_of(page) == content
    assert content_of(np.repeat(page[:, :, None], 3, axis=2)) == content


def test_color_is_ink_and_paper() -> None:
    red_on_white = np.full((400, 300, 3), 255, np.uint8)
    red_on_white[100:200, :, 1:] = 0
    assert content_of(red_on_white) == "page"
    blue_paper = np.zeros((400, 300, 3), np.uint8)
    blue_paper[:, :, 2] = 200
    assert content_of(blue_paper) == "page"


def test_dust_and_the_edge_of_a_scan_are_no_ink() -> None:
    page = painted(250, 0, 0.0)
    page[:30] = page[:, -25:] = 0
    page[500, 300] = 0
    assert content_of(page) == "blank"
