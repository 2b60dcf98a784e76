"""Augmentation: by position alone, within its bounds, off by default."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.shards.augment.change import PAPER, augment, erased_box, noise_bank, transform
from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.order import uniform
from data_tools.shards.reader import BatchPlan, ShardSet, TrainBatches
from tests.helpers.synthetic_pages import made_data

ALL = AugmentConfig(0.05, 0.1, 3.0, 2.0, 0.1, 0.2, 0.02, 0.2)
POSITIONS = np.array([5, 0, 17])


def pages(count: int = 3) -> np.ndarray:
    rows = np.add.outer(np.arange(48) * 3, np.arange(40)) % 200
    return np.repeat(rows[None, :, :, None], count, axis=0).astype(np.uint8)


def changed(config: AugmentConfig, *, seed: int = 1, epoch: int = 0, positions: np.ndarray = POSITIONS) -> np.ndarray:
    images = pages(len(positions))
    augment(images, config, seed=seed, epoch=epoch, positions=positions)
    return images


def test_off_by_default() -> None:
    assert not AugmentConfig().active
    assert np.array_equal(changed(AugmentConfig()), pages())


def test_pixels_depend_on_seed_epoch_and_position_alone() -> None:
    first = changed(ALL)
    assert np.array_equal(first, changed(ALL))
    assert np.array_equal(first[::-1], changed(ALL, positions=POSITIONS[::-1]))
    assert np.array_equal(first[1:2], changed(ALL, positions=POSITIONS[1:2]))
    for other in (changed(ALL, seed=2), changed(ALL, epoch=1), first[[1, 2, 0]]):
        assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    "name", ["shift", "scale", "rotation_deg", "shear_deg", "brightness", "contrast", "noise", "cutout"]
)
def test_each_change_alone(name: str) -> None:
    setting: dict[str, Any] = {name: 0.1 if not name.endswith("deg") else 5.0}
    images = changed(AugmentConfig(**setting))
    assert images.dtype == np.uint8
    assert all(not np.array_equal(image, page) for image, page in zip(images, pages(), strict=True))
    # Small changes: the page is still there.
    assert np.abs(images.astype(int) - pages()).mean() < 60


def test_shift_is_a_shift() -> None:
    config = AugmentConfig(shift=0.25)
    matrix = transform(config, np.array([0, 0, 0, 1.0, 0.0]), 48, 40)
    # 10 px to the right and 12 px up: what is at (x, y) comes from (x - 10, y + 12).
    assert np.allclose(matrix, [[1, 0, -10], [0, 1, 12]])


def test_the_middle_stays_under_turn_and_zoom() -> None:
    config = AugmentConfig(scale=0.2, rotation_deg=10, shear_deg=10)
    for dice in uniform(1, 0, np.arange(20), 12):
        assert np.allclose(transform(config, dice, 49, 41) @ [20, 24, 1], [20, 24])


def test_no_mirror_images() -> None:
    config = AugmentConfig(0.5, 0.5, 45, 45)
    for dice in uniform(1, 0, np.arange(200), 12):
        assert np.linalg.det(transform(config, dice, 48, 40)[:, :2]) > 0


def test_beyond_the_edge_is_paper() -> None:
    image = np.zeros((1, 48, 40, 1), np.uint8)
    augment(image, AugmentConfig(shift=0.5), seed=1, epoch=0, positions=np.array([3]))
    assert set(np.unique(image)) <= set(range(256))
    assert (image == PAPER).any()
    assert (image == 0).any()


def test_cutout_is_one_square() -> None:
    image = np.zeros((1, 48, 40, 1), np.uint8)
    augment(image, AugmentConfig(cutout=0.25), seed=1, epoch=0, positions=np.array([3]))
    assert (image == PAPER).sum() == 100


@pytest.mark.parametrize(("size", "area"), [((48, 40), (0.1, 0.1)), ((64, 64), (0.02, 0.2)), ((1, 9), (0.5, 0.8))])
def test_an_erased_part_has_the_area_asked_for_and_lies_on_the_page(
    size: tuple[int, int], area: tuple[float, float]
) -> None:
    height, width = size
    shares = []
    for dice in uniform(1, 0, np.arange(300), 16):
        top, bottom, left, right = erased_box(area, dice, height, width)
        assert 0 <= top < bottom <= height
        assert 0 <= left < right <= width
        shares.append((bottom - top) * (right - left) / (height * width))
    if height > 1:  # Rounded to pixels.
        assert area[0] - 0.02 < min(shares) <= max(shares) < area[1] + 0.02
        assert np.mean(shares) == pytest.approx(np.mean(area), rel=0.1)


@pytest.mark.parametrize(("fill", "levels"), [("paper", {PAPER}), ("gray", None)])
def test_erased_parts(fill: Any, levels: set[int] | None) -> None:
    images = np.zeros((400, 20, 20, 1), np.uint8)
    config = AugmentConfig(erase=0.25, erase_area=(0.25, 0.25), erase_fill=fill)
    augment(images, config, seed=1, epoch=0, positions=np.arange(400))
    erased = [image for image in images if image.any()]
    assert 70 < len(erased) < 130
    found = {int(level) for image in erased for level in np.unique(image[image > 0])}
    assert all(len(np.unique(image)) == 2 for image in erased), "one level each"
    assert found == levels if levels else len(found) > 50


def test_erasing_leaves_the_other_changes_as_they_were() -> None:
    plain, erased = changed(ALL), changed(replace(ALL, erase=1.0))
    same = (plain == erased).mean(axis=(1, 2, 3))
    assert (same < 1).all()
    assert (same > 0.7).all()


def test_noise_is_normal_enough() -> None:
    bank = noise_bank()
    assert abs(bank.mean()) < 0.005
    assert abs(bank.std() - 1) < 0.005
    assert abs((np.abs(bank) < 1).mean() - 0.683) < 0.01


def test_uniform_numbers() -> None:
    numbers = uniform(1, 2, np.arange(10_000), 3)
    assert numbers.shape == (10_000, 3)
    assert 0 <= numbers.min() < numbers.max() < 1
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.05
    assert np.array_equal(uniform(1, 2, np.array([77]), 3)[0], numbers[77])


def test_batches_resume_exactly_with_augmentation(tmp_path: Path) -> None:
    shards = ShardConfig(folder=str(tmp_path / "s"), height=16, width=12)
    convert(made_data(tmp_path), shards, regions={}, seed=1, workers=1)
    opened = ShardSet.open(tmp_path / "s" / "train" / "holistic")

    def images(start: int, rank: int = 0, size: int = 1) -> list[np.ndarray]:
        plan = BatchPlan(global_batch=16, seed=1, rank=rank, size=size, augment=ALL)
        with TrainBatches(opened, plan, start_step=start) as batches:
            return [next(batches).images.copy() for _ in range(5 - start)]

    whole = images(0)
    for start in range(1, 5):
        assert np.array_equal(images(start), whole[start:])
    assert np.array_equal(np.concatenate([images(0, 0, 2), images(0, 1, 2)], axis=1), whole)
    plain = opened.gather(np.arange(40))
    assert not any(np.array_equal(image, page) for image in whole[0] for page in plain)
