"""Reduction by area: weights of one axis as a table, and against OpenCV."""

import numpy as np
import pytest

from data_tools.documents.opencv import cv2
from data_tools.errors import UserError
from trainer.network.area import area_weights, bands
from trainer.network.classifier import Geometry


@pytest.mark.parametrize(
    ("stored", "reduced", "expected"),
    [
        (4, 4, np.eye(4)),
        (4, 2, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]),
        (4, 1, [[0.25, 0.25, 0.25, 0.25]]),
        (3, 2, [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]),
        (4, 3, [[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.25, 0.75]]),
        (5, 2, [[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]]),
    ],
)
def test_weights_of_an_axis(stored: int, reduced: int, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(area_weights(stored, reduced), expected, atol=1e-15)


SIZES = [(256, 192), (256, 96), (256, 200), (256, 255), (256, 128), (255, 128), (1000, 333), (181, 68), (7, 1), (5, 5)]


@pytest.mark.parametrize(("stored", "reduced"), SIZES)
def test_bands_hold_all_weights(stored: int, reduced: int) -> None:
    weights = area_weights(stored, reduced)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=0), reduced / stored, atol=1e-12, err_msg="each pixel counts alike")
    band = bands(weights)
    assert band.positions.max() < stored
    rebuilt = np.zeros_like(weights)
    for positions, values in zip(band.positions, band.weights, strict=True):
        np.add.at(rebuilt, (np.arange(reduced), positions), values)
    np.testing.assert_allclose(rebuilt, weights, atol=1e-7)
    assert len(band.positions) <= stored // reduced + 2, "few terms"


@pytest.mark.parametrize(("stored", "reduced"), SIZES)
def test_the_same_as_opencv(stored: int, reduced: int) -> None:
    page = np.random.default_rng(stored).integers(0, 256, (stored, 3)).astype(np.float32)
    expected = cv2.resize(page, (3, reduced), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(area_weights(stored, reduced) @ page, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("geometry", "size", "factor"),
    [
        (Geometry(256, 256, 1, 256), (256, 256), 1),
        (Geometry(256, 256, 1, 128), (128, 128), 2),
        (Geometry(256, 256, 1, 192), (192, 192), None),
        (Geometry(256, 256, 1, 96), (96, 96), None),
        (Geometry(256, 181, 1, 128), (128, 91), None),  # the factor of the height does not divide the width
        (Geometry(256, 180, 1, 128), (128, 90), 2),
        (Geometry(256, 512, 3, 96), (96, 192), None),
        (Geometry(100, 30, 1, 33), (33, 10), None),
        (Geometry(100, 1, 1, 10), (10, 1), None),
    ],
)
def test_size_that_the_model_works_at(geometry: Geometry, size: tuple[int, int], factor: int | None) -> None:
    assert (geometry.size, geometry.factor) == (size, factor)


def test_pages_are_never_enlarged() -> None:
    with pytest.raises(UserError, match="image_px: 300 is more than the height of the stored pages, 256 px"):
        _ = Geometry(256, 256, 1, 300).size
