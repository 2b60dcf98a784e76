"""Changes that a second scan, a copy or a person makes to a page, for tests and benchmarks of duplicate search."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, np.random.Generator], Pixels]


def moved(page: Pixels, *, degrees: float = 0.0, shift: tuple[float, float] = (0, 0), scale: float = 1.0) -> Pixels:
    """Rotated about its center, shifted by fractions of width and height, scaled; filled with white."""
    height, width = page.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += (shift[0] * width, shift[1] * height)
    return cv2.warpAffine(page, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=255)  # type: ignore[return-value]


def noisy(page: Pixels, random: np.random.Generator, deviation: float) -> Pixels:
    return np.clip(page + random.normal(0, deviation, page.shape), 0, 255).astype(np.uint8)


def specked(page: Pixels, random: np.random.Generator, share: float = 0.01) -> Pixels:
    dice = random.random(page.shape)
    return np.where(dice < share / 2, 0, np.where(dice > 1 - share / 2, 255, page)).astype(np.uint8)


def levelled(page: Pixels, factor: float, offset: float) -> Pixels:
    return np.clip(page * factor + offset, 0, 255).astype(np.uint8)


def stamped(page: Pixels) -> Pixels:
    """A number at the bottom, as archives stamp it."""
    stamped = page.copy()
    height, width = page.shape
    place = (round(0.65 * width), round(0.97 * height))
    cv2.putText(stamped, "50412 8831", place, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * height / 1000, 0, max(1, height // 500))
    return stamped


def jpeg(page: Pixels, quality: int) -> Pixels:
    _, content = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)  # type: ignore[return-value]


def blurred(page: Pixels) -> Pixels:
    return cv2.GaussianBlur(page, (5, 5), 1.2)  # type: ignore[return-value]


def rescanned(page: Pixels, random: np.random.Generator) -> Pixels:
    """Skew up to 0.7 degrees, shift up to 1 %, blur, noise and a stamped number together."""
    turned = moved(page, degrees=random.uniform(-0.7, 0.7), shift=tuple(random.uniform(-0.01, 0.01, 2)))
    return stamped(noisy(cv2.GaussianBlur(turned, (3, 3), 0), random, 8))  # type: ignore[arg-type]


CHANGES: dict[str, Change] = {
    "noise 10": lambda page, random: noisy(page, random, 10),
    "noise 25": lambda page, random: noisy(page, random, 25),
    "1 % specks": specked,
    "blur": lambda page, random: blurred(page),
    "jpeg 30": lambda page, random: jpeg(page, 30),
    "60 % size": lambda page, random: cv2.resize(page, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),  # type: ignore[dict-item,return-value]
    "darker": lambda page, random: levelled(page, 0.8, 0),
    "paler": lambda page, random: levelled(page, 0.7, 75),
    "black and white": lambda page, random: np.where(page > 160, np.uint8(255), np.uint8(0)),
    "thicker strokes": lambda page, random: cv2.erode(page, np.ones((2, 2))),  # type: ignore[dict-item,return-value]
    "skew 0.5": lambda page, random: moved(page, degrees=0.5),
    "skew 1": lambda page, random: moved(page, degrees=1),
    "skew -1": lambda page, random: moved(page, degrees=-1),
    "shift 1 %": lambda page, random: moved(page, shift=(0.01, 0.01)),
    "shift 2 %": lambda page, random: moved(page, shift=(-0.02, 0.015)),
    "98 % size on the sheet": lambda page, random: moved(page, scale=0.98),
    "stamp": lambda page, random: stamped(page),
    "rescan": rescanned,
}


def filled_in(page: Pixels, other: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """`page` as another form of the same template: blocks of text replaced until `share` of its ink is gone."""
    filled = page.copy()
    ink = np.count_nonzero(page < 128)
    height, width = (min(sizes) for sizes in zip(page.shape, other.shape, strict=True))
    gone = 0
    for _ in range(300):
        rows, columns = int(height * random.uniform(0.02, 0.06)), int(width * random.uniform(0.16, 0.5))
        y, x = random.integers(int(0.1 * height), height - rows), random.integers(0, width - columns)
        v, u = random.integers(0, height - rows), random.integers(0, width - columns)
        old, new = filled[y : y + rows, x : x + columns], other[v : v + rows, u : u + columns]
        if np.mean(old < 128) < 0.02 or not 0.03 < np.mean(new < 128) < 0.5:
            continue
        gone += np.count_nonzero(old < 128)
        filled[y : y + rows, x : x + columns] = new
        if gone >= share * ink:
            break
    return filled
