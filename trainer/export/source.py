"""Opens what an export starts from: a run's models, the shape of their pages, and what the export is compared with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.shards.manifest import read_manifest
from data_tools.shards.reader import ShardSet
from trainer.config import STACK, JobConfig
from trainer.device import prepare_inference
from trainer.export.artifact import Artifact, Pages
from trainer.job_folder.journal import PREDICTIONS, RESULT, job_folder
from trainer.scoring.decision import Policy, calibrate, read_policy
from trainer.scoring.predictions import read_predictions
from trainer.serving.ensemble import BATCH, RegionPages, member_config, open_member, open_stack
from trainer.soft_targets.config import TEACHER

SYNTHETIC_PAGES = 64

TOLERANCE = {"saved_model": 1e-4, "onnx": 1e-3, "litert": 1e-3}
"""Largest difference of a probability: another batch size or device changes the last bits; another library's kernels,
and its stack in float32, a little more."""

MIXED_TOLERANCE = 0.05
"""The same for a run that computed in 16 bits: an export always computes in float32."""


@dataclass(frozen=True, kw_only=True)
class RunPages:
    """What a run's models take and answer. class_ids, class_names: in the order of the outputs.

    regions: stored pages by region. shards: the folder of the run's shard sets, None if they are not here.
    """

    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    regions: Mapping[str, RegionPages]
    shards: Path | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """An artifact, its run and pages. mixed: whether the run computed in 16 bits. policy: None for an older run."""

    run: Path
    artifact: Artifact
    pages: RunPages
    mixed: bool
    policy: Policy | None

    def tolerance(self, form: str) -> float:
        """Largest difference of a probability that a format may have."""
        return MIXED_TOLERANCE if self.mixed else TOLERANCE[form]


def open_source(run: Path, model: str, pages: RunPages | None, *, shards: Path | None) -> Source:
    """Open the models of a finished run for export.

    model: `stack`, the name of a job, or the region of a member. pages: None: as the test shards say.
    shards: the run's shard sets (None: where the jobs found them); ignored with `pages`.

    Raises:
        UserError: the run or the model is not finished, there is no such model, or the shards are missing.
    """
    stack = open_stack(run)
    names = stack.members if model == STACK else (job_named(run, model, stack.members),)
    configs = {name: member_config(run, name) for name in names}
    pages = pages or pages_of_shards(configs, shards)
    # A student has its own policy; the temperatures of the stack's members are in that of the stack.
    policy = (None if model == STACK else read_policy(run, names[0])) or read_policy(run)
    prepare_inference()
    members = tuple(open_member(run, name, pages.regions, classes=len(pages.class_ids)) for name in names)
    artifact = Artifact(
        name=model if model == STACK else names[0],
        members=members,
        stack=stack if model == STACK else None,
        temperatures=policy.temperatures if policy else {},
    )
    mixed = any(config.training.precision != "float32" for config in configs.values())
    return Source(run=run, artifact=artifact, pages=pages, mixed=mixed, policy=policy)


def job_named(run: Path, model: str, members: tuple[str, ...]) -> str:
    """The training job that `model` names: by its own name, or a member of the stack by its region.

    Raises:
        UserError: there is none.
    """
    jobs = sorted(path.parent.name for path in run.glob(f"jobs/*/{RESULT}") if path.parent.name not in (STACK, TEACHER))
    if model in jobs:
        return model
    of_region = [name for name in members if member_config(run, name).region == model]
    if of_region:
        return of_region[-1]
    raise UserError(f"--model {model}: no finished job and no region of the stack; give {STACK} or {', '.join(jobs)}")


def pages_of_shards(configs: Mapping[str, JobConfig], shards: Path | None) -> RunPages:
    """What the manifests of the test shards say about the regions of the jobs.

    Raises:
        UserError: they are missing.
    """
    folders = {config.region: Path(shards or config.shards) / "test" / config.region for config in configs.values()}
    manifests = {region: read_manifest(folder) for region, folder in folders.items()}
    first = next(iter(manifests.values()))
    return RunPages(
        class_ids=tuple(first.class_ids),
        class_names=tuple(first.class_names),
        regions={region: RegionPages((m.height, m.width, m.channels), m.box) for region, m in manifests.items()},
        shards=next(iter(folders.values())).parent.parent,
    )


@dataclass(frozen=True, eq=False)
class Batch:
    """Pages, their ids, and the probabilities that an export has to give: float32 [n, classes] by output."""

    ids: list[str]
    pages: Pages
    expected: Mapping[str, npt.NDArray[np.float32]]


def recorded_batches(source: Source, shards: Path) -> tuple[int, Iterator[Batch]]:
    """The number of test pages of the run, and all of them with its recorded predictions, calibrated, by page id.

    Raises:
        UserError: a page was predicted and is not in the shards.
    """
    artifact = source.artifact
    sets = {region: ShardSet.open(shards / "test" / region) for region in artifact.regions}
    positions = {region: {page_id: row for row, page_id in enumerate(s.ids)} for region, s in sets.items()}
    recorded = {
        name: read_predictions(job_folder(source.run, name) / PREDICTIONS / "test.npz") for name in artifact.outputs
    }
    softmax = {name: rows.softmax for name, rows in recorded.items()}
    expected = calibrate(source.policy, softmax) if source.policy else softmax
    ids = recorded[artifact.outputs[-1]].ids.tolist()

    def batch(rows: slice) -> Batch:
        chosen = {region: _rows(positions[region], ids[rows], region) for region in sets}
        pages = {region: sets[region].gather(chosen[region]) for region in sets}
        return Batch(ids[rows], pages, {name: values[rows] for name, values in expected.items()})

    return len(ids), (batch(slice(first, first + BATCH)) for first in range(0, len(ids), BATCH))


def _rows(positions: dict[str, int], ids: list[str], region: str) -> npt.NDArray[np.int64]:
    for page_id in ids:
        if page_id not in positions:
            raise UserError(f"page {page_id} was predicted in the run but is not in the shards of {region}")
    return np.array([positions[page_id] for page_id in ids], np.int64)


def synthetic_batch(source: Source) -> Batch:
    """Pages of random gray patches of many sizes, and what the Keras models make of them."""
    import tensorflow as tf

    generator = np.random.default_rng(1)
    pages = {name: _patches(generator, region.shape) for name, region in source.artifact.regions.items()}
    outputs = source.artifact.probabilities({name: tf.constant(rows) for name, rows in pages.items()})
    ids = [f"synthetic page {number}" for number in range(1, SYNTHETIC_PAGES + 1)]
    return Batch(ids, pages, {name: output.numpy() for name, output in outputs.items()})


def _patches(generator: np.random.Generator, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    height, width, channels = shape
    rows = []
    for number in range(SYNTHETIC_PAGES):
        side = 2 ** (number % 6)
        small: Any = generator.integers(0, 256, (-(-height // side), -(-width // side), channels), np.uint8)
        rows.append(np.repeat(np.repeat(small, side, axis=0), side, axis=1)[:height, :width])
    return np.stack(rows)
