"""Jitter as a scanner makes it: small shifts, turns and zooms, light, noise, a blank patch; never a mirror image.

What happens to a page depends on seed, epoch and the page's number alone, so a resumed run and one of
another world size see the same pixels. Off by default, as in the recipe's source.
"""

from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError
from data_tools.shards.order import uniform

PAPER = 255
"""Gray level of what comes into view from beyond the page's edge, and of the blank patch."""
_NOISE_BANK = 2**20
_Float = NDArray[np.float64]


@dataclass(frozen=True)
class AugmentConfig:
    """How far pages are changed at most; all uniform, to both sides, and 0 for not at all.

    `shift` (share of height and width), `scale` (share of the size), `rotation_deg`, `shear_deg`,
    `brightness` (share of the range black to white), `contrast` (share of the distance from middle gray),
    `noise` (standard deviation of a pixel, share of the range) and `cutout` (side of the blank patch, share
    of the shorter side).
    """

    shift: float = 0.0
    scale: float = 0.0
    rotation_deg: float = 0.0
    shear_deg: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for field in fields(self):
            most = 45.0 if field.name.endswith("_deg") else 0.5
            if not 0 <= getattr(self, field.name) <= most:
                raise UserError(f"{field.name}: {getattr(self, field.name)} must be from 0 to {most:g}")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def moves(self) -> bool:
        """Whether pixels change their place."""
        return bool(self.shift or self.scale or self.rotation_deg or self.shear_deg)


def augment(
    images: NDArray[np.uint8],
    config: AugmentConfig,
    *,
    seed: int,
    epoch: int,
    positions: NDArray[np.int64],
) -> None:
    """Change `images` uint8 [b, h, w, c], the pages of number `positions` int64 [b], in place."""
    from data_tools.documents.pixels import warp  # Here, since reading without augmentation needs no OpenCV.

    dice = uniform(seed, epoch, positions, _DICE)
    bank = noise_bank() if config.noise else None
    for image, row in zip(images, dice, strict=True):
        if config.moves:
            image[:] = warp(image, transform(config, row, image.shape[0], image.shape[1]), PAPER)
        if config.brightness or config.contrast or bank is not None:
            _expose(image, config, row, bank)
        if config.cutout:
            _cut_out(image, config.cutout, row)


_DICE = 12


def transform(config: AugmentConfig, dice: _Float, height: int, width: int) -> _Float:
    """The affine map from a pixel of the new page to one of the old, float64 [2, 3] on (x, y, 1)."""
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


@cache
def noise_bank() -> NDArray[np.float32]:
    """Near-normal numbers of deviation 1, float32 [_NOISE_BANK]; the same on every machine."""
    # The sum of twelve uniform numbers less six (Irwin-Hall): no library's normal generator, so no version's.
    total = uniform(0, 0, np.arange(_NOISE_BANK), 12).sum(axis=1) - 6
    return total.astype(np.float32)
