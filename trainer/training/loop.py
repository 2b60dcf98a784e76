"""The training loop of one job, on every rank: to an absolute step, so that resuming is calling it again."""

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from data_tools.errors import NumericError, Stopped
from data_tools.shards.order import steps_per_epoch
from data_tools.shards.reader import ShardSet, TrainBatches
from data_tools.shards.tensors import as_tensor
from trainer.config import JobConfig
from trainer.job_folder.heartbeat import Heartbeat
from trainer.job_folder.journal import Journal
from trainer.job_folder.writer import BackgroundWriter
from trainer.network.batchnorm import PreciseStatistics
from trainer.network.freezing import FreezePlan
from trainer.scoring.evaluate import Evaluator
from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.training.not_finite import describe_bad_step, dump_bad_step, find_bad_step
from trainer.training.pace import Pace
from trainer.training.saver import Saver
from trainer.training.schedule import PlateauState, after_epoch, head_steps, stage_rate
from trainer.training.split import selected_pages
from trainer.training.state import TrainingState
from trainer.training.step import SUMS, TrainStep
from trainer.world import World

logger = logging.getLogger(__name__)


@dataclass
class Loop:
    """Trains `state` to the end of its last epoch; every rank runs the same.

    stop_asked: whether this process was asked to stop; all ranks then agree on the step at which they do.
    on_progress: called with (phase, finished steps, finished batches of an evaluation), before anything is decided.
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
    heartbeat: Heartbeat
    freezing: FreezePlan
    stop_asked: Callable[[], bool] = lambda: False
    on_progress: Callable[[str, int, int], None] = lambda phase, step, batch: None

    def __post_init__(self) -> None:
        self.steps_per_epoch = steps_per_epoch(len(self.train), self.config.stage.global_batch)
        self._selected = selected_pages(self.val, self.config)
        self._offset = self.state.step
        self.saver = Saver(self.step, self.world, self.state, self.writer, self.heartbeat)
        self._pace = Pace(self.state.step)
        self._recent = (time.monotonic(), self.state.step)
        self._precise: dict[frozenset[str], PreciseStatistics] = {}

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.state.history)

    def run(self) -> None:
        """Train until all epochs are finished.

        Raises:
            Stopped: somebody asked, and the state is saved.
            NumericError: a loss that is not finite.
            UserError: ranks that differ, or a checkpoint that cannot be written.
        """
        with self._batches(self.state.step) as batches:
            while self.epoch < self.config.stage.epochs:
                self._choose_layers()
                self.train_to((self.epoch + 1) * self.steps_per_epoch, batches)
                self._finish_epoch()
        self.writer.wait()

    def _batches(self, start_step: int) -> TrainBatches:
        stage = self.config.stage
        return TrainBatches(
            self.train,
            global_batch=stage.global_batch,
            seed=self.config.seed,
            rank=self.world.rank,
            size=self.world.size,
            start_step=start_step,
            augment=stage.augment,
        )

    def train_to(self, target: int, batches: TrainBatches) -> None:
        """Train until `target` steps are finished, within one epoch."""
        while self.state.step < target:
            self._take_step(batches)
            self.saver.prepare()
            if self.journal.due():
                self._tell("training")
            if self._agreement_due() and self.state.step < target:
                self._agree()

    def _take_step(self, batches: TrainBatches) -> None:
        batch = next(batches)
        self.step.set_learning_rate(self._rate_at(self.state.step))
        self.heartbeat.waiting = True
        self.step(as_tensor(batch.images), as_tensor(batch.labels))
        self.state.step += 1
        self.heartbeat.at("training", step=self.state.step)
        self.on_progress("training", self.state.step, 0)

    def _choose_layers(self) -> None:
        """At an epoch's start: freeze what it leaves alone; the first one for all layers begins as training begins.

        The rule looks at the step alone, so a job that is resumed there does the same again.
        """
        self.step.train_all_but(self.freezing.at(self.epoch))
        head = head_steps(self.config.stage, self.steps_per_epoch)
        if head and self.state.step == head and self.epoch == self.config.stage.head_epochs:
            self.step.reset_optimizer()
            self.state.plateau = PlateauState(best=self.state.plateau.best)

    def _compute_statistics(self) -> None:
        """Give BatchNorm the statistics of the epoch's first batches under the weights of now."""
        count = min(self.config.training.batchnorm_batches, self.steps_per_epoch)
        if not count:
            return
        frozen = self.step.frozen
        if frozen not in self._precise:
            self._precise = {frozen: PreciseStatistics(self.step.classifier, self.world)}
        with self._batches(self.epoch * self.steps_per_epoch) as batches, self.step.as_evaluated(keep=True):
            self._precise[frozen].update(batch.images for batch in itertools.islice(batches, count))

    def _rate_at(self, step: int) -> float:
        return stage_rate(self.config.stage, self.state.plateau, step=step, steps_per_epoch=self.steps_per_epoch)

    def _agreement_due(self) -> bool:
        every = self.config.checkpoint.every_steps
        return self._pace.due(self.state.step) or (every is not None and self.state.step % every == 0)

    def _ask_all(self, flags: Sequence[bool], pace: Pace) -> list[bool]:
        """For each flag, whether it is set on any rank; then plans when all ranks ask each other again."""
        self.heartbeat.waiting = True
        *counts, microseconds = self.world.sum(
            np.array([*flags, 1e6 * pace.seconds()], np.int64), name="agree"
        ).tolist()
        self.heartbeat.waiting = False
        pace.agreed(self.config.checkpoint.agree_steps, 1e-6 * microseconds / self.world.size)
        return [bool(count) for count in counts]

    def _agree(self) -> None:
        """Within an epoch: all ranks look together for bad gradients, a wish to stop, a checkpoint that is due."""
        self._check_finite()
        plan = self.config.checkpoint
        by_steps = plan.every_steps is not None and self.state.step % plan.every_steps == 0
        # Any rank may have been told to stop.
        stop, save = self._ask_all([self.stop_asked(), self.saver.late(plan.every_seconds)], self._pace)
        if save or by_steps or stop:
            self.saver.save()
        if stop:
            self._leave(f"stopped at step {self.state.step}, saved")

    def on_batch(self, phase: str) -> Callable[[int], None]:
        """What an evaluation calls after each batch: tells where it is, and leaves it where somebody asked."""

        pace = Pace(0)

        def finished(batches: int) -> None:
            self.heartbeat.at(phase, step=self.state.step, batch=batches)
            self.on_progress(phase, self.state.step, batches)
            if pace.due(batches) and any(self._ask_all([self.stop_asked()], pace)):
                self._leave(f"stopped while {phase} after step {self.state.step}, saved")

        return finished

    def _leave(self, words: str) -> NoReturn:
        self.heartbeat.at("saving")
        self.writer.wait()
        # Nobody leaves before rank 0 has written: a launcher ends all ranks as soon as the first is gone.
        self.world.any([True], name="written")
        raise Stopped(words)

    def _check_finite(self) -> None:
        first = int(self.step.first_bad.numpy())
        if first:
            losses = self.world.gather(np.asarray(self.step.bad_losses.numpy()), name="bad_losses")
            finite = self.world.sum(
                np.array([self.step.compression_overflow.numpy()], np.int64), name="compression_overflow"
            )
            bad = find_bad_step(
                self.train,
                self.config,
                step=self._offset + first,
                losses=losses,
                compression_overflow=int(finite[0]) == self.world.size,
            )
            if self.world.rank == 0:
                dump_bad_step(self.journal.folder, bad)
            # Nobody ends before the file is there: the first rank that does takes the others with it.
            self.world.any([True], name="dumped")
            raise NumericError(describe_bad_step(self.journal.folder, bad))

    def _finish_epoch(self) -> None:
        """Save, evaluate, record the epoch.

        Saved before the evaluation, which changes nothing: who stops or dies within it, evaluates again and no more.
        """
        self._check_finite()
        if self.state.step == self.saver.saved_step:  # resumed from here: BatchNorm's statistics are as they were saved
            digest = self.saver.digest()
        else:
            self._compute_statistics()
            digest = self.saver.save()
        self.saver.count_seconds()
        training_seconds = self.state.epoch_seconds
        totals = dict(
            zip(SUMS, self.world.gather(self.step.read_sums().reshape(1, -1), name="sums").sum(axis=0), strict=True)
        )
        self._tell("evaluating")
        self.heartbeat.at("evaluating")
        with self.step.as_evaluated():
            softmax = self.evaluator.softmax(self.val, on_batch=self.on_batch("evaluating"))[self._selected]
        labels = self.val.labels[self._selected]
        row = {
            "epoch": self.epoch + 1,
            "step": self.state.step,
            "train_loss": totals["loss"] / totals["pages"],
            "train_accuracy": totals["correct"] / totals["pages"],
            "val_loss": negative_log_likelihood(labels, softmax),
            "val_accuracy": accuracy(labels, softmax),
            "learning_rate": self._rate_at(self.state.step - 1),
            "seconds": training_seconds,
            "pages_per_s": totals["pages"] / max(training_seconds, 1e-9),
            "weights_digest": digest,
            "time": time.time(),
        }
        self._record({key: value if isinstance(value, int | str) else float(value) for key, value in row.items()})
        if self.epoch < self.config.stage.epochs and any(self.world.any([self.stop_asked()], name="stop")):
            self._leave(f"stopped after epoch {self.epoch}, saved")

    def _record(self, row: Mapping[str, Any]) -> None:
        self.saver.count_seconds()
        plateau = after_epoch(self.state.plateau, row["val_accuracy"], self.config.stage.plateau)
        self.state.after_epoch(row, plateau, metric=self.config.training.best_metric)
        self.step.write_sums(np.zeros(len(SUMS)))
        self.journal.epoch(row)
        logger.info("epoch %d of %d: %s", self.epoch, self.config.stage.epochs, row)

    def _tell(self, phase: str) -> None:
        if not self.journal.due() and phase == "training":
            return
        sums = dict(zip(SUMS, self.step.read_sums(), strict=True))
        pages = max(sums["pages"], 1.0)
        then, step = self._recent
        now = time.monotonic()
        self._recent = (now, self.state.step)
        rate = (self.state.step - step) * self.config.stage.global_batch / max(now - then, 1e-9)
        self.journal.progress(
            phase,
            epoch=self.epoch + 1,
            epochs=self.config.stage.epochs,
            step=self.state.step,
            steps=self.config.stage.epochs * self.steps_per_epoch,
            steps_per_epoch=self.steps_per_epoch,
            loss=float(sums["loss"] / pages),
            accuracy=float(sums["correct"] / pages),
            pages_per_s=rate,
        )
