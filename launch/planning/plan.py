"""`regionstack plan`: prints what a run would do and how long it would take. Runs nothing but a calibration."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.schedule.slots import Host
from data_tools.cores import available_cores
from data_tools.errors import UserError
from launch.config import Config
from launch.planning.assumed import ASSUMED, assumed_machine, recommended_workers
from launch.planning.cost import EstimateInputs, Machine
from launch.planning.estimate import estimate, even_hosts, scaling
from launch.planning.inputs import (
    count_pages,
    machine_of_rate,
    measure_machine,
    model_facts,
    network_for,
    parse_rate,
)
from launch.planning.recommend import recommend
from launch.planning.tables import (
    as_data,
    print_estimate,
    print_recommended,
    print_scaling,
    recommended_as_data,
    totals,
)
from launch.recipe.stages import Recipe, plan_recipe
from launch.terminal.console import print_out, tables


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Options of the command line; None stands for the default.

    Attributes:
        gpus, hosts: A hypothetical cluster.
        cluster: Plan for the Ray cluster that runs here. Without this and `gpus`: for this machine.
        rate: `measure`, `assumed`, or pages per second and GPU; see `parse_rate`.
        intra_host_gbps, inter_host_gbps: Bandwidths in Gbit/s.
        pages: Training, validation and test pages.
        scaling: Also estimate 1, 2, 4 ... this many GPUs.
    """

    gpus: int | None = None
    hosts: int | None = None
    cluster: bool = False
    rate: str = "measure"
    intra_host_gbps: float | None = None
    inter_host_gbps: float | None = None
    pages: tuple[int, ...] | None = None
    scaling: int | None = None
    as_json: bool = False


def plan(config: Config, options: PlanOptions) -> int:
    """Print the plan of `config`, and the scaling table if requested; returns 0.

    Raises:
        UserError: The recipe cannot be planned, options contradict each other, or pages cannot be counted.
    """
    _check(options)
    recipe = plan_recipe(config)
    rate = None if options.rate == ASSUMED else parse_rate(options.rate)
    hosts, gpus = _hosts(config, options)
    pages, pages_source = count_pages(config, options.pages)
    if options.rate == ASSUMED:
        models = model_facts(config, recipe)
        machine = assumed_machine(models, gpus=gpus, cores=hosts[0].slots)
    elif rate is None:
        # Before any network is built: TensorFlow's devices cannot be configured after that.
        machine = _measured(config, recipe, hosts=hosts, gpus=gpus)
        models = model_facts(config, recipe)
    else:
        models = model_facts(config, recipe)
        machine = machine_of_rate(rate, models)
    network = network_for(
        config, gpus=gpus, intra_host_gbps=options.intra_host_gbps, inter_host_gbps=options.inter_host_gbps
    )
    inputs = EstimateInputs(pages=pages, models=models, machine=machine, network=network)
    auto = config.cluster.workers_per_stage == "auto"
    result = estimate(
        config, hosts, inputs=inputs, workers=recommended_workers(config, hosts, gpus=gpus) if auto else None
    )
    stages = recommend(config, hosts, inputs=inputs)
    sizes = scaling(config, inputs, max_gpus=options.scaling) if options.scaling else []
    if options.as_json:
        data = as_data(result, inputs, pages_source=pages_source)
        data["workers_per_stage"] = recommended_as_data(stages)
        data["scaling"] = [totals(size) for size in sizes]
        print_out(json.dumps(data, indent=2))
        return 0
    console = tables()
    print_estimate(result, inputs, pages_source=pages_source, console=console)
    print_recommended(stages, console, unit="slot" if machine.cores else "GPU")
    if sizes:
        print_scaling(sizes, console)
    return 0


def _check(options: PlanOptions) -> None:
    for name, count in (("hosts", options.hosts), ("scaling", options.scaling)):
        if count is not None and count < 1:
            raise UserError(f"--{name} {count}: expected 1 or more")
    for name, speed in (("intra", options.intra_host_gbps), ("inter", options.inter_host_gbps)):
        if speed is not None and not 0 < speed < math.inf:
            raise UserError(f"--{name}-host-gbps {speed:g}: expected Gbit/s, more than 0")
    if options.cluster and (options.gpus or options.hosts):
        raise UserError("--cluster: plans for the GPUs of the cluster; drop --gpus and --hosts")
    if options.hosts and not options.gpus:
        raise UserError("--hosts: spreads --gpus over hosts; add --gpus")
    if options.gpus is not None and options.gpus < (options.hosts or 1):
        raise UserError(f"--gpus {options.gpus}: each host needs at least one GPU")
    if options.pages is not None and (len(options.pages) != 3 or min(options.pages) < 1):
        raise UserError("--pages: expected three numbers, TRAIN,VAL,TEST")


def _hosts(config: Config, options: PlanOptions) -> tuple[list[Host], bool]:
    """The hosts to plan for, and whether their slots are GPUs."""
    if options.cluster:
        from cluster.doctor.examination import cluster_hosts

        return cluster_hosts(config.cluster)
    if options.gpus:
        return even_hosts(options.gpus, options.hosts), True
    if options.scaling:
        return even_hosts(options.scaling), True
    gpus = 0 if config.cluster.gpus == 0 else _local_gpus()
    slots = min(gpus, config.cluster.slots or gpus) if gpus else config.cluster.slots or available_cores()
    return [Host("this host", slots)], gpus > 0


def _local_gpus() -> int:
    from cluster.doctor.probe import list_gpus

    return len(list_gpus())


def _measured(config: Config, recipe: Recipe, *, hosts: Sequence[Host], gpus: bool) -> Machine:
    if gpus and not _local_gpus():
        raise UserError("--rate measure: this host has no GPU; give the pages per second of one, as --rate 400@256")
    return measure_machine(config, recipe, host=hosts[0], gpus=gpus)
