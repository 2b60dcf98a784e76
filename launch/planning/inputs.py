"""What a plan is made from: pages, networks, and machines, as counted, measured or published."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.config import ClusterConfig
from cluster.environment import set_unset, worker_environment
from cluster.schedule.slots import Host
from data_tools.conversion.shard_plan import ShardConfig
from data_tools.documents.data_set import read_data_set
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.manifest import MANIFEST, read_manifest
from data_tools.threads import threads_per_worker
from data_tools.workers.pool import available_cores
from launch.config import Config
from launch.planning.cost import Machine, Pages, StepCost
from launch.planning.ring import CORE_NETWORK, GPU_NETWORK, Network
from launch.recipe.prepare import set_folder
from launch.recipe.stages import Recipe
from trainer.config import ModelConfig
from trainer.network.classifier import Geometry
from trainer.network.facts import ModelFacts, facts_of_model

OFFICIAL = {"train": 320_000, "val": 40_000, "test": 40_000}
"""Pages of RVL-CDIP's own splits (Harley et al. 2015)."""
OFFICIAL_CLASSES = 16
ENCODED = {"raw": 1.0, "png": 0.29, "jpeg": 0.33}
"""Size of a stored page by encoding, as a share of the raw one: RVL-CDIP pages at 256 x 256."""
RECORD_BYTES = 128
"""Frame, label, id and padding of a record."""
FORWARD_SHARE = 1 / 3
"""A page evaluated against a page trained on: the backward pass is two thirds of a step."""
GPU_FIXED_S = 0.025
"""Assumed cost of a step on a GPU whatever its batch: about 3,000 kernels of InceptionResNetV2 at 8 us each."""


@dataclass(frozen=True)
class Published:
    """Someone's training step of InceptionResNetV2: seconds on `batch` pages of `px`; the source."""

    step_s: float
    batch: int
    px: int
    source: str


PUBLISHED = {
    "v100": Published(0.1504, 8, 346, "AI Benchmark 0.1.4, Tesla V100-SXM2-16GB, TensorFlow 2.18, float32, 2025-03-04"),
    "h100": Published(0.0509, 8, 346, "AI Benchmark 0.1.2, H100 80GB HBM3, TensorFlow 2.16.1, float32, 2024"),
}


@dataclass(frozen=True)
class Rate:
    """How fast a worker trains: `measure` here, a `published` GPU, or `pages_per_s` at `px` with large batches."""

    measure: bool = False
    published: str | None = None
    pages_per_s: float = 0.0
    px: int | None = None


def parse_rate(text: str) -> Rate:
    """`measure`, the name of a GPU, `400` (pages/s at the largest image_px) or `400@256`.

    Raises:
        UserError: something else.
    """
    if text == "measure":
        return Rate(measure=True)
    if text.lower() in PUBLISHED:
        return Rate(published=text.lower())
    number = re.fullmatch(r"(\d+(?:\.\d+)?)(?:@(\d+))?", text)
    if not number or float(number[1]) <= 0:
        known = ", ".join(PUBLISHED)
        raise UserError(f"--rate {text}: write measure, pages a second as 400 or 400@256, or one of {known}")
    return Rate(pages_per_s=float(number[1]), px=int(number[2]) if number[2] else None)


def pages_of(config: Config, given: Sequence[int] | None) -> tuple[Pages, str]:
    """Pages by split, and where the numbers come from: given, shards, label files, or RVL-CDIP's official ones.

    Raises:
        UserError: none of them is there, or label files that cannot be used.
    """
    stored = _record_bytes(config.shards)
    if given is not None:
        return Pages(given[0], given[1], given[2], stored), "as given"
    folders = [set_folder(config, split, HOLISTIC) for split in OFFICIAL]
    if all((folder / MANIFEST).is_file() for folder in folders):
        first, val, test = (read_manifest(folder) for folder in folders)
        size = round(sum(shard.bytes for shard in first.shards) / first.count)
        return Pages(first.count, val.count, test.count, size), f"from the shards in {config.shards.folder}"
    if Path(config.data.root).exists():
        labels = read_data_set(config.data, seed=config.seed).labels
        counts = {split: len(labels[split]) for split in OFFICIAL}
        return Pages(**counts, record_bytes=stored), "from the label files"
    names = config.data.class_names
    if isinstance(names, tuple) and len(names) == OFFICIAL_CLASSES:
        cap = config.data.max_per_class
        train = OFFICIAL["train"] if cap is None else min(OFFICIAL["train"], cap * OFFICIAL_CLASSES)
        return Pages(train, OFFICIAL["val"], OFFICIAL["test"], stored), "RVL-CDIP's official numbers, under the cap"
    raise UserError(f"{config.data.root}: no pages and no shards to count; say how many: --pages TRAIN,VAL,TEST")


