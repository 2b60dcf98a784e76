"""How often all ranks agree on stop requests and checkpoints."""

import pytest

from trainer.training.agreement import AgreementTimer, steps_to_agreement


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
