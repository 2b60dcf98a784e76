"""Saving between two steps: the ranks compare their weights, and rank 0 hands a snapshot to its writer."""

import logging
import time

from trainer.job_folder.heartbeat import Heartbeat
from trainer.job_folder.writer import BackgroundWriter
from trainer.network.weights import is_seed, weights_digest
from trainer.training.state import SnapshotBuffers, TrainingState
from trainer.training.step import TrainStep
from trainer.world import World

logger = logging.getLogger(__name__)


class Saver:
    """Saves `state` and the variables of `step`; every rank has one, and rank 0 alone writes.

    saved_step: the step that was saved last, or that the job was resumed from.
    """

    def __init__(
        self, step: TrainStep, world: World, state: TrainingState, writer: BackgroundWriter, heartbeat: Heartbeat
    ) -> None:
        """Nothing is copied or written yet."""
        self._step, self._world, self._state = step, world, state
        self._writer, self._heartbeat = writer, heartbeat
        self._buffers = SnapshotBuffers(step) if world.rank == 0 else None
        self._touched = False
        self._saved_at = self._counted = time.monotonic()
        self.saved_step = state.step

    def prepare(self) -> None:
        """Have the memory of snapshots provided beside the training; at the first call alone."""
        if self._buffers is not None and not self._touched:
            self._touched = True
            self._writer.begin(self._buffers.touch)

    def late(self, every_seconds: float | None) -> bool:
        """Whether the time for a checkpoint has come, by the clock of rank 0, the only one that writes.

        It rather skips a turn than waits for a disk that is slower.

        Raises:
            UserError: the last checkpoint could not be written.
        """
        if self._world.rank or self._writer.busy():
            return False
        return every_seconds is not None and time.monotonic() - self._saved_at >= every_seconds

    def save(self) -> str:
        """Compare the ranks' weights, then hand a snapshot to rank 0's writer; the digest of the weights.

        Raises:
            UserError: ranks that differ, or the checkpoint before this one could not be written.
        """
        phase = self._heartbeat.phase
        self._heartbeat.at("saving", step=self._state.step)
        digest = self.digest()
        self._world.check_equal(digest, step=self._state.step)
        self.count_seconds()
        sums = self._world.gather(self._step.read_sums().reshape(1, -1), name="sums")
        if self._buffers is not None:
            self._writer.wait()  # it may still read the buffers
            best = self._state.best.step if self._state.best else None
            self._writer.submit(self._buffers.take(self._state, sums), best=best)
        self._saved_at, self.saved_step = time.monotonic(), self._state.step
        self._heartbeat.at(phase)
        logger.info("step %d: checkpoint", self._state.step)
        return digest

    def digest(self) -> str:
        """Digest of the weights and statistics that are evaluated, which all ranks must share."""
        with self._step.as_evaluated():
            return weights_digest([v for v in self._step.classifier.model.variables if not is_seed(v)])

    def count_seconds(self) -> None:
        """Add the time since the last call to what the unfinished epoch has taken."""
        now = time.monotonic()
        self._state.epoch_seconds += now - self._counted
        self._counted = now
