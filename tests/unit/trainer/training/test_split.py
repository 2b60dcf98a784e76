"""The leak-free split and the folds: decided by seed and page id, the folds also by the class."""

import numpy as np
import pytest

from trainer.training.split import fold_of, selection_mask, units_of

IDS = [f"pages/{number}.tif" for number in range(4000)]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (1.0, 1.0)])
def test_the_share_is_kept(share: float, expected: float) -> None:
    assert selection_mask(IDS, share=share, seed=1).mean() == pytest.approx(expected, abs=0.03)


def test_the_order_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(len(IDS))
    mask = selection_mask(IDS, share=0.5, seed=1)
    assert np.array_equal(selection_mask([IDS[i] for i in order], share=0.5, seed=1), mask[order])


def test_a_page_keeps_its_side_when_the_share_grows() -> None:
    few, many = selection_mask(IDS, share=0.3, seed=1), selection_mask(IDS, share=0.6, seed=1)
    assert not (few & ~many).any()


def test_another_seed_is_another_split() -> None:
    one, two = selection_mask(IDS, share=0.5, seed=1), selection_mask(IDS, share=0.5, seed=2)
    assert (one == two).mean() == pytest.approx(0.5, abs=0.05)


def test_the_split_is_the_same_on_every_machine() -> None:
    mask = selection_mask(IDS[:12], share=0.5, seed=1)
    assert mask.astype(int).tolist() == [0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1]


def test_no_page_gives_an_empty_mask() -> None:
    assert selection_mask([], share=0.5, seed=1).shape == (0,)


def test_the_pages_of_a_document_are_on_one_side() -> None:
    ids = [f"{number}.pdf#page={page}" for number in range(200) for page in (1, 2, 3)]
    mask = selection_mask(ids, share=0.5, seed=1).reshape(200, 3)
    assert (mask.all(axis=1) | ~mask.any(axis=1)).all()
    assert np.array_equal(mask[:, 0], selection_mask([f"{number}.pdf" for number in range(200)], share=0.5, seed=1))


LABELS = np.array([number % 7 for number in range(len(IDS))])


@pytest.mark.parametrize("folds", [2, 5, 9])
def test_every_class_is_spread_evenly_over_the_folds(folds: int) -> None:
    fold = fold_of(IDS, LABELS, folds=folds, seed=1)
    for label in range(7):
        counts = np.bincount(fold[label == LABELS], minlength=folds)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 7, "and the folds are of one size, but for what is left over of each class"


def test_rare_classes_do_not_all_begin_with_the_first_fold() -> None:
    fold = fold_of(IDS[:5], np.arange(5), folds=5, seed=1)
    assert sorted(fold.tolist()) == [0, 1, 2, 3, 4], "five classes of one page fill five folds"


def test_the_folds_depend_on_neither_order_nor_other_classes() -> None:
    order = np.random.default_rng(1).permutation(len(IDS))
    fold = fold_of(IDS, LABELS, folds=5, seed=1)
    assert np.array_equal(fold_of([IDS[i] for i in order], LABELS[order], folds=5, seed=1), fold[order])
    some = LABELS < 3
    assert np.array_equal(
        fold_of([IDS[i] for i in np.flatnonzero(some)], LABELS[some], folds=5, seed=1), fold[some]
    )  # fmt: skip


def test_the_pages_of_a_document_are_in_one_fold() -> None:
    ids = [f"{number}.pdf#page={page}" for number in range(200) for page in (1, 2, 3)]
    labels = np.random.default_rng(1).integers(0, 4, len(ids))  # also where its pages have different labels
    fold = fold_of(ids, labels, folds=5, seed=1).reshape(200, 3)
    assert (fold == fold[:, :1]).all()
    assert np.bincount(fold[:, 0]).min() >= 35


def test_the_folds_are_the_same_on_every_machine_and_others_for_another_seed() -> None:
    fold = fold_of(IDS[:12], LABELS[:12] % 2, folds=3, seed=1)
    assert fold.tolist() == [1, 0, 1, 1, 0, 1, 2, 2, 2, 0, 2, 0]
    assert fold_of(IDS[:12], LABELS[:12] % 2, folds=3, seed=2).tolist() != fold.tolist()


def test_duplicates_are_in_one_fold_and_classes_still_spread_evenly() -> None:
    groups = [[IDS[7 * i], IDS[7 * i + 70], f"elsewhere/{i}.tif"] for i in range(50)]
    plain, fold = (fold_of(IDS, LABELS, folds=5, seed=1, groups=some) for some in ((), groups))
    place = dict(zip(IDS, fold.tolist(), strict=True))
    assert all(place[group[0]] == place[group[1]] for group in groups)
    assert any(plain[7 * i] != plain[7 * i + 70] for i in range(50)), "without the groups, some are apart"
    for label in range(1, 7):
        assert np.array_equal(fold[label == LABELS], plain[label == LABELS]), "the pages of other classes stay"
    assert np.bincount(fold).min() > 0.9 * len(IDS) / 5


def test_groups_that_share_a_document_are_one() -> None:
    ids = ["a.pdf", "a.pdf#page=2", "b.pdf", "c.tif", "d.tif"]
    assert units_of(ids, [["c.tif", "a.pdf#page=2"], ["b.pdf", "d.tif"], ["d.tif", "c.tif"]]) == ["a.pdf"] * 5
    assert units_of(ids, [["c.tif", "x.tif"], ["x.tif", "d.tif"]]) == ["a.pdf", "a.pdf", "b.pdf", "c.tif", "d.tif"], (
        "a page that is not among the pages links nothing"
    )
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        units = units_of([ids[i] for i in order], [["d.tif", "b.pdf"]])
        assert units == [units_of(ids, [["b.pdf", "d.tif"]])[i] for i in order]
