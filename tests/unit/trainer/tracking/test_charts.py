"""What is charted of a job, when, and what of it holds after a resumption."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from data_tools.shards.shard_set import ShardSet
from tests.helpers.event_points import points_in
from trainer.tracking import charts as module
from trainer.tracking.charts import Charts, point_steps, still_holds
from trainer.tracking.event_file import event_files
from trainer.tracking.pictures import captioned, sample_positions


@pytest.mark.parametrize(("steps", "between"), [(1, 1), (25, 1), (26, 2), (1250, 50), (1251, 51)])
def test_an_epoch_has_at_most_25_points(steps: int, between: int) -> None:
    assert point_steps(steps) == between


@pytest.mark.parametrize(
    ("step", "tag", "holds"),
    [
        (12, "training/loss", True),
        (13, "training/loss", False),  # after the checkpoint
        (10, "epoch/val_loss", True),
        (12, "epoch/val_loss", False),  # its epoch is not in the checkpoint and will be evaluated again
        (10, "pages/1", True),
        (12, "pages/1", False),
        (10, "test/loss", False),  # a finished job does not resume
        (1, "somebody's own", False),
    ],
)
def test_what_holds_after_a_resumption_from_step_12_in_the_second_epoch(step: int, tag: str, holds: bool) -> None:
    assert still_holds(step, tag, resumed_at=12, last_epoch_at=10) is holds


def test_pace_leaves_out_evaluations_and_the_first_step_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 1.0, monotonic=lambda: now[0]))
    charts = Charts(tmp_path, on=True)

    def step(number: int, seconds: float, waited_s: float = 0.0) -> None:
        now[0] += seconds
        charts.stepped(number, waited_s=waited_s)

    step(1, 60.0)  # compiles
    step(2, 1.0, 0.25)
    step(3, 1.0, 0.25)
    charts.within(3, {"loss": 1.0}, global_batch=10)
    charts.epoch({"step": 3, "val_loss": 0.5, "val_accuracy": None})
    now[0] += 1000.0  # an evaluation
    step(4, 1.0)
    charts.within(4, {"loss": 1.0}, global_batch=10)
    step(5, 2.0, 2.0)
    charts.within(5, {"loss": 1.0}, global_batch=10)
    scalars = points_in(tmp_path).scalars
    assert scalars["training/pages_per_s"] == [(3, 10.0), (5, 5.0)]
    assert scalars["training/input_wait"] == [(3, 0.25), (5, 1.0)]
    assert scalars["epoch/val_loss"] == [(3, 0.5)]
    assert "epoch/val_accuracy" not in scalars


def shards(labels: list[int], names: list[str], shape: tuple[int, int, int]) -> ShardSet:
    """A stand-in for a shard set with these labels, whose pages are white."""
    stand_in: Any = SimpleNamespace(
        labels=np.array(labels, np.int32),
        manifest=SimpleNamespace(class_names=names),
        gather=lambda chosen: np.full((len(chosen), *shape), 255, np.uint8),
    )
    return cast(ShardSet, stand_in)


@pytest.mark.parametrize("shape", [(32, 32, 1), (256, 256, 3), (40, 400, 1)])
@pytest.mark.parametrize(
    "names", [["letter", "memo"], ["Rechnung größer", "письмо 手紙"], ["", "x" * 300], ["\udcff\x00", "a\nb"]]
)
def test_sample_pages_of_any_size_and_class_names(
    tmp_path: Path, shape: tuple[int, int, int], names: list[str]
) -> None:
    pages = shards([0, 0, 1, 1], names, shape)
    softmax = np.array([[0.9, 0.1]] * 4, np.float32)
    charts = Charts(tmp_path, on=True)
    for step in (4, 8):
        charts.pages(step, pages, softmax, among=np.array([False, True, True, True]))
    assert points_in(tmp_path).images == {"pages/1": [4, 8], "pages/2": [4, 8]}


def test_sample_pages_are_of_as_many_classes_as_there_are_pictures() -> None:
    labels = np.repeat(np.arange(16, dtype=np.int32), 3)
    assert [int(labels[place]) for place in sample_positions(labels, 4)] == [0, 5, 10, 15]
    assert sample_positions(np.zeros(0, np.int32), 4) == []


def test_a_caption_shows_whether_the_model_is_right() -> None:
    page = np.full((32, 32, 1), 255, np.uint8)
    right, wrong = (captioned(page, 0, np.array(softmax), ["a", "b"]) for softmax in ([0.9, 0.1], [0.1, 0.9]))
    assert (right.height, right.width, right.channels) == (192 + 40, 192, 1)
    assert right.png != wrong.png


def test_nothing_is_written_where_it_is_off(tmp_path: Path) -> None:
    charts = Charts(tmp_path, on=False)
    charts.stepped(1, waited_s=0.0)
    assert not charts.due(4, 4)
    charts.epoch({"step": 4, "val_loss": 0.5})
    charts.test(4, {"test_loss": 0.5})
    assert event_files(tmp_path) == []
