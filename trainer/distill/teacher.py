"""The teacher's job: the answers of a finished run's stack for all pages that a student trains on."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from data_tools.config import from_mapping, to_mapping
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import Stopped, UserError
from data_tools.files import sha256, write_atomically, write_json
from data_tools.shards.shard_set import ShardSet
from data_tools.stop import StopRequest
from data_tools.versions import installed
from trainer.config import STACK
from trainer.job_folder.attempt_count import attempts_before
from trainer.job_folder.corrections import kept_corrections
from trainer.job_folder.heartbeat import Heartbeat
from trainer.job_folder.journal import CONFIG, PREDICTIONS, RESULT, Journal, job_folder, log_to, read_result
from trainer.scoring.decision import read_policy
from trainer.scoring.predictions import Predictions, join, read_predictions, write_predictions
from trainer.scoring.temperature import at_temperature
from trainer.serving.ensemble import Ensemble, RegionPages, member_config, open_ensemble, open_stack
from trainer.soft_targets.config import TEACHER
from trainer.soft_targets.targets import POOL, pool_folder, write_targets
from trainer.stack.fit import WEIGHTS
from trainer.stack.out_of_fold import TRAIN

logger = logging.getLogger(__name__)

BATCH = 64
"""Pages that the models compute at once."""

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TeacherPayload:
    """Payload of the teacher's worker.

    run: path of the run folder. shards: of the run's shard sets. unlabelled: number of pages whose shards lie in the
    job's folder. stack: hex SHA-256 of the stack's weights. corrected: whether the run's corrections apply to its
    training pages. out_of_fold: whether the members' recorded out-of-fold outputs are used for these.
    """

    run: str
    shards: str
    unlabelled: int
    stack: str
    corrected: bool = False
    out_of_fold: bool = False


def stack_digest(run: Path) -> str:
    """The hex SHA-256 of the weights of a run's stack.

    Raises:
        UserError: the run is not finished.
    """
    open_stack(run)
    return sha256(job_folder(run, STACK) / WEIGHTS)


def has_out_of_fold(run: Path) -> bool:
    """Whether the run has outputs of all members for training pages that their models have not seen."""
    members = open_stack(run).members
    return all((job_folder(run, name) / PREDICTIONS / f"{TRAIN}.npz").is_file() for name in members)


def run(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the stack's answers, or read the result if that is done; returns the content of `result.json`.

    payload: `TeacherPayload` as plain data. Each part (training pages, unlabelled pages) is one predictions file, and
    an attempt continues with the parts that an earlier one has not written.

    Raises:
        UserError: the run is not finished, or shards are missing or do not fit its models.
        Stopped: the job received a stop request.
    """
    job = from_mapping(TeacherPayload, payload, where="payload")
    folder = job_folder(Path(job.run), TEACHER)
    if (folder / RESULT).exists():
        return read_result(folder)
    with log_to(folder, rank=0), Heartbeat(folder, rank=0) as heartbeat, StopRequest() as stop:
        result = _run(job, folder, heartbeat, stop)
        heartbeat.at("done")
        return result


def _run(job: TeacherPayload, folder: Path, heartbeat: Heartbeat, stop: StopRequest) -> dict[str, Any]:
    began = time.time()
    attempt = heartbeat.attempt = attempts_before(folder) + 1
    journal = Journal(folder, rank=0, fixed={"job": TEACHER, "world_size": 1}, heartbeat=heartbeat)
    journal.progress("starting")
    write_atomically(folder / CONFIG, yaml.safe_dump(to_mapping(job), sort_keys=False))
    parts = _parts(job, folder)
    total, done = sum(len(sets[HOLISTIC]) for sets in parts.values()), 0

    def on_batch(pages: int) -> None:
        nonlocal done
        done += pages
        heartbeat.at("predicting", step=done)
        if journal.due():
            journal.progress("predicting", step=done, steps=total)
        if stop.received():
            raise Stopped(f"stopped after {done} of {total} pages")

    answers = [_answers(job, folder, name, sets, on_batch) for name, sets in parts.items()]
    write_targets(folder, np.concatenate(answers), [sets[HOLISTIC] for sets in parts.values()])
    result = {
        "job": TEACHER, "region": STACK, "stage": TEACHER, "world_size": 1, "pages": total,
        "unlabelled": job.unlabelled, "weights_digest": job.stack, "attempt": attempt,
        "seconds": time.time() - began, "started": began, "ended": time.time(),
        "versions": installed("tensorflow", "keras", "numpy"),
    }  # fmt: skip
    write_json(folder / RESULT, result)
    journal.progress("done", step=total, steps=total)
    return result


