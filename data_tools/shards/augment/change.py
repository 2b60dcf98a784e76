"""Random changes that resemble scanning: small shifts, rotations, scales, exposure, noise, erased parts; no flips.

The change of a page is a function of seed, epoch and page number, so resumed runs and runs of another world size see
the same pixels. Off by default, as in the source of the recipe.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.order import uniform

PAPER = 255
"""Gray level beyond the page's edge, and of erased parts."""
_NOISE_BANK = 2**20
_Float = NDArray[np.float64]


def augment(
    images: NDArray[np.uint8],
    config: AugmentConfig,
    *,
    seed: int,
    epoch: int,
    positions: NDArray[np.int64],
) -> None:
    """Augment `images` uint8 [b, h, w, c] in place; `positions` int64 [b] are their page numbers."""
    from data_tools.documents.pixels import warp  # Imported late: reading without augmentation needs no OpenCV.

    dice = uniform(seed, epoch, positions, _DICE)
    bank = noise_bank() if config.noise else None
    for image, row in zip(images, dice, strict=True):
        if config.moves:
            image[:] = warp(image, transform(config, row, image.shape[0], image.shape[1]), PAPER)
        if config.brightness or config.contrast or bank is not None:
            _expose(image, config, row, bank)
        if config.cutout:
            _cut_out(image, config.cutout, row)
        if row[10] < config.erase:
            top, bottom, left, right = erased_box(config.erase_area, row, image.shape[0], image.shape[1])
            level = PAPER if config.erase_fill == "paper" else int(row[15] * (PAPER + 1))
            image[top:bottom, left:right] = level


_DICE = 16
_ASPECT = 10 / 3
"""Largest aspect ratio of an erased part: Zhong et al. 2020 (arXiv 1708.04896), section 4."""


def transform(config: AugmentConfig, dice: _Float, height: int, width: int) -> _Float:
    """Affine map from output (x, y, 1) to input (x, y), float64 [2, 3]; `dice` float64 [16] in [0, 1)."""
    signed = 2 * dice - 1
    angle = np.deg2rad(config.rotation_deg * signed[0])
    shear = np.tan(np.deg2rad(config.shear_deg * signed[1]))
    zoom = 1 + config.scale * signed[2]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1.0, shear], [0.0, 1.0]]) / zoom
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = config.shift * signed[3:5] * np.array([width, height])
    return np.column_stack([linear, middle - linear @ (middle + shift)])


def _expose(image: NDArray[np.uint8], config: AugmentConfig, dice: _Float, bank: NDArray[np.float32] | None) -> None:
    gain = np.float32(1 + config.contrast * (2 * dice[5] - 1))
    light = np.float32(PAPER * config.brightness * (2 * dice[6] - 1))
    middle = np.float32(PAPER / 2)
    values = (image.astype(np.float32) - middle) * gain + (middle + light)
    if bank is not None:
        start = int(dice[7] * _NOISE_BANK)
        noise = np.take(bank, np.arange(start, start + image.size), mode="wrap").reshape(image.shape)
        values += np.float32(PAPER * config.noise) * noise
    image[:] = np.clip(np.rint(values), 0, PAPER).astype(np.uint8)


def _cut_out(image: NDArray[np.uint8], share: float, dice: _Float) -> None:
    height, width = image.shape[:2]
    side = max(1, round(share * min(height, width)))
    top, left = int(dice[8] * (height - side + 1)), int(dice[9] * (width - side + 1))
    image[top : top + side, left : left + side] = PAPER


def erased_box(area: tuple[float, float], dice: _Float, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right, px, of the erased part; `dice` float64 [16] in [0, 1).

    Its share of the page is uniform in `area`; the ratio of its sides, as fractions of the page's, is log-uniform
    between 3/10 and 10/3, or as far as the part fits the page.
    """
    share = area[0] + (area[1] - area[0]) * dice[11]
    ratio = min(_ASPECT, 1 / share) ** (2 * dice[12] - 1)
    rows = min(height, max(1, round(height * float(np.sqrt(share * ratio)))))
    columns = min(width, max(1, round(width * float(np.sqrt(share / ratio)))))
    top, left = int(dice[13] * (height - rows + 1)), int(dice[14] * (width - columns + 1))
    return top, top + rows, left, left + columns


@cache
def noise_bank() -> NDArray[np.float32]:
    """Nearly normal numbers of standard deviation 1, float32 [_NOISE_BANK], equal on every machine."""
    # Sum of twelve uniform numbers minus six (Irwin-Hall), since generators of libraries change with their versions.
    total = uniform(0, 0, np.arange(_NOISE_BANK), 12).sum(axis=1) - 6
    return total.astype(np.float32)
