"""The start state of a job, decided once: its own checkpoint, otherwise a warm start, otherwise initial weights."""

import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.errors import UserError
from trainer.config import JobPayload
from trainer.job_folder.checkpoint import WEIGHTS, CheckpointFolder, Snapshot, verified_sha256
from trainer.job_folder.journal import RESULT, job_folder, read_result
from trainer.network.weights import imported_from, is_seed, load_arrays, load_backbone, transfer
from trainer.training.state import TrainingState, load_variables, restore_state, seed_counters, seed_generators
from trainer.training.step import TrainStep
from trainer.world import World

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmStart:
    """The weights of the job that another one starts from. record: the `StartRecord` but for `fresh`."""

    path: Path
    arrays: dict[str, np.ndarray]
    record: dict[str, Any]


Source = Snapshot | WarmStart | None
"""What a job starts from: its own newest checkpoint, an earlier job, or neither."""


def read_ahead(job: JobPayload, checkpoints: CheckpointFolder) -> Future[Source]:
    """What the job starts from, verified and read in a thread while the network is built."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-start")
    found = pool.submit(_read_source, job, checkpoints)
    pool.shutdown(wait=False)
    return found


def _read_source(job: JobPayload, checkpoints: CheckpointFolder) -> Source:
    newest = checkpoints.newest()
    if newest is not None or job.config.start_job is None:
        return newest
    return _read_earlier_job(job, job.config.start_job)


def initial_state(job: JobPayload, step: TrainStep, world: World, source: Future[Source] | None) -> TrainingState:
    """The state to train from, identical on every rank.

    source: the future of `read_ahead` on rank 0, None on all others. Only rank 0 reads files and sends their content,
    so all ranks start from the same checkpoint even if a shared file system shows them different ones.

    Raises:
        UserError: all checkpoints are damaged, or the start weights do not fit the network.
    """
    model = step.classifier.model
    read = source.result() if source is not None else None
    snapshot = read if isinstance(read, Snapshot) else None
    found = json.loads(world.broadcast_bytes(_header(snapshot), name="start"))
    if found is None:
        seed_generators(model.variables, job.config, rank=world.rank)
        warm = read if isinstance(read, WarmStart) else None
        start = _load_start_weights(job, step, warm) if world.rank == 0 else {}
        start = json.loads(world.broadcast_bytes(json.dumps(start).encode(), name="origin"))
        world.broadcast([v for v in model.variables if not is_seed(v)])
        logger.info("start: %s", start)
        return TrainingState(start=start)
    if snapshot is not None:
        load_variables(snapshot, step)
    seed_generators(model.variables, job.config, rank=world.rank, counters=found["counters"])
    state = restore_state(found["state"], step, world)
    world.broadcast([v for v in model.variables if not is_seed(v)])
    world.broadcast(step.optimizer.variables)
    world.broadcast(step.ema.variables if step.ema is not None else [])
    logger.info("start: own checkpoint of step %d", state.step)
    return state


def _header(snapshot: Snapshot | None) -> bytes:
    """The parts of a checkpoint besides the variables, as JSON: `state` and the seed `counters`."""
    if snapshot is None:
        return b"null"
    return json.dumps({"state": snapshot.state, "counters": seed_counters(snapshot.weights)}).encode()


def _read_earlier_job(job: JobPayload, name: str) -> WarmStart:
    """The best weights of the finished job `name` of the same run, after a look at their checksum."""
    source = job_folder(Path(job.run), name)
    if not (source / RESULT).exists():
        raise UserError(f"{job.config.name}: starts from {name}, which is not finished; train that job first")
    result = read_result(source, {"best_checkpoint": str, "weights_digest": str})
    path = source / result["best_checkpoint"] / WEIGHTS
    file_digest = verified_sha256(path)
    record = {
        "kind": "warm_start",
        "from": name,
        "checkpoint": result["best_checkpoint"],
        "file": str(path.relative_to(job.run)),
        "file_sha256": file_digest,
        "digest": result["weights_digest"],
    }
    return WarmStart(path, load_arrays(path), record)


def _load_start_weights(job: JobPayload, step: TrainStep, warm: WarmStart | None) -> dict[str, Any]:
    """Load the start weights on rank 0: of an earlier job, of a file, or none. Returns a `StartRecord`."""
    config = job.config
    if warm is not None:
        variables = step.classifier.model.variables
        skipped = transfer(variables, warm.arrays, fresh=config.stage.fresh, source=str(warm.path))
        return {**warm.record, "fresh": skipped}
    if config.weights_file is not None:
        path = Path(config.weights_file)
        digest = load_backbone(step.classifier.backbone, path)
        return {"kind": "weights", "from": str(path), "digest": digest, **imported_from(path)}
    return {"kind": "fresh", "from": None, "digest": None}