def _parts(job: TeacherPayload, folder: Path) -> dict[str, dict[str, ShardSet]]:
    """The shard sets by region of each part: the training pages, then, if there are any, the unlabelled ones."""
    regions = member_regions(Path(job.run))
    corrections = kept_corrections(Path(job.run)) if job.corrected else None
    train = {r: ShardSet.open(Path(job.shards) / "train" / r, corrections=corrections) for r in regions}
    parts = {TRAIN: train}
    if job.unlabelled:
        parts[POOL] = {region: ShardSet.open(pool_folder(folder, region)) for region in regions}
    return parts


def member_regions(run: Path) -> list[str]:
    """The whole page, and the regions that the stack's members read."""
    members = [member_config(run, name).region for name in open_stack(run).members]
    return list(dict.fromkeys([HOLISTIC, *members]))


def _answers(
    job: TeacherPayload, folder: Path, name: str, sets: Mapping[str, ShardSet], on_batch: Callable[[int], None]
) -> Probabilities:
    """The stack's calibrated probabilities float32 [n, C] for the pages of a part, in the order of its shards.

    The predictions file of the part holds them as the stack computed them; a page without a label has the class that
    the stack finds most probable.
    """
    path, ids = folder / PREDICTIONS / f"{name}.npz", sets[HOLISTIC].ids
    run = Path(job.run)
    if not path.exists():
        if job.out_of_fold and name == TRAIN:
            softmax = out_of_fold_outputs(run, ids)
        else:
            softmax = stack_outputs(_ensemble(run, sets), sets, on_batch=on_batch)
        labels = softmax.argmax(axis=1) if name == POOL else sets[HOLISTIC].labels
        class_ids = np.array(sets[HOLISTIC].manifest.class_ids, np.int64)
        write_predictions(path, Predictions(ids, np.asarray(labels, np.int32), softmax, class_ids))
    else:
        on_batch(len(ids))
    policy = read_policy(run)
    rows = in_order_of(ids, read_predictions(path), path)
    return at_temperature(rows, policy.temperatures[STACK] if policy else 1.0).astype(np.float32)


def _ensemble(run: Path, sets: Mapping[str, ShardSet]) -> Ensemble:
    manifests = {region: shards.manifest for region, shards in sets.items()}
    return open_ensemble(run, {region: RegionPages(_shape(m), m.box) for region, m in manifests.items()})


def _shape(manifest: Any) -> tuple[int, int, int]:
    return manifest.height, manifest.width, manifest.channels


def stack_outputs(
    ensemble: Ensemble, sets: Mapping[str, ShardSet], *, on_batch: Callable[[int], None] = lambda pages: None
) -> Probabilities:
    """The stack's softmax outputs float32 [n, C] for the pages of shard sets by region, in their order.

    on_batch: called with the number of pages of each batch.

    Raises:
        UserError: the regions have other pages, or the same in another order.
    """
    first = sets[HOLISTIC]
    outputs = [np.zeros((0, len(ensemble.class_ids)), np.float32)]
    for start in range(0, len(first), BATCH):
        rows = np.arange(start, min(start + BATCH, len(first)))
        ids = first.page_ids(rows)
        for region, shards in sets.items():
            if len(shards) != len(first) or shards.page_ids(rows) != ids:
                raise UserError(f"{shards.folder}: has other pages than {first.folder}; convert {region} again")
        pages = {region: shards.gather(rows) for region, shards in sets.items()}
        outputs.append(ensemble.predict(pages)[STACK])
        on_batch(len(rows))
    return np.concatenate(outputs)


def out_of_fold_outputs(run: Path, ids: npt.NDArray[np.str_]) -> Probabilities:
    """The stack's softmax outputs float32 [n, C] for the training pages `ids`, on outputs of models without them.

    Raises:
        UserError: the members' outputs do not fit each other, or lack a page.
    """
    stack = open_stack(run)
    files = {name: job_folder(run, name) / PREDICTIONS / f"{TRAIN}.npz" for name in stack.members}
    pages = join([(name, read_predictions(path)) for name, path in files.items()])
    rows = Predictions(pages.ids, pages.labels, stack.probabilities(pages.softmax), pages.class_ids)
    return in_order_of(ids, rows, files[stack.members[0]])


def in_order_of(ids: Sequence[str] | npt.NDArray[np.str_], rows: Predictions, path: Path) -> Probabilities:
    """The softmax outputs of the pages `ids`, in this order, joined by page id.

    Raises:
        UserError: a page is missing; path: of the predictions, for the text.
    """
    places = np.searchsorted(rows.ids, ids) if len(rows.ids) else np.zeros(len(ids), np.int64)
    places = np.minimum(places, max(len(rows.ids) - 1, 0))
    known = rows.ids[places] == ids if len(rows.ids) else np.zeros(len(ids), np.bool_)
    if not np.all(known):
        missing = np.asarray(ids)[~known]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{path}: has no outputs for page {missing[0]}{more}; delete it to compute it again")
    return rows.softmax[places].astype(np.float32)
