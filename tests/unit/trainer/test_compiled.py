"""What one job leaves for the next in its process, with fake variables."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.compiled import Compiled, Kept, graph_key
from trainer.config import StageConfig
from trainer.world import World


@dataclass(eq=False)
class FakeVariable:
    """A variable on no device."""

    value: np.ndarray

    def numpy(self) -> np.ndarray:
        return self.value

    def assign(self, value: np.ndarray) -> None:
        self.value = np.array(value)


@dataclass(eq=False)
class FakeStep:
    """A step with one weight, one moment, and a counter."""

    weight: FakeVariable = field(default_factory=lambda: FakeVariable(np.array([1.5, 0.0], np.float32)))
    moment: FakeVariable = field(default_factory=lambda: FakeVariable(np.zeros(2, np.float32)))
    calls: FakeVariable = field(default_factory=lambda: FakeVariable(np.array(0)))
    restarts: int = 0

    def all_variables(self) -> list[FakeVariable]:
        return [self.weight, self.moment, self.calls]

    def restart(self) -> None:
        self.restarts += 1


def compiled() -> Any:
    return Compiled(FakeStep(), freezing=None, evaluator=None)


def test_the_next_job_with_the_key_gets_it_with_the_first_values() -> None:
    kept, first = Kept(), compiled()
    kept.give("a", first)
    for variable in first.step.all_variables():
        variable.assign(variable.numpy() + 7)
    assert kept.take("a", compiled) is first
    assert first.step.weight.value.tolist() == [1.5, 0.0]
    assert first.step.moment.value.tolist() == [0.0, 0.0]
    assert first.step.calls.value == 0
    assert first.step.restarts == 1
    assert not kept.full
    assert kept.take("a", compiled) is not first, "a job that failed gives nothing back"
    kept.give("a", first)
    assert kept.full


def test_a_job_with_another_key_builds_and_the_old_one_is_dropped() -> None:
    kept, first = Kept(), compiled()
    kept.give("a", first)
    assert kept.take("b", compiled) is not first
    assert kept.take("a", compiled) is not first


def test_a_key_is_of_values() -> None:
    assert graph_key(World(0, 2, 0), StageConfig(), [0.1]) == graph_key(World(0, 2, 0), StageConfig(), [0.1])
    for other in ((World(0, 1, 0), StageConfig(), [0.1]), (World(0, 2, 0), StageConfig(global_batch=8), [0.1]),
                  (World(0, 2, 0), StageConfig(), [0.10000000000000002])):  # fmt: skip
        assert graph_key(*other) != graph_key(World(0, 2, 0), StageConfig(), [0.1])
