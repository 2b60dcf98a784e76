"""What is reported about a step that is not finite."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.training.nonfinite import MixedPages, NonFiniteStep, describe, dump


def bad(losses: list[float]) -> NonFiniteStep:
    count = len(losses)
    ids = np.array([f"é/{number}.tif" for number in range(count)], np.str_)
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2, 1)
    return NonFiniteStep(7, ids, np.arange(count, dtype=np.int32), images, np.array(losses))


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([1.0, float("nan"), float("inf")], "step 7: the loss is not finite on 2 of 3 pages (é/1.tif, é/2.tif); "),
        ([1.0, 2.0], "step 7: the gradients are not finite (é/0.tif, é/1.tif); "),
        ([float("nan")] * 9, "(é/0.tif, é/1.tif, é/2.tif, é/3.tif, é/4.tif, é/5.tif, é/6.tif, é/7.tif and 1 more); "),
    ],
)
def test_the_line_names_the_pages_that_matter(losses: list[float], words: str) -> None:
    line = describe(Path("job"), bad(losses))
    assert words in line
    assert "job/not-finite-step-00000007.npz" in line
    assert "\n" not in line


def test_an_overflow_of_the_compression_blames_the_compression() -> None:
    line = describe(Path("job"), replace(bad([1.0, 2.0]), compression_overflow=True))
    assert "training.compression: none" in line
    assert "clip_norm" not in line, "clipping comes after the all-reduce"


def test_of_a_mixed_page_both_are_named_and_written(tmp_path: Path) -> None:
    shares = np.array([1.0, 0.25], np.float32)
    mixed = MixedPages(np.array(["ü.tif", "b.tif"]), np.array([3, 2], np.int32), shares)
    step = replace(bad([1.0, float("nan")]), mixed=mixed)
    assert "(é/1.tif with b.tif); " in describe(Path("job"), step)
    assert "(é/0.tif, é/1.tif with b.tif); " in describe(Path("job"), replace(step, losses=np.ones(2)))
    with np.load(dump(tmp_path, step), allow_pickle=False) as file:
        assert [page.decode() for page in file["partner_ids"]] == ["ü.tif", "b.tif"]
        np.testing.assert_array_equal(file["partner_labels"], [3, 2])
        np.testing.assert_array_equal(file["shares"], shares)


def test_the_file_holds_the_batch_without_pickle(tmp_path: Path) -> None:
    step = bad([1.0, float("inf")])
    with np.load(dump(tmp_path, step), allow_pickle=False) as file:
        assert file["step"] == 7
        assert [page.decode() for page in file["ids"]] == step.ids.tolist()
        for name in ("labels", "images", "losses"):
            np.testing.assert_array_equal(file[name], getattr(step, name))
