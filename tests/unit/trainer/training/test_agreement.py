"""How often all ranks agree on stop requests and checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import Stopped
from trainer.job_folder.heartbeat import Heartbeat
from trainer.training.agreement import AgreementTimer, Coordinator, steps_to_agreement
from trainer.world import World


@pytest.mark.parametrize(
    ("agree_steps", "seconds", "steps"),
    [
        (10, 0.01, 10),  # fast steps: as configured
        (10, 0.2, 10),
        (10, 0.5, 4),  # slow ones: every two seconds
        (10, 30.0, 1),  # and at least after each
        (1, 0.001, 1),
        (10, 0.0, 10),
    ],
)
def test_ranks_agree_often_enough_to_stop_in_time(agree_steps: int, seconds: float, steps: int) -> None:
    assert steps_to_agreement(agree_steps, seconds) == steps


def test_the_first_agreement_comes_after_the_first_step_and_the_next_as_planned() -> None:
    timer = AgreementTimer(7)
    assert [timer.due(step) for step in (7, 8)] == [False, True]
    timer.schedule_next(10, 0.5)
    assert [timer.due(step) for step in (8, 9, 11, 12)] == [False, False, False, True]
    assert timer.step_seconds() >= 0


class RecordedWriter:
    """Counts calls of `wait`."""

    waits = 0

    def wait(self) -> None:
        self.waits += 1


class SumWorld(World):
    """A world of two whose other rank contributes `other` to each sum."""

    other: tuple[int, ...] = ()

    def sum(self, values: np.ndarray, *, name: str) -> np.ndarray:
        del name
        return values + np.array(self.other[: len(values)])


def make_coordinator(tmp_path: Path, world: World, **options: Any) -> Coordinator:
    heartbeat = Heartbeat(tmp_path, rank=world.rank)
    return Coordinator(world, heartbeat, RecordedWriter(), 10, **options)  # type: ignore[arg-type]


def test_a_flag_of_any_rank_counts_and_the_slower_rank_sets_the_pace(tmp_path: Path) -> None:
    world = SumWorld(0, 2, 0)
    object.__setattr__(world, "other", (0, 1, 4_000_000))  # its steps take four seconds
    coordinator, timer = make_coordinator(tmp_path, world), AgreementTimer(7)
    assert timer.due(8)
    assert coordinator.agree_on_flags([False, False], timer) == [False, True]
    assert timer.due(9), "a step takes two seconds on average, so the ranks agree after each step"


def test_a_stop_request_ends_an_evaluation_once_everything_is_written(tmp_path: Path) -> None:
    asked = [False]
    seen: list[tuple[str, int, int]] = []
    coordinator = make_coordinator(
        tmp_path, World(0, 1, 0), stop_asked=lambda: asked[0], on_progress=lambda *place: seen.append(place)
    )
    finished = coordinator.batch_callback("evaluating", step=12)
    finished(1)
    asked[0] = True
    with pytest.raises(Stopped, match="step 12"):
        for batch in range(2, 100):
            finished(batch)
    assert seen[:2] == [("evaluating", 12, 1), ("evaluating", 12, 2)]
    assert coordinator.writer.waits == 1  # type: ignore[attr-defined]


def test_each_evaluation_counts_its_own_batches(tmp_path: Path) -> None:
    """A second one with a stop request ends after its first batch, however many the first one had."""
    asked = [False]
    coordinator = make_coordinator(tmp_path, World(0, 1, 0), stop_asked=lambda: asked[0])
    first = coordinator.batch_callback("predicting", step=12)
    for batch in range(1, 50):
        first(batch)
    asked[0] = True
    with pytest.raises(Stopped):
        coordinator.batch_callback("predicting", step=12)(1)
