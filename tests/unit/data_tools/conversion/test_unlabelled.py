"""Pages without labels: converted as labelled ones are, what cannot be read is listed, and complete sets are kept."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.unlabelled import Reading, convert_unlabelled
from data_tools.errors import UserError
from data_tools.shards.manifest import Manifest, read_manifest
from data_tools.shards.shard_set import ShardSet
from tests.helpers import conversions
from tests.helpers.hand_tiff import gray_page, tiff
from tests.helpers.synthetic_pages import made_data, page, write_page


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The manifests of two regions of labelled pages."""
    folder = tmp_path_factory.mktemp("labelled")
    conversions.run(made_data(folder, counts={"train": 6, "val": 3, "test": 3}), folder / "shards", workers=1)
    return [read_manifest(folder / "shards" / "train" / region) for region in ("holistic", "top")]


def wild(folder: Path, count: int = 3) -> list[str]:
    for number in range(count):
        write_page(folder / f"{number}.tif", page(number))
    return [f"{number}.tif" for number in range(count)]


def convert(names: list[str], root: Path, like: list[Manifest], folder: Path, *, pages: str = "first") -> Manifest:
    reading = Reading(pages=pages)  # type: ignore[arg-type]
    return convert_unlabelled(names, root=root, like=like, folder=folder, reading=reading, workers=1)


def test_every_region_has_the_geometry_of_the_labelled_pages(tmp_path: Path, like: list[Manifest]) -> None:
    found = convert(wild(tmp_path / "wild"), tmp_path / "wild", like, tmp_path / "shards")
    assert (found.count, found.rejected, found.class_ids) == (3, 0, like[0].class_ids)
    sets = [ShardSet.open(tmp_path / "shards" / "train" / region) for region in ("holistic", "top")]
    assert sets[0].ids.tolist() == sets[1].ids.tolist()
    assert sets[0].image_shape == (like[0].height, like[0].width, like[0].channels)
    assert sets[1].manifest.box == like[1].box


def test_pages_are_those_of_a_labelled_conversion(tmp_path: Path, like: list[Manifest]) -> None:
    data = made_data(tmp_path, counts={"train": 6, "val": 3, "test": 3})
    conversions.run(data, tmp_path / "labelled", workers=1)
    labelled = ShardSet.open(tmp_path / "labelled" / "train" / "top")
    convert(labelled.ids.tolist(), tmp_path / "pages", like, tmp_path / "shards")
    found = ShardSet.open(tmp_path / "shards" / "train" / "top")
    places = [labelled.ids.tolist().index(page_id) for page_id in found.ids.tolist()]
    np.testing.assert_array_equal(found.gather(np.arange(6)), labelled.gather(np.array(places)))


def test_a_page_that_cannot_be_read_is_left_out_and_listed(tmp_path: Path, like: list[Manifest]) -> None:
    names = wild(tmp_path / "wild")
    (tmp_path / "wild" / "broken.tif").write_bytes(b"II*\0 no page")
    found = convert([*names, "broken.tif", "absent.tif"], tmp_path / "wild", like, tmp_path / "shards")
    assert (found.count, found.rejected) == (3, 2)
    assert set(conversions.rejected(tmp_path / "shards")) == {"broken.tif", "absent.tif"}


def test_without_a_readable_page_there_is_one_line(tmp_path: Path, like: list[Manifest]) -> None:
    (tmp_path / "wild").mkdir()
    with pytest.raises(UserError, match="none of the 2 pages can be read") as caught:
        convert(["a.tif", "b.tif"], tmp_path / "wild", like, tmp_path / "shards")
    assert "rejected.jsonl" in str(caught.value)


def test_complete_sets_are_kept_and_other_pages_are_refused(tmp_path: Path, like: list[Manifest]) -> None:
    names = wild(tmp_path / "wild")
    convert(names, tmp_path / "wild", like, tmp_path / "shards")
    before = conversions.files(tmp_path / "shards")
    convert(names, tmp_path / "wild", like, tmp_path / "shards")
    assert conversions.files(tmp_path / "shards") == before
    with pytest.raises(UserError, match="other settings"):
        convert(names[:2], tmp_path / "wild", like, tmp_path / "shards")


@pytest.mark.parametrize(("pages", "count"), [("first", 1), ("all", 3)])
def test_a_document_gives_as_many_pages_as_the_runs_documents_do(
    tmp_path: Path, like: list[Manifest], pages: str, count: int
) -> None:
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / "a.tif").write_bytes(tiff([gray_page(page(number)) for number in range(3)]))
    assert convert(["a.tif"], tmp_path / "wild", like, tmp_path / "shards", pages=pages).count == count
