"""Gray pictures with grain as scanned: landscapes, portraits, blurred fields, black shapes."""

import math

import numpy as np

from data_tools.drawn.canvas import Area, Canvas, Gray, blurred, resized
from data_tools.drawn.elements import disk
from data_tools.drawn.page import Page


def photograph(page: Page, area: Area) -> None:
    """A landscape, a portrait or soft fields with grain, framed or not."""
    scale = page.canvas.scale
    height, width = max(6, int(area.height * scale)), max(6, int(area.width * scale))
    scene = page.pick((_fields, _fields, _hills, _portrait))(page, height, width)
    grain = page.random.integers(0, 60, scene.shape, dtype=np.uint8)
    picture = np.clip(scene * page.between(0.6, 0.9) + grain - 20, 0, 235).astype(np.uint8)
    page.canvas.paste(area.left, area.top, picture)
    if page.chance(0.5):
        page.canvas.box(area)


def shapes(page: Page, area: Area) -> None:
    """Pale disks on a dark ground."""
    page.canvas.box(area, fill=page.pick((0, 0, 70)))
    for _ in range(page.integer(2, 5)):
        radius = page.between(0.08, 0.3) * min(area.width, area.height)
        x = page.between(area.left + radius, area.right - radius)
        y = page.between(area.top + radius, area.bottom - radius)
        page.canvas.polygon(disk(x, y, radius), gray=page.pick((255, 255, 180, 110)))


def _fields(page: Page, height: int, width: int) -> Gray:
    coarse = page.random.integers(0, 256, (page.integer(3, 5), page.integer(3, 5)), dtype=np.uint8)
    fields = resized(coarse, height, width)
    if page.chance(0.4):
        return np.where(blurred(fields, 2.0) > 128, np.uint8(255), fields)
    return fields


def _hills(page: Page, height: int, width: int) -> Gray:
    canvas = Canvas(height, 1000 * width / height)
    canvas.ink = canvas.ink[:, :width]
    canvas.ink[:] = np.linspace(page.between(120, 180), 250, height).astype(np.uint8)[:, None]
    canvas.polygon(disk(canvas.width * page.between(0.2, 0.8), page.between(150, 400), page.between(60, 130)), gray=255)
    for ridge in range(3):
        phase, waves, level = page.between(0, 6), page.between(3, 9), 450 + 170 * ridge
        along = [step / 20 for step in range(21)]
        crest = [(canvas.width * x, level + 70 * math.sin(phase + waves * x)) for x in along]
        canvas.polygon([(0, 1000), *crest, (canvas.width, 1000)], gray=160 - 60 * ridge)
    return canvas.ink


def _portrait(page: Page, height: int, width: int) -> Gray:
    canvas = Canvas(height, 1000 * width / height)
    canvas.ink = canvas.ink[:, :width]
    canvas.ink[:] = page.integer(130, 240)
    middle, face = canvas.width * page.between(0.4, 0.6), page.integer(170, 230)
    canvas.polygon(_oval(middle, 1080, 420, 400), gray=page.integer(10, 110))
    canvas.polygon(_oval(middle, 370, 190, 230), gray=page.integer(0, 120))
    canvas.polygon(_oval(middle, 450, 160, 220), gray=face)
    for side in (-60, 60):
        canvas.polygon(disk(middle + side, 420, 22), gray=40)
    canvas.strokes([[(middle - 60, 560), (middle, 575), (middle + 60, 560)]], thickness=16)
    return canvas.ink


def _oval(x: float, y: float, across: float, down: float) -> list[tuple[float, float]]:
    return [(x + across * c, y + down * s) for c, s in disk(0, 0, 1)]
