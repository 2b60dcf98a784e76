"""One training job, from its payload to its result: the same on a laptop, under horovodrun and under Ray."""

import logging
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_tools.config import from_mapping, to_mapping
from data_tools.errors import UserError
from data_tools.files import write_json
from data_tools.shards.manifest import Manifest
from data_tools.shards.reader import ShardSet
from data_tools.stop import StopRequest
from trainer.compiled import KEPT, Compiled, graph_key
from trainer.config import JobConfig, JobPayload
from trainer.device import collector_paused, fresh_session, prepare_device
from trainer.hook import Progress, on_progress
from trainer.job_data import class_weights_of, open_job_data
from trainer.job_folder.attempt_count import keep_config, number_attempt
from trainer.job_folder.checkpoint import CheckpointFolder
from trainer.job_folder.heartbeat import Heartbeat
from trainer.job_folder.journal import CHECKPOINTS, RESULT, Journal, job_folder, log_to, read_result
from trainer.job_folder.writer import BackgroundWriter
from trainer.native_log import load_tensorflow
from trainer.network.batchnorm import set_momentum
from trainer.network.classifier import Classifier, Geometry, build_classifier
from trainer.network.freezing import FreezePlan, layer_names, plan_freezing
from trainer.optimizer.build import build_optimizer
from trainer.optimizer.layer_rates import rate_shares
from trainer.scoring.evaluate import Evaluator
from trainer.tracking.charts import Charts
from trainer.training.agreement import Coordinator
from trainer.training.loop import Loop
from trainer.training.outcome import final_evaluator, load_best, predict_splits, result_of
from trainer.training.start import initial_state, read_ahead
from trainer.training.state import TrainingState
from trainer.training.step import TrainStep
from trainer.world import World

logger = logging.getLogger(__name__)


def classifier_for(config: JobConfig, manifest: Manifest) -> Classifier:
    """The job's network with its initial weights."""
    return build_classifier(config.model, _geometry(config, manifest), classes=len(manifest.class_ids))


def _geometry(config: JobConfig, manifest: Manifest) -> Geometry:
    return Geometry(manifest.height, manifest.width, manifest.channels, config.stage.image_px)


def build_step(
    config: JobConfig,
    geometry: Geometry,
    *,
    classes: int,
    world: World,
    class_weights: Sequence[float] | None = None,
) -> tuple[TrainStep, FreezePlan]:
    """The compiled step of a job with all settings of its stage, and the layers that it freezes.

    class_weights: the weight of each class in the loss; None: 1.

    Raises:
        UserError: an unknown backbone, a geometry that it cannot process, or layers to freeze that do not exist.
    """
    classifier = build_classifier(config.model, geometry, classes=classes)
    set_momentum(classifier, config.model.batchnorm_momentum)
    freezing = plan_freezing(config.stage, layer_names(classifier))
    optimizer = config.stage.optimizer
    shares = rate_shares(classifier, optimizer.layer_decay)
    step = TrainStep(
        classifier,
        build_optimizer(optimizer, precision=config.training.precision, shares=shares),
        world,
        config.training,
        frozen=freezing.always,
        micro_batches=config.stage.micro_batches,
        ema_decay=optimizer.ema_decay,
        class_weights=class_weights,
        distill=config.distill,
    )
    return step, freezing


