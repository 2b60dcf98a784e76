"""The targets of a student: by row of the training pages, and refused where they are of other pages."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.unlabelled import convert_unlabelled
from data_tools.errors import UserError
from data_tools.shards.shard_set import ShardSet
from tests.helpers import conversions
from tests.helpers.synthetic_pages import made_data, page, write_page
from trainer.soft_targets.config import Distillation
from trainer.soft_targets.targets import POOL, TARGETS, open_student_pages, open_targets, write_targets

CLASSES = 3


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted training pages, and beside them seven unlabelled ones in `teacher`."""
    folder = tmp_path_factory.mktemp("shards")
    data = made_data(folder, counts={"train": 20, "val": 3, "test": 3})
    conversions.run(data, folder / "shards", workers=1)
    for number in range(7):
        write_page(folder / "wild" / "sub" / f"{number}.tif", page(100 + number))
    names = [f"sub/{number}.tif" for number in range(7)]
    train = ShardSet.open(folder / "shards" / "train" / "holistic").manifest
    convert_unlabelled(names, root=folder / "wild", like=[train], folder=folder / "teacher" / POOL, workers=1)
    return folder


def sets_of(folder: Path) -> list[ShardSet]:
    return [
        ShardSet.open(folder / "shards" / "train" / "holistic"),
        ShardSet.open(folder / "teacher" / POOL / "train" / "holistic"),
    ]


def rows(pages: int) -> np.ndarray:
    values = np.random.default_rng(1).random((pages, CLASSES)).astype(np.float32)
    return values / values.sum(axis=1, keepdims=True)


def test_joined_sets_are_their_examples_in_turn(shards: Path) -> None:
    sets = sets_of(shards)
    joined = ShardSet.joined(sets)
    assert len(joined) == 27
    assert joined.ids.tolist() == [*sets[0].ids, *sets[1].ids]
    chosen = np.array([26, 0, 19, 20, 3], np.int64)
    alone = np.concatenate([sets[0].gather(np.arange(20)), sets[1].gather(np.arange(7))])
    np.testing.assert_array_equal(joined.gather(chosen), alone[chosen])
    assert joined.labels[:20].tolist() == sets[0].labels.tolist()
    assert joined.manifest.histogram == sets[0].manifest.histogram, "class weights count labelled pages alone"


def test_sets_of_another_geometry_do_not_join(shards: Path, tmp_path: Path) -> None:
    other = made_data(tmp_path, counts={"train": 3, "val": 3, "test": 3})
    conversions.run(other, tmp_path / "shards", workers=1, height=16)
    with pytest.raises(UserError, match="height"):
        ShardSet.joined([sets_of(shards)[0], ShardSet.open(tmp_path / "shards" / "train" / "holistic")])


def test_a_student_has_the_targets_of_each_page_and_the_teachers_class_where_there_is_no_label(shards: Path) -> None:
    sets, values, teacher = sets_of(shards), rows(27), shards / "teacher"
    write_targets(teacher, values, sets)
    config = Distillation(temperature=1.0, alpha=1.0, pages=27, unlabelled=7)
    pages, targets = open_student_pages(sets[0], teacher, config)
    found = targets.of(np.array([25, 0, 19, 20], np.int64))
    np.testing.assert_array_equal(found.probabilities, values[[25, 0, 19, 20]])
    assert found.labelled.tolist() == [0, 1, 1, 0]
    assert pages.labels[:20].tolist() == sets[0].labels.tolist()
    assert pages.labels[20:].tolist() == values[20:].argmax(axis=1).tolist()


def test_without_unlabelled_pages_the_training_set_is_unchanged(shards: Path, tmp_path: Path) -> None:
    train = sets_of(shards)[0]
    write_targets(tmp_path, rows(20), [train])
    pages, targets = open_student_pages(train, tmp_path, Distillation(temperature=1.0, alpha=1.0, pages=20))
    assert pages is train
    assert targets.of(np.arange(20)).labelled.all()


@pytest.mark.parametrize("damage", ["missing", "cut", "classes", "pages", "order"])
def test_targets_that_do_not_fit_are_one_line_that_says_what_to_delete(
    shards: Path, tmp_path: Path, damage: str
) -> None:
    train = sets_of(shards)[0]
    write_targets(tmp_path, rows(20), [train])
    path = tmp_path / TARGETS
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "classes":
        np.save(path, np.ones((20, 2), np.float32))
    elif damage == "pages":
        np.save(path, np.ones((19, 3), np.float32))
    else:
        write_targets(tmp_path, rows(20), [sets_of(shards)[1]])
    with pytest.raises(UserError) as caught:
        open_targets(tmp_path, [train], classes=CLASSES)
    assert str(tmp_path) in str(caught.value)
    assert "delete" in str(caught.value)
    assert "\n" not in str(caught.value)
