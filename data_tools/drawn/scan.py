"""Effects of a scanner and of decades in an archive on a page."""

import numpy as np

from data_tools.drawn.canvas import Gray, blurred, mapped, warped
from data_tools.drawn.page import Page


def scanned(page: Page) -> Gray:
    """The page's ink after skew, shift, dark edges, specks, fading and contrast; uint8 of the same shape."""
    ink = page.canvas.ink
    border = 0 if page.chance(0.12) else 255
    zoom = page.between(0.9, 1.02)
    image = warped(
        ink,
        degrees=float(page.random.normal(0, 0.7)),
        border=border,
        zoom=(zoom * page.between(0.98, 1.02), zoom),
        shift=(page.between(-0.03, 0.03), page.between(-0.03, 0.03)),
    )
    if page.chance(0.4):
        image = blurred(image, page.between(0.4, 0.9))
    if page.chance(0.25):
        _dark_edges(page, image)
    if page.chance(0.15):
        _smear(page, image)
    _specks(page, image)
    return _toned(page, image)


def _dark_edges(page: Page, image: Gray) -> None:
    height, width = image.shape
    for _ in range(page.integer(1, 2)):
        depth = int(page.between(0.005, 0.04) * width)
        side = page.integer(0, 3)
        where = (image[:depth], image[height - depth :], image[:, :depth], image[:, width - depth :])[side]
        where[...] = page.random.integers(0, 60, where.shape, dtype=np.uint8)


def _smear(page: Page, image: Gray) -> None:
    """A band of toner dust across the page."""
    height = len(image)
    top, depth = page.integer(0, height - 20), page.integer(8, height // 5)
    band = image[top : top + depth]
    dust = page.random.random(band.shape, dtype=np.float32) < page.between(0.03, 0.2)
    band[dust] = page.integer(0, 90)


def _specks(page: Page, image: Gray) -> None:
    height, width = image.shape
    for value in (0, 255):
        count = int(height * width * 0.0008 * page.between(0, 1) ** 3 * 8)
        rows, columns = page.random.integers(0, (height, width), (count, 2)).T
        image[rows, columns] = value


def _toned(page: Page, image: Gray) -> Gray:
    """Fade the ink, darken the paper, and raise the contrast: most scans are nearly black and white."""
    levels = np.arange(256, dtype=np.float64)
    if page.chance(0.6):
        middle, steep = page.between(120, 200), page.between(0.02, 0.08)
        levels = 255 / (1 + np.exp(-steep * (levels - middle)))
    ink, paper = page.between(0, 110) * page.between(0, 1), page.between(225, 255)
    # 32 gray levels: saves a third of the storage, and is as invisible as the grain.
    lookup = np.clip(ink + levels * (paper - ink) / 255, 0, 255).astype(np.uint8) // 8 * 8 + 7
    return mapped(image, lookup)
