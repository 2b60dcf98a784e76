"""The training loop of one job, on every rank: to an absolute step, so that resuming is calling it again."""

import itertools
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import NumericError
from data_tools.shards.order import steps_per_epoch
from data_tools.shards.reader import Batch, ShardSet, TrainBatches
from data_tools.shards.tensors import as_tensor
from trainer.config import JobConfig
from trainer.job_folder.journal import Journal
from trainer.job_folder.writer import BackgroundWriter
from trainer.network.batchnorm import PreciseStatistics
from trainer.network.freezing import FreezePlan
from trainer.optimizer.schedule import PlateauState, after_epoch, head_steps, plateau_of, stage_rate
from trainer.scoring.evaluate import Evaluator
from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.scoring.schema import EpochRow
from trainer.soft_targets.targets import TargetRows
from trainer.tracking.charts import Charts
from trainer.tracking.pace import StepPace
from trainer.training.agreement import AgreementTimer, Coordinator
from trainer.training.gradients import MixedLabels
from trainer.training.nonfinite import describe, dump, read_nonfinite_step
from trainer.training.saver import Saver
from trainer.training.split import selected_pages
from trainer.training.state import TrainingState
from trainer.training.step import SUMS, TrainStep
from trainer.world import World

logger = logging.getLogger(__name__)


