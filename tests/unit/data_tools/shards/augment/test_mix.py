"""Mixup and cutmix: plans as tables, whole-number pixels, and the same global batch for every world."""

from typing import Any

import numpy as np
import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.augment.mix import WHOLE, MixPlan, beta_parts, blend, cut_boxes, mix, plan_mix
from data_tools.shards.batch import Batch
from data_tools.shards.reader import BatchPlan, ShardSet, TrainBatches
from tests.helpers.synthetic_pages import made_data

SIZE = (48, 40)
BOTH = AugmentConfig(mixup=0.4, cutmix=1.0, mix_probability=0.8)
ALONE = {"mixup": AugmentConfig(mixup=1.0), "cutmix": AugmentConfig(cutmix=1.0), "both": BOTH}


def plan(config: AugmentConfig, places: range, *, batch: int = 24, number: int = 2, epoch: int = 0) -> MixPlan:
    return plan_mix(config, places, start=(1, epoch, number), batch=batch, size=SIZE)


@pytest.mark.parametrize("name", ALONE)
def test_a_rank_plans_its_part_of_the_same_batch(name: str) -> None:
    whole = plan(ALONE[name], range(24))
    parts = [plan(ALONE[name], range(first, first + 6)) for first in range(0, 24, 6)]
    for field in ("partners", "kept", "boxes", "shares"):
        assert np.array_equal(np.concatenate([getattr(part, field) for part in parts]), getattr(whole, field))


def test_every_page_is_the_partner_of_one_other_page() -> None:
    distances = set()
    for number in range(30):
        partners = plan(BOTH, range(24), number=number).partners
        assert sorted(partners.tolist()) == list(range(24))
        assert (partners != np.arange(24)).all()
        distances.add(int(partners[0]))
    assert len(distances) > 10, "another distance in each batch"


def test_batches_and_epochs_differ() -> None:
    plans = [plan(BOTH, range(24), number=number, epoch=epoch).shares for number, epoch in ((0, 0), (1, 0), (0, 1))]
    assert not np.array_equal(plans[0], plans[1])
    assert not np.array_equal(plans[0], plans[2])


def many(config: AugmentConfig) -> MixPlan:
    return plan(config, range(2000), batch=2000)


def test_what_is_mixed_how_often() -> None:
    found = many(BOTH)
    blended, cut = found.kept < WHOLE, found.boxes.any(axis=1)
    assert not (blended & cut).any()
    assert (found.shares < 1).mean() == pytest.approx(0.8, abs=0.06)
    # Shares that round to all or nothing of a page leave it as it is.
    assert blended.mean() == pytest.approx(0.4, abs=0.06)
    assert cut.mean() == pytest.approx(0.4, abs=0.06)
    assert not many(ALONE["mixup"]).boxes.any()
    assert (many(ALONE["cutmix"]).kept == WHOLE).all()
    assert not many(AugmentConfig()).boxes.any()
    assert (many(AugmentConfig(mix_probability=1.0)).shares == 1).all()


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.4, 1.0, 2.0, 20.0])
def test_shares_are_beta_distributed(alpha: float) -> None:
    dice = (np.arange(20_000) + 0.5) / 20_000
    shares = beta_parts(alpha, dice) / WHOLE
    assert (np.diff(shares) >= 0).all()
    assert 0 <= shares.min() < shares.max() <= 1
    assert shares.mean() == pytest.approx(0.5, abs=1e-3)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=5e-3)


def test_shares_count_pixels_exactly() -> None:
    zeros, ones = np.zeros((2000, *SIZE, 1), np.uint8), np.ones((2000, *SIZE, 1), np.uint8)
    found = many(ALONE["cutmix"])
    mix(zeros, ones, found)
    np.testing.assert_allclose(1 - zeros.mean(axis=(1, 2, 3)), found.shares, rtol=1e-6)
    assert np.array_equal(many(ALONE["mixup"]).shares * WHOLE, many(ALONE["mixup"]).kept)


