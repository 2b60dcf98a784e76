"""The state of training between two steps: progress, history, snapshots, random generators."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from trainer.config import JobConfig
from trainer.job_folder.checkpoint import Snapshot
from trainer.network.weights import SEED_STATE, copy_values, is_seed, named, transfer
from trainer.optimizer.schedule import PlateauState
from trainer.training.step import SUMS, TrainStep
from trainer.world import World


@dataclass(frozen=True)
class Best:
    """The best epoch so far by one metric of the validation pages (the first of equals); step: where it ended."""

    epoch: int
    step: int
    metric: str
    value: float

    def beaten_by(self, value: float) -> bool:
        """Whether `value` of the same metric is better; any finite value is better than one that is not finite."""
        if not math.isfinite(self.value):
            return math.isfinite(value)
        return value < self.value if self.metric == "val_loss" else value > self.value


@dataclass
class TrainingState:
    """Progress of a job.

    step: finished steps since the job's start; history: one `EpochRow` per finished epoch; start: the `StartRecord`
    of the weights; seconds: duration of the finished epochs, epoch_seconds: of the unfinished one, over all attempts;
    charted: rank 0's running sums (`SUMS`) at the last point within the epoch that was charted, zeros without one.
    """

    step: int = 0
    plateau: PlateauState = field(default_factory=PlateauState)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: Best | None = None
    start: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    charted: list[float] = field(default_factory=lambda: [0.0] * len(SUMS))

    def after_epoch(self, row: Mapping[str, Any], plateau: PlateauState, *, metric: str) -> None:
        """Record a finished epoch; `metric` names the figure in `row` that selects the best epoch."""
        value = float(row[metric])
        self.history.append(dict(row))
        self.plateau = plateau
        self.seconds, self.epoch_seconds = self.seconds + self.epoch_seconds, 0.0
        self.charted = [0.0] * len(SUMS)
        if self.best is None or self.best.beaten_by(value):
            self.best = Best(int(row["epoch"]), self.step, metric, value)


def saved_variables(step: TrainStep) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Keras variables in a checkpoint's two files (weights, optimizer), by their names there."""
    weights, optimizer = named(step.classifier.model.variables), named(step.optimizer.variables)
    return step.ema.files(weights, optimizer) if step.ema is not None else (weights, optimizer)


class SnapshotBuffers:
    """Arrays that snapshots are copied into, reused each time: allocating memory takes far longer than the copy."""

    def __init__(self, step: TrainStep) -> None:
        self._variables = saved_variables(step)
        self._weights, self._optimizer = (
            {name: np.empty(variable.shape, variable.dtype) for name, variable in file.items()}
            for file in self._variables
        )

    def touch(self) -> None:
        """Write to all arrays, so that the system allocates their memory now and not at the first snapshot."""
        for array in (*self._weights.values(), *self._optimizer.values()):
            array.fill(0)

    def take(self, state: TrainingState, sums: np.ndarray) -> Snapshot:
        """Copy all variables off the device; training may continue while the copy is written.

        sums: float64 [ranks, 3], the running sums of the epoch on each rank.
        """
        copy_values(self._variables[0], self._weights)
        copy_values(self._variables[1], self._optimizer)
        plain = {**asdict(state), "sums": sums.tolist(), "ranks": len(sums)}
        return Snapshot(state.step, self._weights, self._optimizer, plain)


def load_variables(snapshot: Snapshot, step: TrainStep) -> None:
    """Assign a snapshot's weights and optimizer variables; random generators keep their state.

    Raises:
        UserError: the snapshot is of another network or optimizer.
    """
    for variables, arrays in zip(saved_variables(step), (snapshot.weights, snapshot.optimizer), strict=True):
        transfer(variables, arrays, source=f"checkpoint of step {snapshot.step}")


def restore_state(plain: Mapping[str, Any], step: TrainStep, world: World) -> TrainingState:
    """The state that `SnapshotBuffers.take` stored; gives `step` this rank's running sums.

    With another number of workers rank 0 keeps the totals; then only the last bits of an epoch's mean may differ.
    """
    values = dict(plain)
    sums, ranks = np.array(values.pop("sums"), np.float64), values.pop("ranks")
    if ranks == world.size:
        step.write_sums(sums[world.rank])
    else:
        step.write_sums(sums.sum(axis=0) if world.rank == 0 else np.zeros(sums.shape[1]))
        values.pop("charted", None)
    best = Best(**values.pop("best")) if values["best"] else values.pop("best")
    plateau = PlateauState(**values.pop("plateau"))
    return replace(TrainingState(**values), best=best, plateau=plateau)


def seed_counters(weights: Mapping[str, np.ndarray]) -> dict[str, int]:
    """By path of each random generator in a snapshot's weights: how often it was used. The same on every rank."""
    return {path: int(array[1]) for path, array in weights.items() if path.endswith(SEED_STATE)}


def seed_generators(
    variables: Sequence[Any], config: JobConfig, *, rank: int, counters: Mapping[str, int] | None = None
) -> None:
    """Set the Keras random generators (dropout) among `variables`, integers [2] = (key, counter).

    The key depends on the configuration's seed, the job, the rank and the generator's path, so that no two of them
    draw the same masks. counters: `seed_counters` of the snapshot that a job resumes from; None: a new job.
    """
    for variable in (v for v in variables if is_seed(v)):
        key = _generator_key(config.seed, config.name, variable.path, rank)
        counter = counters[variable.path] if counters is not None else 0
        variable.assign(np.array([key, counter], variable.dtype))


def _generator_key(seed: int, job: str, path: str, rank: int) -> int:
    """An integer in [0, 2**31), the range of a seed of TensorFlow's stateless operations."""
    source = json.dumps([seed, job, path, rank]).encode()
    digest = hashlib.blake2b(source, digest_size=4, person=b"dropout").digest()
    return int.from_bytes(digest, "big") >> 1