def run(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Train one model as one rank of its world; returns the content of `result.json`.

    payload: `JobPayload` as plain data. A finished job returns its result; a job with a checkpoint resumes.

    Raises:
        UserError: an error that the user can fix.
        Stopped: the job received a stop request, and its state is saved.
    """
    job = from_mapping(JobPayload, payload, where="payload")
    config = job.config
    folder = job_folder(Path(job.run), config.name)
    if (folder / RESULT).exists():
        return read_result(folder)
    world = World.start()
    with log_to(folder, rank=world.rank), Heartbeat(folder, rank=world.rank, world_size=world.size) as heartbeat:
        result = _run(job, folder, world, heartbeat)
    # The process may be kept for another job, and must not hold this one's memory while it waits.
    fresh_session(keep_compiled=KEPT.full)
    return result


def _run(job: JobPayload, folder: Path, world: World, heartbeat: Heartbeat) -> dict[str, Any]:
    config, began, clock = job.config, time.time(), time.monotonic()
    # First: TensorFlow rejects these settings once it has computed, or Horovod averaged, anything.
    device = prepare_device(world, config.training, seed=config.seed)
    attempt = number_attempt(folder, world)
    heartbeat.start_attempt(attempt)
    fixed = {"job": config.name, "world_size": world.size}
    journal = Journal(folder, rank=world.rank, fixed=fixed, heartbeat=heartbeat)
    journal.progress("starting", doing="opening the shards")
    for line in load_tensorflow():
        logger.info("TensorFlow: %s", line)
    logger.info("%s: rank %d of %d on %s, attempt %d", config.name, world.rank, world.size, device, attempt)
    if world.rank == 0:
        keep_config(folder, config)
    result = _train(job, folder, world, journal, heartbeat)
    seconds = time.monotonic() - clock
    result |= {"attempt": attempt, "seconds": seconds, "started": began, "ended": began + seconds}
    if world.rank == 0:
        write_json(folder / RESULT, result)
        journal.progress("done", epoch=result["epochs"], epochs=result["epochs"])
    heartbeat.at("done")
    return result


def _train(job: JobPayload, folder: Path, world: World, journal: Journal, heartbeat: Heartbeat) -> dict[str, Any]:
    config = job.config
    checkpoints = CheckpointFolder(folder / CHECKPOINTS, keep=config.checkpoint.keep, config=to_mapping(config))
    source = read_ahead(job, checkpoints) if world.rank == 0 else None
    data = open_job_data(job)
    check_batch(config.stage.global_batch, world.size, config.stage.micro_batches)
    journal.progress("starting", doing="building the network")
    key, compiled = _compiled(config, data.manifest, world)
    journal.progress("starting", doing="loading weights")
    state = initial_state(job, compiled.step, world, source)
    del source  # and with it the arrays that were read
    heartbeat.at("starting", step=state.step)
    if world.rank == 0:
        _warn_without_best(state, checkpoints)
    journal.rewrite(state.history)
    with BackgroundWriter(checkpoints) as writer, StopRequest() as stop:
        hook = on_progress(
            Progress(
                run=Path(job.run), folder=folder, job=config.name, attempt=heartbeat.attempt, rank=world.rank,
                wait_for_checkpoint=writer.wait,
            )
        )  # fmt: skip
        coordinator = Coordinator(world, heartbeat, writer, config.checkpoint.agree_steps, stop.received, hook)
        loop = Loop(
            config=config,
            world=world,
            step=compiled.step,
            evaluator=compiled.evaluator,
            train=data.train,
            val=data.val,
            state=state,
            writer=writer,
            journal=journal,
            coordinator=coordinator,
            freezing=compiled.freezing,
            precise=compiled.statistics,
            targets=data.targets,
            charts=_charts(config, folder, state, world),
        )
        journal.progress("starting", doing="compiling the first step", step=state.step)
        loop.run()
        result = _finish(loop, checkpoints, data.to_predict)
    if not config.stage.head_epochs:  # Frozen layers change within the stage, and with them the graph.
        KEPT.give(key, compiled)
    return result


def _compiled(config: JobConfig, manifest: Manifest, world: World) -> tuple[Hashable, Compiled]:
    """The step and evaluation of the job, left by the last job of this process or new, under the key of its graph."""
    geometry, classes = _geometry(config, manifest), len(manifest.class_ids)
    weights = class_weights_of(config, manifest)
    key = graph_key(
        world, geometry, classes, weights, config.seed, config.stage, config.model, config.training, config.distill
    )

    def build() -> Compiled:
        with collector_paused():
            step, freezing = build_step(config, geometry, classes=classes, world=world, class_weights=weights)
        return Compiled(step, freezing, Evaluator(step.classifier, world, batch=config.training.evaluation_batch))

    return key, KEPT.take(key, build)


def _charts(config: JobConfig, folder: Path, state: TrainingState, world: World) -> Charts:
    last_epoch_at = int(state.history[-1]["step"]) if state.history else 0
    on = config.event_files and world.rank == 0
    return Charts(folder, on=on, resumed_at=state.step, last_epoch_at=last_epoch_at)


def _warn_without_best(state: TrainingState, checkpoints: CheckpointFolder) -> None:
    if state.best is not None and checkpoints.missing(state.best.step):
        logger.warning(
            "%s: the best checkpoint so far, of epoch %d, is missing; unless a later epoch is better, the job fails",
            checkpoints.path(state.best.step), state.best.epoch,
        )  # fmt: skip


def _finish(loop: Loop, checkpoints: CheckpointFolder, splits: Mapping[str, ShardSet]) -> dict[str, Any]:
    """Predict with the best weights; the content of `result.json` without the attempt and its times."""
    config, state, world = loop.config, loop.state, loop.world
    epochs, step = config.stage.epochs, state.step
    loop.journal.progress(
        "predicting", epoch=epochs, epochs=epochs, step=step, steps=step, steps_per_epoch=loop.steps_per_epoch
    )
    best = load_best(loop.step.classifier.model, state, checkpoints, world=world)
    evaluator = final_evaluator(loop.step.classifier, config.training, loop.evaluator, world=world)
    figures = predict_splits(splits, evaluator, coordinator=loop.coordinator, folder=loop.journal.folder, step=step)
    loop.charts.test(step, figures)
    result = result_of(config, state, best, figures, world_size=world.size)
    if config.distill is not None and world.rank == 0:
        from trainer.distill.student import measure_student  # Imports the stack, which no other training job needs.

        result["distilled"] = measure_student(loop.journal.folder.parents[1], config)
    return result


def check_batch(global_batch: int, workers: int, micro_batches: int = 1) -> None:
    """Check that the global batch divides evenly into the micro-batches of all workers.

    Raises:
        UserError: it does not; the message names the nearest batches that do.
    """
    parts = workers * micro_batches
    if global_batch % parts:
        below = global_batch // parts * parts
        nearest = " or ".join(str(batch) for batch in (below, below + parts) if batch)
        each = f" in {micro_batches} micro-batches each" if micro_batches > 1 else ""
        raise UserError(
            f"global_batch: {global_batch} cannot be divided among {workers} workers{each}; nearest: {nearest}"
        )