@pytest.mark.parametrize(
    ("kept", "middle", "box"),
    [
        (0.75, (0.5, 0.5), (12, 36, 10, 30)),  # half of each side
        (0.75, (0.0, 1.0), (0, 12, 30, 40)),  # what is beyond the edge is lost
        (0.0, (0.5, 0.5), (0, 48, 0, 40)),
        (1.0, (0.3, 0.3), (14, 14, 12, 12)),  # nothing
    ],
)
def test_boxes(kept: float, middle: tuple[float, float], box: tuple[int, ...]) -> None:
    assert cut_boxes(np.array([kept]), np.array([middle]), SIZE).tolist() == [list(box)]


def test_blending_is_the_rounded_mean_of_every_pair_of_levels() -> None:
    one, other = (levels.astype(np.uint8) for levels in np.meshgrid(np.arange(256), np.arange(256)))
    for kept in (0, 1, 77, 128, 255, 256):
        exact = (one * np.float64(kept) + other * np.float64(WHOLE - kept)) / WHOLE
        assert np.array_equal(blend(one, other, kept), np.floor(exact + 0.5))


def test_a_batch_of_one_page_has_no_partner() -> None:
    assert (plan(BOTH, range(1), batch=1).shares == 1).all()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("mix")
    config = ShardConfig(folder=str(folder / "s"), height=16, width=12)
    convert(made_data(folder), config, regions={}, seed=1, workers=1)
    return ShardSet.open(folder / "s" / "train" / "holistic")


CHANGED = {
    "both": BOTH,
    "changed too": AugmentConfig(shift=0.1, noise=0.05, erase=0.5, mixup=1.0, cutmix=1.0),
}


def batches(shards: ShardSet, augment: AugmentConfig, *, start: int = 0, **world: int) -> list[Batch]:
    with TrainBatches(shards, BatchPlan(global_batch=12, seed=1, augment=augment, **world), start_step=start) as made:
        return [copied(next(made)) for _ in range(7 - start)]


def copied(batch: Batch) -> Batch:
    return batch._replace(images=batch.images.copy())


def joined(parts: tuple[Batch, ...]) -> dict[str, Any]:
    """One rank's batches beside the others'."""
    mixes = [part.mix for part in parts if part.mix is not None]
    fields: dict[str, Any] = {
        name: [getattr(part, name) for part in parts] for name in ("images", "labels", "positions")
    }
    fields |= {f"mix {name}": [getattr(one, name) for one in mixes] for name in ("labels", "positions", "shares")}
    return {name: np.concatenate(arrays) for name, arrays in fields.items()}


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("size", [2, 3, 4, 12])
def test_n_ranks_mix_what_one_mixes(shards: ShardSet, name: str, size: int) -> None:
    alone = [joined((batch,)) for batch in batches(shards, CHANGED[name])]
    ranks = [batches(shards, CHANGED[name], rank=rank, size=size) for rank in range(size)]
    for one, parts in zip(alone, zip(*ranks, strict=True), strict=True):
        together = joined(parts)
        assert all(np.array_equal(one[field], together[field]) for field in one)


def test_resuming_at_any_step_mixes_the_same(shards: ShardSet) -> None:
    whole = [joined((batch,)) for batch in batches(shards, BOTH)]
    for start in range(1, 7):
        for one, other in zip(whole[start:], batches(shards, BOTH, start=start), strict=True):
            again = joined((other,))
            assert all(np.array_equal(one[field], again[field]) for field in one)


def test_a_mixed_batch_is_made_of_the_unmixed_one(shards: ShardSet) -> None:
    changes = CHANGED["changed too"]
    for mixed, plain in zip(batches(shards, changes), batches(shards, changes.unmixed()), strict=True):
        assert plain.mix is None
        assert mixed.mix is not None
        assert np.array_equal(mixed.positions, plain.positions)
        assert np.array_equal(mixed.labels, plain.labels)
        assert np.array_equal(mixed.mix.labels, shards.labels[mixed.mix.positions])
        rows = {int(position): row for row, position in enumerate(plain.positions)}
        pairs = zip(mixed.images, plain.images, mixed.mix.positions, mixed.mix.shares, strict=True)
        for image, own, position, share in pairs:
            partner = plain.images[rows[int(position)]]
            low, high = np.minimum(own, partner), np.maximum(own, partner)
            assert ((low <= image) & (image <= high)).all()
            assert np.array_equal(image, own) == (share == 1) or np.array_equal(own, partner)
