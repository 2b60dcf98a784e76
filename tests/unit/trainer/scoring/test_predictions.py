"""Predictions are joined by page id only; errors name the id and the members."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from trainer.scoring.predictions import Predictions, join, read_predictions, write_predictions

IDS = ["b/2.tif", "a/1.tif", "ä/3.tif", "a/10.tif"]


def some(ids: list[str] = IDS, *, class_ids: tuple[int, ...] = (0, 4, 9), seed: int = 1) -> Predictions:
    """Predictions whose rows depend on the id only, so that every order of the ids gives the same rows."""
    rows = []
    for page_id in ids:
        generator = np.random.default_rng([seed, *page_id.encode()])
        rows.append(generator.dirichlet(np.ones(len(class_ids))))
    labels = np.array([len(page_id) % 3 for page_id in ids], dtype=np.int32)
    softmax = np.array(rows, dtype=np.float32).reshape(len(ids), len(class_ids))
    return Predictions(np.array(ids), labels, softmax, np.array(class_ids))


def test_written_and_read_back_sorted_by_id(tmp_path: Path) -> None:
    write_predictions(tmp_path / "test.npz", some())
    back = read_predictions(tmp_path / "test.npz")
    assert back.ids.tolist() == ["a/1.tif", "a/10.tif", "b/2.tif", "ä/3.tif"]
    assert np.array_equal(back.softmax, some(back.ids.tolist()).softmax)
    assert np.array_equal(back.labels, some(back.ids.tolist()).labels)
    assert back.class_ids.tolist() == [0, 4, 9]
    assert (back.labels.dtype, back.softmax.dtype, back.class_ids.dtype) == (np.int32, np.float32, np.int64)


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    write_predictions(tmp_path / "one.npz", some())
    write_predictions(tmp_path / "two.npz", some(IDS[::-1]))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_an_empty_file_is_read_back_empty(tmp_path: Path) -> None:
    write_predictions(tmp_path / "none.npz", some([]))
    assert len(read_predictions(tmp_path / "none.npz").ids) == 0


def test_the_file_contains_no_pickle(tmp_path: Path) -> None:
    write_predictions(tmp_path / "test.npz", some())
    with np.load(tmp_path / "test.npz", allow_pickle=False) as file:
        assert sorted(file) == ["class_ids", "ids", "labels", "softmax"]
        assert file["ids"].dtype.kind == "S"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY nonsense"])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"test\.npz: not a complete predictions file"):
        read_predictions(tmp_path / "test.npz")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    write_predictions(tmp_path / "test.npz", some())
    whole = (tmp_path / "test.npz").read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "test.npz").write_bytes(whole[:length])
        with pytest.raises(UserError, match="not a complete predictions file"):
            read_predictions(tmp_path / "test.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val\.npz: no such predictions"):
        read_predictions(tmp_path / "val.npz")


def test_another_kind_of_npz_is_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", ids=np.arange(3))
    with pytest.raises(UserError, match=r"other\.npz: not a complete predictions file.*labels"):
        read_predictions(tmp_path / "other.npz")


def test_a_probability_that_is_not_a_number_is_named_by_its_page(tmp_path: Path) -> None:
    rows = some()
    rows.softmax[2, 1] = np.nan
    write_predictions(tmp_path / "test.npz", rows)
    with pytest.raises(UserError, match=r"page ä/3\.tif has a probability"):
        read_predictions(tmp_path / "test.npz")


def test_a_label_beyond_the_classes_is_named_by_its_page(tmp_path: Path) -> None:
    rows = some()
    rows.labels[0] = 3
    write_predictions(tmp_path / "test.npz", rows)
    with pytest.raises(UserError, match=r"page b/2\.tif has class index 3, of 3 classes"):
        read_predictions(tmp_path / "test.npz")


def test_inconsistent_shapes_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="4 ids"):
        Predictions(np.array(IDS), np.zeros(3, np.int32), np.zeros((4, 3), np.float32), np.arange(3))


def test_join_matches_by_id_in_any_order_of_the_rows() -> None:
    orders = [IDS, IDS[::-1], sorted(IDS)]
    joined = join([(f"m{number}", some(order, seed=number)) for number, order in enumerate(orders)])
    assert joined.names == ("m0", "m1", "m2")
    assert joined.ids.tolist() == sorted(IDS)
    assert joined.softmax.shape == (4, 3, 3)
    for number in range(3):
        assert np.array_equal(joined.softmax[:, number], some(sorted(IDS), seed=number).softmax)
    assert np.array_equal(joined.labels, some(sorted(IDS)).labels)


def test_join_of_one_member_is_that_member() -> None:
    joined = join([("holistic_256", some())])
    assert np.array_equal(joined.softmax[:, 0], some(sorted(IDS)).softmax)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (some(IDS[:3]), r"page a/10\.tif is in the predictions of holistic but not in those of top"),
        (some(IDS[:1]), r"page a/1\.tif \(and 2 more\) is in the predictions of holistic but not in"),
        (some([*IDS, "c.tif"]), r"page c\.tif is in the predictions of top but not in those of hol"),
        (some([*IDS, IDS[1]]), r"top: page a/1\.tif is repeated"),
        (some(class_ids=(0, 4, 8)), "holistic and top were trained on different classes: class id 8"),
        (some(class_ids=(0, 9, 4)), "holistic and top .* their order differs"),
        (some(class_ids=(0, 4)), "class id 9 is in only one of them"),
    ],
)
def test_join_names_the_difference(second: Predictions, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        join([("holistic", some()), ("top", second)])


def test_join_names_the_page_whose_labels_differ() -> None:
    other = some()
    other.labels[3] = 1
    with pytest.raises(UserError, match=r"page a/10\.tif has class id 9 in .* holistic but 4 in .* left"):
        join([("holistic", some()), ("top", some()), ("left", other)])


def test_join_of_no_member_is_rejected() -> None:
    with pytest.raises(UserError, match="no member"):
        join([])
