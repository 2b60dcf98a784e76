"""What training is, between two steps: how far it has come and what it remembers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from trainer.checkpoint import Snapshot
from trainer.schedule import PlateauState
from trainer.step import TrainStep
from trainer.weights import is_seed, named, transfer
from trainer.world import World


@dataclass(frozen=True)
class Best:
    """The epoch with the highest validation accuracy so far (the first of equals) and the step it ended at."""

    epoch: int
    step: int
    accuracy: float


@dataclass
class TrainingState:
    """How far a job has come.

    step: finished steps since the job's start; history: one row per finished epoch; start: where the weights
    came from; seconds: spent on finished epochs, over all attempts.
    """

    step: int = 0
    plateau: PlateauState = field(default_factory=PlateauState)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: Best | None = None
    start: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def after_epoch(self, row: Mapping[str, Any], plateau: PlateauState) -> None:
        """Record a finished epoch."""
        accuracy = float(row["val_accuracy"])
        self.history.append(dict(row))
        self.plateau = plateau
        if self.best is None or accuracy > self.best.accuracy:
            self.best = Best(int(row["epoch"]), self.step, accuracy)


def take_snapshot(state: TrainingState, step: TrainStep, sums: np.ndarray) -> Snapshot:
    """Copy everything off the device; training may go on while the copy is written.

    sums: float64 [ranks, 3], each rank's running sums of this epoch.
    """
    model = step.classifier.model
    weights = {name: np.array(v.numpy()) for name, v in named(model.variables).items()}
    optimizer = {name: np.array(v.numpy()) for name, v in named(step.optimizer.variables).items()}
    plain = {**asdict(state), "sums": sums.tolist(), "ranks": len(sums)}
    return Snapshot(state.step, weights, optimizer, plain)


def restore(snapshot: Snapshot, step: TrainStep, world: World) -> TrainingState:
    """Put a snapshot back: variables, this rank's random seeds, this rank's running sums."""
    model = step.classifier.model
    transfer(model.variables, snapshot.weights, source=f"checkpoint of step {snapshot.step}")
    transfer(step.optimizer.variables, snapshot.optimizer, source=f"checkpoint of step {snapshot.step}")
    for variable in model.variables:
        if is_seed(variable):
            set_seed(variable, world, counter=int(snapshot.weights[variable.path][1]))
    values = dict(snapshot.state)
    sums, ranks = np.array(values.pop("sums"), np.float64), values.pop("ranks")
    if ranks == world.size:
        step.write_sums(sums[world.rank])
    else:
        # Another number of workers: the totals are kept, by rank 0; only their last bits may differ.
        step.write_sums(sums.sum(axis=0) if world.rank == 0 else np.zeros(sums.shape[1]))
    best = Best(**values.pop("best")) if values["best"] else values.pop("best")
    plateau = PlateauState(**values.pop("plateau"))
    return replace(TrainingState(**values), best=best, plateau=plateau)


def seed_ranks(variables: Sequence[Any], world: World) -> None:
    """Give each rank random generators of its own, so that dropout differs between ranks, at counter 0."""
    for variable in variables:
        if is_seed(variable):
            set_seed(variable, world, counter=0)


def set_seed(variable: Any, world: World, *, counter: int) -> None:
    """Set a Keras seed state, uint32 [2] = (key, counter): the key is of this rank and this generator."""
    own = sum((place + 1) * ord(letter) for place, letter in enumerate(variable.path)) % 65521
    variable.assign(np.array([own + 65521 * world.rank, counter], dtype="uint32"))
