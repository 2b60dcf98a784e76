"""The pace of training steps, without evaluations and compilation."""

from types import SimpleNamespace

import pytest

from trainer.tracking import pace as module
from trainer.tracking.pace import StepPace


class Job:
    """A job whose clock is set by hand; each step and evaluated batch takes the seconds that are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.step = 0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.pace = StepPace(global_batch=10)

    def take_steps(self, *seconds: float) -> None:
        for one in seconds:
            self.now += one
            self.step += 1
            self.pace.stepped(self.step)

    def end_epoch(self, *batches: float) -> None:
        self.pace.pause(self.step)
        for one in batches:
            self.now += one
            self.pace.evaluated()
        self.pace.resume()


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(monkeypatch)


def test_nothing_is_known_before_the_second_step(job: Job) -> None:
    job.take_steps(47.0)
    job.pace.measure(job.step)
    assert job.pace.figures() == {}


def test_the_first_step_of_an_epoch_and_evaluations_do_not_count(job: Job) -> None:
    job.take_steps(47.0, 1.0, 1.0)
    job.end_epoch(30.0, 2.0)
    assert job.pace.epoch_rate == 10.0
    job.take_steps(5.0, 1.0, 1.0)
    job.pace.measure(job.step)
    assert job.pace.figures() == {"pages_per_s": 10.0, "step_s": 1.0, "epoch_end_s": 2.0}


def test_the_end_of_a_later_epoch_counts_as_a_whole(job: Job) -> None:
    for seconds in (30.0, 3.0):
        job.take_steps(1.0, 1.0)
        job.end_epoch(seconds, 2.0)
    assert job.pace.figures()["epoch_end_s"] == 5.0


def test_an_evaluation_without_pages(job: Job) -> None:
    job.take_steps(1.0, 1.0)
    job.end_epoch()
    assert job.pace.figures()["epoch_end_s"] == 0.0


def test_other_layers_have_a_pace_of_their_own(job: Job) -> None:
    job.take_steps(1.0, 1.0)
    job.end_epoch(1.0)
    job.pace.restart()
    job.take_steps(9.0, 4.0)
    job.pace.measure(job.step)
    assert job.pace.figures()["step_s"] == 4.0
