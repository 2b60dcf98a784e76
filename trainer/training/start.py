"""Where a job's weights come from, decided once: its own checkpoint, else a warm start, else fresh ones."""

import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data_tools.errors import UserError
from data_tools.files import read_json, sha256
from trainer.config import JobPayload
from trainer.job_folder.checkpoint import MANIFEST, WEIGHTS, CheckpointFolder, Snapshot
from trainer.job_folder.journal import RESULT, job_folder
from trainer.network.weights import imported_from, is_seed, load_arrays, load_backbone, transfer
from trainer.training.state import TrainingState, load_variables, restore_state, seed_counters, seed_generators
from trainer.training.step import TrainStep
from trainer.world import World

logger = logging.getLogger(__name__)


def read_ahead(checkpoints: CheckpointFolder) -> Future[Snapshot | None]:
    """The newest whole checkpoint, checked and read by a thread while the network is being built."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-checkpoint")
    found = pool.submit(checkpoints.newest)
    pool.shutdown(wait=False)
    return found


def begin(job: JobPayload, step: TrainStep, world: World, newest: Future[Snapshot | None] | None) -> TrainingState:
    """The state to train from, the same on every rank; newest: on rank 0 what `read_ahead` gave, else None.

    Rank 0 reads files and the others are sent what it read, so that all ranks start from the same checkpoint
    even where a shared file system shows them different ones.

    Raises:
        UserError: damaged checkpoints only, or weights that do not fit.
    """
    model = step.classifier.model
    snapshot = newest.result() if newest is not None else None
    found = json.loads(world.broadcast_bytes(_header(snapshot), name="start"))
    if found is None:
        seed_generators(model.variables, job.config, rank=world.rank)
        start = _fresh_or_warm(job, step) if world.rank == 0 else {}
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
    world.broadcast(step.averages.variables if step.averages is not None else [])
    logger.info("start: own checkpoint of step %d", state.step)
    return state


def _header(snapshot: Snapshot | None) -> bytes:
    """What every rank must know of a checkpoint besides the weights."""
    if snapshot is None:
        return b"null"
    return json.dumps({"state": snapshot.state, "counters": seed_counters(snapshot.weights)}).encode()


def _fresh_or_warm(job: JobPayload, step: TrainStep) -> dict[str, Any]:
    """Load the start weights on rank 0: those of an earlier job, of a file, or none."""
    config = job.config
    if config.start_job is not None:
        source = job_folder(Path(job.run), config.start_job)
        if not (source / RESULT).exists():
            raise UserError(f"{config.name}: starts from {config.start_job}, which is not finished; train it first")
        result = read_json(source / RESULT)
        path = source / result["best_checkpoint"] / WEIGHTS
        file_digest = whole(path)
        variables = step.classifier.model.variables
        skipped = transfer(variables, load_arrays(path), fresh=config.stage.fresh, source=str(path))
        return {
            "kind": "warm_start",
            "from": config.start_job,
            "checkpoint": result["best_checkpoint"],
            "file": str(path.relative_to(job.run)),
            "file_sha256": file_digest,
            "digest": result["weights_digest"],
            "fresh": skipped,
        }
    if config.weights_file is not None:
        path = Path(config.weights_file)
        digest = load_backbone(step.classifier.backbone, path)
        return {"kind": "weights", "from": str(path), "digest": digest, **imported_from(path)}
    return {"kind": "fresh", "from": None, "digest": None}


def whole(path: Path) -> str:
    """The SHA-256 of a checkpoint's file, after comparing it with the one that was recorded when it was written.

    Raises:
        UserError: they differ, or one cannot be read.
    """
    try:
        found = sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); train the job that wrote it again") from None
    if found != read_json(path.with_name(MANIFEST)).get("sha256", {}).get(path.name):
        raise UserError(f"{path}: changed since it was written (checksum); train the job that wrote it again")
    return found
