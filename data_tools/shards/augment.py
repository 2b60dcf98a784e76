"""Random augmentation that resembles scanning: small shifts, rotations, scales, exposure, noise, cutout; no flips.

The change of a page is a function of seed, epoch and page number, so resumed runs and runs of another world size see
the same pixels. Off by default, as in the source of the recipe.
"""

from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError
from data_tools.shards.order import uniform

PAPER = 255
"""Gray level beyond the page's edge, and of the cutout."""
_NOISE_BANK = 2**20
_Float = NDArray[np.float64]


@dataclass(frozen=True)
class AugmentConfig:
    """Limits of random changes, uniform in both directions; 0 turns a change off.

    `shift` (fraction of height and width), `scale` (fraction of the size), `rotation_deg`, `shear_deg`, `brightness`
    (fraction of the range from black to white), `contrast` (fraction of the distance from middle gray), `noise`
    (standard deviation of a pixel, fraction of the range), `cutout` (side of the blank square, fraction of the shorter
    side).
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
            limit = 45.0 if field.name.endswith("_deg") else 0.5
            if not 0 <= getattr(self, field.name) <= limit:
                raise UserError(f"{field.name}: {getattr(self, field.name)} must be from 0 to {limit:g}")

    @property
    def active(self) -> bool:
        """Whether any change is on."""
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def moves(self) -> bool:
        """Whether a geometric change is on."""
        return bool(self.shift or self.scale or self.rotation_deg or self.shear_deg)


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


_DICE = 12


def transform(config: AugmentConfig, dice: _Float, height: int, width: int) -> _Float:
    """Affine map from output (x, y, 1) to input (x, y), float64 [2, 3]; `dice` float64 [12] in [0, 1)."""
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
    """Nearly normal numbers of standard deviation 1, float32 [_NOISE_BANK], equal on every machine."""
    # Sum of twelve uniform numbers minus six (Irwin-Hall), since generators of libraries change with their versions.
    total = uniform(0, 0, np.arange(_NOISE_BANK), 12).sum(axis=1) - 6
    return total.astype(np.float32)
