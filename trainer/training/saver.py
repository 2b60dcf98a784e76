"""Saving between two steps: all ranks compare their weights, and rank 0 hands a snapshot to its writer."""

import logging
import time

from trainer.job_folder.writer import BackgroundWriter
from trainer.network.weights import is_seed, weights_digest
from trainer.training.agreement import Coordinator
from trainer.training.state import SnapshotBuffers, TrainingState
from trainer.training.step import TrainStep

logger = logging.getLogger(__name__)


class Saver:
    """Saves `state` and the variables of `step`; every rank has one, only rank 0 writes.

    saved_step: the step of the last checkpoint, or the one that the job resumed from.
    """

    def __init__(
        self, step: TrainStep, state: TrainingState, writer: BackgroundWriter, coordinator: Coordinator
    ) -> None:
        self._step, self._state, self._writer = step, state, writer
        self._world, self._heartbeat = coordinator.world, coordinator.heartbeat
        self._buffers = SnapshotBuffers(step) if self._world.rank == 0 else None
        self._allocated = False
        self._saved_at = self._counted = time.monotonic()
        self.saved_step = state.step

    def allocate(self) -> None:
        """Allocate the memory of snapshots in the writer's thread, on the first call only."""
        if self._buffers is not None and not self._allocated:
            self._allocated = True
            self._writer.begin(self._buffers.touch)

    def late(self, every_seconds: float | None) -> bool:
        """Whether a checkpoint is due by the clock of rank 0, the only rank that writes; False while it still writes.

        Raises:
            UserError: the last checkpoint could not be written.
        """
        if self._world.rank or self._writer.busy():
            return False
        return every_seconds is not None and time.monotonic() - self._saved_at >= every_seconds

    def save(self) -> str:
        """Compare the weights of all ranks, hand a snapshot to rank 0's writer and return the digest of the weights.

        Raises:
            UserError: ranks hold different weights, or the previous checkpoint could not be written.
        """
        phase = self._heartbeat.phase
        self._heartbeat.at("saving", step=self._state.step)
        digest = self.digest()
        self._world.check_equal(digest, step=self._state.step)
        self.count_seconds()
        sums = self._world.gather(self._step.read_sums().reshape(1, -1), name="sums")
        if self._buffers is not None:
            self._writer.wait()  # the writer may still read the buffers
            best = self._state.best.step if self._state.best else None
            self._writer.submit(self._buffers.take(self._state, sums), best=best)
        self._saved_at, self.saved_step = time.monotonic(), self._state.step
        self._heartbeat.at(phase)
        logger.info("step %d: checkpoint", self._state.step)
        return digest

    def digest(self) -> str:
        """Digest of the weights and statistics that are evaluated, identical on all ranks."""
        with self._step.evaluated_weights():
            return weights_digest([v for v in self._step.classifier.model.variables if not is_seed(v)])

    def count_seconds(self) -> None:
        """Add the time since the last call to the seconds of the unfinished epoch."""
        now = time.monotonic()
        self._state.epoch_seconds += now - self._counted
        self._counted = now
