"""Mixup and cutmix: training pages that are part one page, part another, with labels in the same shares.

Mixup blends two pages (Zhang et al. 2018, arXiv 1710.09412); cutmix pastes a box of one into the other (Yun et al.
2019, arXiv 1905.04899). Which pages, shares and boxes is a function of seed, epoch and place in the epoch, so every
rank of any world, and every resumed run, computes its part of the same batch. Pages are blended in whole numbers:
shares are multiples of 1/256, so pixels have the same bits on every machine, and shares are exact in float32.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.order import BATCH_STREAM, PLACE_STREAM, uniform

Images = NDArray[np.uint8]
WHOLE = 256
"""Parts of a page; a page that keeps all of them is not mixed."""
_DICE = 5


@dataclass(frozen=True, eq=False)
class MixPlan:
    """How one rank's part of b pages of a global batch is mixed.

    partners: place in the global batch of the page that each one is mixed with, int64 [b];
    kept: parts of WHOLE that mixup keeps of each page, int64 [b]; WHOLE where there is no mixup;
    boxes: top, bottom, left and right, px, of the box that is the partner's, int64 [b, 4]; empty without cutmix;
    shares: share of the page itself in its label, float32 [b]; 1: not mixed.
    """

    partners: NDArray[np.int64]
    kept: NDArray[np.int64]
    boxes: NDArray[np.int64]
    shares: NDArray[np.float32]


def plan_mix(
    config: AugmentConfig, places: range, *, start: tuple[int, int, int], batch: int, size: tuple[int, int]
) -> MixPlan:
    """The mix of the pages at `places` in a global batch of `batch` pages.

    start: seed, epoch and number of the batch in the epoch; size: height and width of a page, px. All pages of a batch
    are mixed with the page the same distance ahead, in a circle: each page is the partner of one other, and the
    partners of a rank's pages lie together.
    """
    seed, epoch, number = start
    rows = np.arange(places.start, places.stop, dtype=np.int64)
    turn = uniform(seed, epoch, np.array([number]), 1, stream=BATCH_STREAM)[0, 0]
    partners = (rows + 1 + int(turn * (batch - 1))) % batch
    dice = uniform(seed, epoch, number * batch + rows, _DICE, stream=PLACE_STREAM)
    mixed = (dice[:, 0] < config.mix_probability) & (partners != rows)
    cut = mixed & (dice[:, 1] < _cutmix_share(config))
    blended = mixed & ~cut
    kept = np.full(len(rows), WHOLE, np.int64)
    if config.mixup:
        kept[blended] = beta_parts(config.mixup, dice[blended, 2])
    boxes = np.zeros((len(rows), 4), np.int64)
    if config.cutmix:
        boxes[cut] = cut_boxes(beta_parts(config.cutmix, dice[cut, 2]) / WHOLE, dice[cut, 3:5], size)
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    shares = kept / WHOLE - area / (size[0] * size[1])
    return MixPlan(partners, kept, boxes, shares.astype(np.float32))


def _cutmix_share(config: AugmentConfig) -> float:
    """Share of the mixed pages that cutmix makes."""
    return 0.5 * (config.cutmix > 0) + 0.5 * (config.cutmix > 0 and not config.mixup)


def beta_parts(alpha: float, dice: NDArray[np.float64]) -> NDArray[np.int64]:
    """Parts of WHOLE, Beta(alpha, alpha)-distributed and rounded; int64 [n] from `dice` float64 [n] in [0, 1)."""
    return np.searchsorted(_cumulative(alpha), dice, side="right").astype(np.int64)


@cache
def _cumulative(alpha: float) -> NDArray[np.float64]:
    """Probability that Beta(alpha, alpha) is at most (k + 1/2) / WHOLE, float64 [WHOLE], for k from 0 on."""
    from scipy.special import betainc  # Imported late: only mixing needs it.

    return np.asarray(betainc(alpha, alpha, (np.arange(WHOLE) + 0.5) / WHOLE), np.float64)


def cut_boxes(kept: NDArray[np.float64], middle: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Boxes top, bottom, left, right, px, int64 [n, 4], of 1 - `kept` of the page's area, less what is beyond its edge.

    kept: float64 [n]; middle: of the boxes, as fractions of height and width, float64 [n, 2]. Both sides of a box are
    the same fraction of the page's (section 3.1 of the paper).
    """
    extent = np.array(size)
    half = np.sqrt(1 - kept)[:, None] * extent / 2
    first = np.clip(np.rint(middle * extent - half), 0, extent)
    last = np.clip(np.rint(middle * extent + half), 0, extent)
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1).astype(np.int64)


def mix(images: Images, partners: Images, plan: MixPlan) -> None:
    """Mix `partners` into `images`, both uint8 [b, h, w, c], in place; rows of share 1 stay as they are."""
    for row in np.flatnonzero(plan.shares < 1):
        image, partner = images[row], partners[row]
        if plan.kept[row] < WHOLE:
            image[:] = blend(image, partner, int(plan.kept[row]))
        top, bottom, left, right = plan.boxes[row]
        image[top:bottom, left:right] = partner[top:bottom, left:right]


def blend(one: Images, other: Images, kept: int) -> Images:
    """(`kept` · one + (WHOLE - `kept`) · other) / WHOLE, rounded half up; uint8 arrays of one shape."""
    # At most 256 * 255 + 128, which 16 bits hold.
    total = one * np.uint16(kept) + other * np.uint16(WHOLE - kept) + np.uint16(WHOLE // 2)
    return (total >> np.uint16(8)).astype(np.uint8)