@dataclass
class Loop:
    """Trains `state` to the end of its last epoch; every rank runs the same.

    targets: of a student's pages. precise: what computes BatchNorm's statistics, by frozen layers; filled by need.
    """

    config: JobConfig
    world: World
    step: TrainStep
    evaluator: Evaluator
    train: ShardSet
    val: ShardSet
    state: TrainingState
    writer: BackgroundWriter
    journal: Journal
    coordinator: Coordinator
    freezing: FreezePlan
    charts: Charts
    targets: TargetRows | None = None
    precise: dict[frozenset[str], PreciseStatistics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.steps_per_epoch = steps_per_epoch(len(self.train), self.config.stage.global_batch)
        self.saver = Saver(self.step, self.state, self.writer, self.coordinator)
        self._selected = selected_pages(self.val, self.config)
        self._first_step = self.state.step
        self._timer = AgreementTimer(self.state.step)
        self._pace = StepPace(self.config.stage.global_batch)

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.state.history)

    def run(self) -> None:
        """Train until all epochs are finished.

        Raises:
            Stopped: a rank received a stop request; the state is saved.
            NumericError: the loss or the gradients of a step are not finite.
            UserError: ranks hold different weights, or a checkpoint cannot be written.
        """
        self.coordinator.publish("starting", step=self.state.step)
        # The first step is yet to be compiled, which a stop request must not wait for.
        if self.epoch < self.config.stage.epochs and self.coordinator.any_stop_asked():
            self.coordinator.exit_stopped(f"stopped at step {self.state.step}, before the first one of this attempt")
        with self._batches(self.state.step) as batches:
            while self.epoch < self.config.stage.epochs:
                self._choose_layers()
                self.train_to((self.epoch + 1) * self.steps_per_epoch, batches)
                self._finish_epoch()
        self.writer.wait()

    def _batches(self, start_step: int, *, mixed: bool = True) -> TrainBatches:
        plan = self.config.batch_plan(self.world.rank, self.world.size)
        return TrainBatches(self.train, plan if mixed else plan.unmixed(), start_step=start_step)

    def train_to(self, target: int, batches: TrainBatches) -> None:
        """Train until `target` steps are finished, within one epoch."""
        while self.state.step < target:
            self._take_step(batches)
            self.saver.allocate()
            if self.charts.due(self.state.step, self.steps_per_epoch):
                self._chart()
            if self.journal.due():
                self._report_progress("training")
            if self._agreement_due() and self.state.step < target:
                self._agree()

    def _take_step(self, batches: TrainBatches) -> None:
        began = time.monotonic()
        batch = next(batches)
        waited_s = time.monotonic() - began
        self.step.set_learning_rate(self._rate_at(self.state.step))
        self.coordinator.heartbeat.waiting = True  # the step's collectives wait for all ranks
        self.step(as_tensor(batch.images), as_tensor(batch.labels), *self._soft(batch.positions), mix=self._mix(batch))
        self.state.step += 1
        self._pace.stepped(self.state.step)
        self.charts.stepped(self.state.step, waited_s=waited_s)
        self.coordinator.publish("training", step=self.state.step)

    def _soft(self, positions: NDArray[np.int64]) -> tuple[Any, ...]:
        """The teacher's answers for these pages, of a student; of any other job, none."""
        return () if self.targets is None else tuple(map(as_tensor, self.targets.of(positions)))

    def _mix(self, batch: Batch) -> MixedLabels | None:
        if batch.mix is None:
            return None
        labels, positions, shares = batch.mix
        return MixedLabels(as_tensor(labels), as_tensor(shares), self._soft(positions))

    def _chart(self) -> None:
        """Chart the means since the last such point, also of an earlier attempt, over rank 0's pages."""
        sums = self.step.read_sums()
        since = dict(zip(SUMS, sums - np.array(self.state.charted), strict=True))
        self.state.charted = [float(value) for value in sums]
        pages = max(float(since["pages"]), 1.0)
        figures = {
            "loss": float(since["loss"]) / pages,
            "accuracy": float(since["correct"]) / pages,
            "learning_rate": self._rate_at(self.state.step - 1),
        }
        self.charts.within(self.state.step, figures, global_batch=self.config.stage.global_batch)

    def _choose_layers(self) -> None:
        """Freeze the layers of the next epoch; after the head epochs, restart the optimizer and its schedule.

        The decision depends on the step alone, so a job that resumes here repeats it.
        """
        frozen = self.freezing.at(self.epoch)
        if frozen != self.step.frozen:
            self._pace.restart()
        self.step.set_frozen(frozen)
        head = head_steps(self.config.stage, self.steps_per_epoch)
        if head and self.state.step == head and self.epoch == self.config.stage.head_epochs:
            self.step.reset_optimizer()
            self.state.plateau = PlateauState(best=self.state.plateau.best)

    def _compute_statistics(self) -> None:
        """Recompute BatchNorm's statistics from the first batches of the epoch with the current weights."""
        count = min(self.config.training.batchnorm_batches, self.steps_per_epoch)
        if not count:
            return
        frozen = self.step.frozen
        if frozen not in self.precise:
            self.precise.clear()
            self.precise[frozen] = PreciseStatistics(self.step.classifier, self.world)
        first = self.epoch * self.steps_per_epoch
        # Unmixed, like the pages that are evaluated.
        with self._batches(first, mixed=False) as batches, self.step.evaluated_weights(keep=True):
            self.precise[frozen].update(batch.images for batch in itertools.islice(batches, count))

    def _rate_at(self, step: int) -> float:
        return stage_rate(self.config.stage, self.state.plateau, step=step, steps_per_epoch=self.steps_per_epoch)

    def _agreement_due(self) -> bool:
        return self._timer.due(self.state.step) or self._checkpoint_step()

    def _checkpoint_step(self) -> bool:
        every = self.config.checkpoint.every_steps
        return every is not None and self.state.step % every == 0

    def _agree(self) -> None:
        """Within an epoch: all ranks check for non-finite steps, stop requests and due checkpoints."""
        self._check_finite()
        late = self.saver.late(self.config.checkpoint.every_seconds)
        stop, save = self.coordinator.agree_on_flags([self.coordinator.stop_asked(), late], self._timer)
        if save or self._checkpoint_step() or stop:
            self.saver.save()
        if stop:
            self.coordinator.exit_stopped(f"stopped at step {self.state.step}, saved")

    def _check_finite(self) -> None:
        call = int(self.step.first_nonfinite_step.numpy())
        if not call:
            return
        losses = self.world.gather(np.asarray(self.step.nonfinite_losses.numpy()), name="nonfinite_losses")
        overflow = np.array([self.step.compression_overflow.numpy()], np.int64)
        overflowed = int(self.world.sum(overflow, name="compression_overflow")[0]) == self.world.size
        step = self._first_step + call
        bad = read_nonfinite_step(self.train, self.config, step=step, losses=losses, compression_overflow=overflowed)
        if self.world.rank == 0:
            dump(self.journal.folder, bad)
        # No rank exits before the file is written: the first one that exits takes the others with it.
        self.world.any([True], name="dumped")
        raise NumericError(describe(self.journal.folder, bad))

    def _finish_epoch(self) -> None:
        """Save, evaluate and record the epoch.

        The evaluation changes nothing and comes after the checkpoint: a job that ends within it repeats only that.
        """
        self._check_finite()
        self._pace.pause(self.state.step)
        if self.state.step == self.saver.saved_step:  # resumed here: the checkpoint holds the computed statistics
            digest = self.saver.digest()
        else:
            self._compute_statistics()
            digest = self.saver.save()
        self.saver.count_seconds()
        self._report_progress("evaluating")
        self.coordinator.heartbeat.at("evaluating")
        self._record(self._evaluate_epoch(digest))
        self._pace.resume()
        if self.epoch < self.config.stage.epochs and self.coordinator.any_stop_asked():
            self.coordinator.exit_stopped(f"stopped after epoch {self.epoch}, saved")

    def _evaluate_epoch(self, digest: str) -> EpochRow:
        training_seconds = self.state.epoch_seconds
        sums = self.world.gather(self.step.read_sums().reshape(1, -1), name="sums").sum(axis=0)
        totals = {name: float(value) for name, value in zip(SUMS, sums, strict=True)}
        finished = self.coordinator.batch_callback("evaluating", step=self.state.step)

        def on_batch(batches: int) -> None:
            self._pace.evaluated()
            finished(batches)

        with self.step.evaluated_weights():
            outputs = self.evaluator.softmax(self.val, on_batch=on_batch)
        self.charts.pages(self.state.step, self.val, outputs, among=self._selected)
        softmax, labels = outputs[self._selected], self.val.labels[self._selected]
        return {
            "epoch": self.epoch + 1,
            "step": self.state.step,
            "train_loss": totals["loss"] / totals["pages"],
            "train_accuracy": totals["correct"] / totals["pages"],
            "val_loss": float(negative_log_likelihood(labels, softmax)),
            "val_accuracy": float(accuracy(labels, softmax)),
            "learning_rate": self._rate_at(self.state.step - 1),
            "seconds": training_seconds,
            "pages_per_s": self._pace.epoch_rate or totals["pages"] / max(training_seconds, 1e-9),
            "weights_digest": digest,
            "time": time.time(),
        }

    def _record(self, row: Mapping[str, Any]) -> None:
        self.saver.count_seconds()
        plateau = after_epoch(self.state.plateau, row["val_accuracy"], plateau_of(self.config.stage))
        self.state.after_epoch(row, plateau, metric=self.config.training.best_metric)
        self.step.write_sums(np.zeros(len(SUMS)))
        self.journal.epoch(row)
        self.charts.epoch(row)
        logger.info("epoch %d of %d: %s", self.epoch, self.config.stage.epochs, row)

    def _report_progress(self, phase: str) -> None:
        sums = dict(zip(SUMS, self.step.read_sums(), strict=True))
        pages = max(sums["pages"], 1.0)
        if phase == "training":
            self._pace.measure(self.state.step)
        self.journal.progress(
            phase,
            epoch=self.epoch + 1,
            epochs=self.config.stage.epochs,
            step=self.state.step,
            steps=self.config.stage.epochs * self.steps_per_epoch,
            steps_per_epoch=self.steps_per_epoch,
            loss=float(sums["loss"] / pages),
            accuracy=float(sums["correct"] / pages),
            **self._pace.figures(),
        )
