"""Collects what an estimate depends on: page counts, networks, and the speed of a worker."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.config import ClusterConfig
from cluster.environment import set_unset, worker_environment
from cluster.schedule.slots import Host
from data_tools.cores import available_cores
from data_tools.documents.data_set import read_data_set
from data_tools.documents.pages import page_limit
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.labels.label import Label
from data_tools.protocol import threads_per_worker
from data_tools.shards.manifest import MANIFEST, read_manifest
from launch.config import Config
from launch.planning.cost import Machine, PageCounts, StepCost
from launch.planning.ring import CORE_NETWORK, GPU_NETWORK, Network
from launch.recipe.stages import Recipe
from trainer.network.classifier import Geometry
from trainer.network.facts import ModelFacts, facts_of_model

RVL_CDIP_PAGES = {"train": 320_000, "val": 40_000, "test": 40_000}
"""Pages of RVL-CDIP's official splits (Harley et al. 2015)."""
RVL_CDIP_CLASSES = 16
FORWARD_SHARE = 1 / 3
"""Cost of an evaluated page relative to a training page: the backward pass is two thirds of a step."""
GPU_FIXED_S = 0.025
"""Assumed cost of a step on a GPU at any batch: some 3,000 kernels of InceptionResNetV2 at 8 us each."""

GIGABIT = 1e9 / 8
"""Bytes."""


@dataclass(frozen=True)
class Rate:
    """Training speed of one worker with large batches, in pages per second at `px` (None: the largest image_px)."""

    pages_per_s: float
    px: int | None = None


def parse_rate(text: str) -> Rate | None:
    """Parse `400` (pages per second at the largest image_px), `400@256`, or `measure` (None).

    Raises:
        UserError: Anything else.
    """
    if text == "measure":
        return None
    number = re.fullmatch(r"(\d+(?:\.\d+)?)(?:@(\d+))?", text)
    if not number or float(number[1]) <= 0:
        raise UserError(f"--rate {text}: expected `measure`, or pages per second as 400 or 400@256")
    return Rate(float(number[1]), int(number[2]) if number[2] else None)


def count_pages(config: Config, given: Sequence[int] | None) -> tuple[PageCounts, str]:
    """Pages by split and their source: `given`, the shards, the label files, or RVL-CDIP's official splits.

    Raises:
        UserError: No source is available, or the label files are invalid.
    """
    stored = config.shards.record_bytes
    if given is not None:
        return PageCounts(given[0], given[1], given[2], stored), "as given"
    folders = [config.paths.shard_set(split, HOLISTIC) for split in RVL_CDIP_PAGES]
    if all((folder / MANIFEST).is_file() for folder in folders):
        train, val, test = (read_manifest(folder) for folder in folders)
        size = round(sum(shard.bytes for shard in train.shards) / train.count)
        return PageCounts(train.count, val.count, test.count, size), f"from the shards in {config.shards.folder}"
    if config.paths.data_root.exists():
        labels = _labels(config)
        counts = {split: len(labels[split]) for split in RVL_CDIP_PAGES}
        return PageCounts(**counts, record_bytes=stored), "from the label files"
    names = config.data.class_names
    if isinstance(names, tuple) and len(names) == RVL_CDIP_CLASSES:
        counts, cap = dict(RVL_CDIP_PAGES), config.data.max_per_class
        if cap is not None:
            counts["train"] = min(counts["train"], cap * RVL_CDIP_CLASSES)
        return PageCounts(**counts, record_bytes=stored), "RVL-CDIP's official splits, capped by data.max_per_class"
    raise UserError(f"{config.data.root}: no pages and no shards to count; give them as --pages TRAIN,VAL,TEST")


def _labels(config: Config) -> dict[str, list[Label]]:
    """The labels by split, one for each page that a conversion would read."""
    if page_limit(config.data.pages) == 1:
        return read_data_set(config.data, seed=config.seed).labels
    # Imported late: a plan without documents needs no decoder.
    from data_tools.documents.paged import read_paged_data_set

    return read_paged_data_set(config.data, seed=config.seed, workers=available_cores()).data_set.labels


