"""The views of test-time augmentation: which there are, and the pixels that each reads."""

import numpy as np
import pytest

from data_tools.documents.opencv import cv2
from data_tools.errors import UserError
from trainer.config import ViewsConfig
from trainer.network.views import View, axis_bands, plan_views


@pytest.mark.parametrize(
    ("config", "size", "views"),
    [
        (ViewsConfig(), (64, 32), [View()]),
        (
            ViewsConfig(shift=0.1),
            (64, 32),
            [View(), View(down=-6), View(down=6), View(right=-3), View(right=3)],
        ),
        (ViewsConfig(shift=0.001), (64, 32), [View(), View(-1), View(1), View(0, -1), View(0, 1)]),  # a pixel at least
        (ViewsConfig(scale=0.05), (64, 32), [View(), View(zoom=0.95), View(zoom=1.05)]),
        (
            ViewsConfig(shift=0.05, scale=0.1),
            (20, 20),
            [View(), View(-1), View(1), View(0, -1), View(0, 1), View(zoom=0.9), View(zoom=1.1)],
        ),
    ],
)
def test_views(config: ViewsConfig, size: tuple[int, int], views: list[View]) -> None:
    assert plan_views(config, *size) == views
    assert config.count == len(views)


@pytest.mark.parametrize("settings", [{"shift": -0.1}, {"scale": 0.3}, {"shift": float("nan")}])
def test_invalid_views_are_rejected(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"must be at least 0 and at most 0\.25"):
        ViewsConfig(**settings)


@pytest.mark.parametrize(
    ("shift", "positions", "weights"),
    [
        (0, [[0, 1, 2, 3]], [[1, 1, 1, 1]]),
        (1, [[0, 0, 1, 2]], [[0, 1, 1, 1]]),  # the first pixel is paper
        (-1, [[1, 2, 3, 3]], [[1, 1, 1, 0]]),
    ],
)
def test_a_shift_by_pixels(shift: int, positions: list[list[int]], weights: list[list[float]]) -> None:
    band = axis_bands(4, shift, 1.0)
    assert band.positions.tolist() == positions
    assert band.weights.tolist() == weights


@pytest.mark.parametrize(("length", "zoom"), [(64, 0.9), (64, 1.1), (33, 0.95), (50, 1.25)])
def test_a_zoom_reads_what_the_augmentation_of_training_reads(length: int, zoom: float) -> None:
    """`cv2.warpAffine` with paper beyond the edges, within its fixed-point rounding."""
    row = np.random.default_rng(length).integers(0, 256, (1, length)).astype(np.float32)
    middle = (length - 1) / 2
    matrix = np.array([[1 / zoom, 0, middle - middle / zoom], [0, 1, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(row, matrix, (length, 1), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=255)
    band = axis_bands(length, 0, zoom)
    found = (row[0, band.positions] * band.weights).sum(axis=0) + 255 * (1 - band.weights.sum(axis=0))
    np.testing.assert_allclose(found, expected[0], atol=255 / 32)
