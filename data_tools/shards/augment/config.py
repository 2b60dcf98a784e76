"""Which random changes training pages get."""

from dataclasses import dataclass, fields, replace
from typing import Literal, Self

from data_tools.errors import UserError


@dataclass(frozen=True)
class AugmentConfig:
    """Limits of random changes, uniform in both directions; 0 turns a change off, and all are off by default.

    `shift` (fraction of height and width), `scale` (fraction of the size), `rotation_deg`, `shear_deg`, `brightness`
    (fraction of the range from black to white), `contrast` (fraction of the distance from middle gray), `noise`
    (standard deviation of a pixel, fraction of the range), `cutout` (side of the blank square, fraction of the shorter
    side).

    erase: probability that a rectangle of a page is erased; erase_area: its least and largest share of the page's
    area; erase_fill: `paper`, or `gray`, one random gray level.
    mixup, cutmix: alpha of the Beta(alpha, alpha) distribution of the share that a page keeps when it is mixed with
    another page of its global batch; mix_probability: that a page is mixed. With both, either is as likely.
    """

    shift: float = 0.0
    scale: float = 0.0
    rotation_deg: float = 0.0
    shear_deg: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)
    erase_fill: Literal["paper", "gray"] = "paper"
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for field in fields(self):
            limit = LIMITS.get(field.name)
            if limit is not None and not 0 <= getattr(self, field.name) <= limit:
                raise UserError(f"{field.name}: {getattr(self, field.name)} must be from 0 to {limit:g}")
        least, largest = self.erase_area
        if not 0 < least <= largest <= LARGEST_ERASED:
            raise UserError(
                f"erase_area: {[least, largest]} must be the least and the largest share of the page, "
                f"above 0 and at most {LARGEST_ERASED:g}"
            )
        if not self.mix_probability > 0:
            raise UserError("mix_probability: must be greater than 0; to turn mixing off, set mixup and cutmix to 0")

    @property
    def active(self) -> bool:
        """Whether any change of a page by itself is on."""
        return bool(self.moves or self.brightness or self.contrast or self.noise or self.cutout or self.erase)

    @property
    def moves(self) -> bool:
        """Whether a geometric change is on."""
        return bool(self.shift or self.scale or self.rotation_deg or self.shear_deg)

    @property
    def mixes(self) -> bool:
        """Whether pages are mixed with each other."""
        return bool(self.mixup or self.cutmix)

    def unmixed(self) -> Self:
        """The same changes of each page, without mixing."""
        return replace(self, mixup=0.0, cutmix=0.0)


LARGEST_ERASED = 0.8
LARGEST_ALPHA = 100.0
LIMITS = {
    "rotation_deg": 45.0,
    "shear_deg": 45.0,
    **dict.fromkeys(("shift", "scale", "brightness", "contrast", "noise", "cutout"), 0.5),
    **dict.fromkeys(("erase", "mix_probability"), 1.0),
    **dict.fromkeys(("mixup", "cutmix"), LARGEST_ALPHA),
}
"""Largest value of each setting that is a number."""