def class_count(config: Config) -> int:
    """Classes of the data set if the configuration gives them, else RVL-CDIP's; they barely affect the cost."""
    if config.data.classes is not None:
        return len(config.data.classes)
    return len(config.data.class_names) if isinstance(config.data.class_names, tuple) else RVL_CDIP_CLASSES


def stored_geometry(config: Config, image_px: int) -> Geometry:
    """Geometry of the stored pages and the height at which a stage trains."""
    return Geometry(config.shards.height, config.shards.width, config.shards.channels, image_px)


def stage_sizes(recipe: Recipe) -> list[int]:
    """The distinct image_px of the stages, in ascending order."""
    return sorted({job.stage.image_px for job in recipe.jobs})


def model_facts(config: Config, recipe: Recipe) -> dict[int, ModelFacts]:
    """Facts of the network by image_px; builds a backbone that is not listed, in seconds for each size."""
    classes = class_count(config)
    return {
        px: facts_of_model(config.model, stored_geometry(config, px), classes=classes) for px in stage_sizes(recipe)
    }


def machine_of_rate(rate: Rate, models: Mapping[int, ModelFacts]) -> Machine:
    """A GPU of the given speed; its speed at other sizes is proportional to the network's multiply-adds.

    Raises:
        UserError: No stage trains at `rate.px`.
    """
    px = rate.px or max(models)
    if px not in models:
        raise UserError(f"--rate @{px}: no stage trains at {px} px; the stages use {', '.join(map(str, models))}")
    page_s = 1 / rate.pages_per_s / models[px].multiply_adds
    steps = {
        px: StepCost(GPU_FIXED_S, page_s * model.multiply_adds, FORWARD_SHARE * page_s * model.multiply_adds)
        for px, model in models.items()
    }
    return Machine(speed=f"{rate.pages_per_s:g} pages/s at {px} px with large batches", steps=steps)


def measure_machine(config: Config, recipe: Recipe, *, host: Host, gpus: bool) -> Machine:
    """This machine, measured by a few steps of each stage's network at the batch that a worker of `host` gets."""
    began = time.perf_counter()
    cores = 0 if gpus else available_cores()
    prepare_environment(config.cluster, host, gpus=gpus)
    from trainer.measure_speed import Calibration

    calibration = Calibration(recipe.jobs[0])
    import_s = time.perf_counter() - began
    steps, first_steps_s = {}, []
    for px in stage_sizes(recipe):
        job = next(job for job in recipe.jobs if job.stage.image_px == px)
        batch = max(1, job.stage.global_batch // host.slots)
        job = replace(job, weights_file=None)
        measured = calibration.measure(job, stored_geometry(config, px), classes=class_count(config), batch=batch)
        steps[px] = StepCost(measured.fixed_s, measured.page_s, measured.evaluated_page_s)
        first_steps_s.append(measured.startup_s)
    speed = f"measured here on {calibration.device}"
    return Machine(speed=speed, steps=steps, cores=cores, startup_s=import_s + max(first_steps_s))


def prepare_environment(config: ClusterConfig, host: Host, *, gpus: bool) -> None:
    """Give this process the environment of one of the workers that fill `host`; before TensorFlow is imported."""
    threads = threads_per_worker(available_cores(), host.slots)
    set_unset(worker_environment(config, threads=threads, gpu=gpus))


def network_for(config: Config, *, gpus: bool, intra_host_gbps: float | None, inter_host_gbps: float | None) -> Network:
    """The default network for GPUs or cores, with the given bandwidths (Gbit/s) and Horovod's settings."""
    network = GPU_NETWORK if gpus else CORE_NETWORK
    horovod = config.cluster.horovod
    return replace(
        network,
        intra_host=GIGABIT * intra_host_gbps if intra_host_gbps else network.intra_host,
        inter_host=GIGABIT * inter_host_gbps if inter_host_gbps else network.inter_host,
        cycle_s=horovod.cycle_ms / 1000 if horovod.cycle_ms else network.cycle_s,
        buffer_bytes=horovod.fusion_mib * 2**20 if horovod.fusion_mib else network.buffer_bytes,
    )