def _record_bytes(shards: ShardConfig) -> int:
    return round(shards.raw_bytes * ENCODED[shards.encoding]) + RECORD_BYTES


def class_count(config: Config) -> int:
    """Classes of the data set, as far as they can be told; they hardly matter to what a network costs."""
    if config.data.classes is not None:
        return len(config.data.classes)
    return len(config.data.class_names) if isinstance(config.data.class_names, tuple) else OFFICIAL_CLASSES


def geometry_of(config: Config, image_px: int) -> Geometry:
    """Pages as they are stored, and the height that a stage works at."""
    return Geometry(config.shards.height, config.shards.width, config.shards.channels, image_px)


def sizes_of(recipe: Recipe) -> list[int]:
    """The image_px of the stages, largest last."""
    return sorted({job.stage.image_px for job in recipe.jobs})


def models_of(config: Config, recipe: Recipe) -> dict[int, ModelFacts]:
    """Facts of the network at each size that a stage works at; builds it, which takes seconds for a large one."""
    classes = class_count(config)
    return {px: facts_of_model(config.model, geometry_of(config, px), classes=classes) for px in sizes_of(recipe)}


def gpu_machine(rate: Rate, models: Mapping[int, ModelFacts], *, read: float, start_s: float) -> tuple[Machine, str]:
    """GPUs of a published or given speed, at other sizes in proportion to multiply-adds; and the words for it."""
    largest = max(models)
    if rate.published:
        known = PUBLISHED[rate.published]
        reference = facts_of_model(
            ModelConfig(weights="none"), Geometry(known.px, known.px, 3, known.px), classes=OFFICIAL_CLASSES
        )
        page = (known.step_s - GPU_FIXED_S) / known.batch / reference.multiply_adds
        step = f"{known.step_s * 1000:.1f} ms for {known.batch} pages of {known.px} px"
        words = f"{rate.published}: {step} ({known.source})"
    else:
        px = rate.px or largest
        if px not in models:
            raise UserError(f"--rate @{px}: no stage works at {px} px; they do at {', '.join(map(str, models))}")
        page = 1 / rate.pages_per_s / models[px].multiply_adds
        words = f"given: {rate.pages_per_s:g} pages/s at {px} px with large batches"
    steps = {
        px: StepCost(GPU_FIXED_S, page * model.multiply_adds, FORWARD_SHARE * page * model.multiply_adds)
        for px, model in models.items()
    }
    return Machine(name=words, steps=steps, read=read, start_s=start_s), words


def measured_machine(config: Config, recipe: Recipe, *, host: Host, gpus: bool, read: float) -> tuple[Machine, str]:
    """This machine, by a few steps of each stage's network with the batch that a worker of it has."""
    began = time.perf_counter()
    cores = 0 if gpus else available_cores()
    prepare_environment(config.cluster, host, gpus=gpus)
    from trainer.measure_speed import Calibration

    calibration = Calibration(recipe.jobs[0])
    imported = time.perf_counter() - began
    steps, firsts = {}, []
    for px in sizes_of(recipe):
        job = next(job for job in recipe.jobs if job.stage.image_px == px)
        batch = max(1, job.stage.global_batch // host.slots)
        job = replace(job, weights_file=None)
        found = calibration.measure(job, geometry_of(config, px), classes=class_count(config), batch=batch)
        steps[px] = StepCost(found.fixed, found.page, found.evaluated)
        firsts.append(found.first)
    words = f"measured here on {calibration.device}"
    machine = Machine(name=words, steps=steps, cores=cores, read=read, start_s=imported + max(firsts))
    return machine, words


def prepare_environment(config: ClusterConfig, host: Host, *, gpus: bool) -> None:
    """Give this process the environment of one of the workers that fill `host`; before TensorFlow is imported."""
    threads = threads_per_worker(available_cores(), host.slots)
    set_unset(worker_environment(config, threads=threads, gpu=gpus))


def network_of(*, gpus: bool, inside: float | None, between: float | None, config: Config) -> Network:
    """The network's defaults for GPUs or cores, with given bandwidths in GB/s and Horovod's settings on top."""
    network = GPU_NETWORK if gpus else CORE_NETWORK
    horovod = config.cluster.horovod
    return replace(
        network,
        inside=inside * 1e9 if inside else network.inside,
        between=between * 1e9 if between else network.between,
        cycle_s=horovod.cycle_ms / 1000 if horovod.cycle_ms else network.cycle_s,
        buffer_bytes=horovod.fusion_mib * 2**20 if horovod.fusion_mib else network.buffer_bytes,
    )
