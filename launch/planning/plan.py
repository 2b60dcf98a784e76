"""`regionstack plan`: what a configuration would do, and what it would take, without running anything."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.schedule.slots import Host
from data_tools.errors import UserError
from data_tools.files import write_atomically
from launch.config import Config
from launch.console import print_out, tables
from launch.planning.estimate import Estimate, Known, estimate, even_hosts, scaling
from launch.planning.inputs import (
    gpu_machine,
    measured_machine,
    models_of,
    network_of,
    pages_of,
    parse_rate,
)
from launch.planning.tables import as_data, print_estimate, print_scaling
from launch.recipe.stages import plan_recipe

GIGA = 1e9


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What the command line says. Bandwidths in GB/s, start_s in seconds; None: by default.

    gpus, hosts: a made-up cluster; cluster: the Ray cluster that runs here; neither: this machine.
    scaling: largest number of GPUs of a table, and of the figure.
    """

    gpus: int | None = None
    hosts: int | None = None
    cluster: bool = False
    rate: str | None = None
    inside: float | None = None
    between: float | None = None
    read: float = 1.0
    start_s: float = 60.0
    overlap: float = 0.0
    pages: tuple[int, ...] | None = None
    scaling: int | None = None
    figure: str | None = None
    as_json: bool = False


def plan(config: Config, options: PlanOptions) -> int:
    """Print the plan (and the scaling table) of `config`; returns 0.

    Raises:
        UserError: a recipe that cannot be planned, options that contradict each other, pages that nobody can count.
    """
    _check(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    recipe = plan_recipe(config)
    hosts, gpus = _hosts(config, options)
    pages, origin = pages_of(config, options.pages)
    rate = parse_rate(options.rate or ("v100" if options.gpus or options.scaling else "measure"))
    if rate.measure:
        # First of all: TensorFlow takes no settings any more once it has built something.
        machine, words = measured_machine(config, recipe, host=hosts[0], gpus=gpus, read=options.read * GIGA)
        models = models_of(config, recipe)
    else:
        models = models_of(config, recipe)
        machine, words = gpu_machine(rate, models, read=options.read * GIGA, start_s=options.start_s)
    known = Known(
        pages=pages,
        models=models,
        machine=replace(machine, overlap=options.overlap),
        network=network_of(gpus=gpus, inside=options.inside, between=options.between, config=config),
    )
    notes = {"pages": f"{pages.train:,} / {pages.val:,} / {pages.test:,} ({origin})", "speed": words}
    found = estimate(config, hosts, known)
    steps = scaling(config, known, most=options.scaling) if options.scaling else []
    _tell(found, steps, known, notes, options)
    if options.figure:
        _draw(config, steps, known, words, Path(options.figure))
    return 0


def _check(options: PlanOptions) -> None:
    if options.cluster and (options.gpus or options.hosts):
        raise UserError("--cluster: asks the cluster for its GPUs; leave out --gpus and --hosts")
    if options.hosts and not options.gpus:
        raise UserError("--hosts: says how --gpus are spread; add --gpus")
    if options.gpus is not None and options.gpus < (options.hosts or 1):
        raise UserError(f"--gpus {options.gpus}: at least one a host is needed")
    if not 0 <= options.overlap <= 1:
        raise UserError(f"--overlap {options.overlap:g}: a share, 0 to 1")
    if options.pages is not None and (len(options.pages) != 3 or min(options.pages) < 1):
        raise UserError("--pages: three numbers, TRAIN,VAL,TEST")
    if options.figure and not options.scaling:
        raise UserError("--figure: draws what --scaling computes; add --scaling 512")


def _hosts(config: Config, options: PlanOptions) -> tuple[list[Host], bool]:
    """The hosts to plan for, and whether their slots are GPUs."""
    if options.cluster:
        from cluster.doctor.examination import cluster_hosts

        return cluster_hosts(config.cluster)
    if options.gpus:
        return even_hosts(options.gpus, options.hosts), True
    if options.scaling:
        return even_hosts(options.scaling), True
    from cluster.doctor.probe import list_gpus

    gpus = 0 if config.cluster.gpus == 0 else len(list_gpus())
    slots = min(gpus, config.cluster.slots or gpus) if gpus else config.cluster.slots or os.cpu_count() or 1
    return [Host("this host", slots)], gpus > 0


def _tell(
    found: Estimate, steps: Sequence[Estimate], known: Known, notes: dict[str, str], options: PlanOptions
) -> None:
    if options.as_json:
        value = as_data(found, known, notes)
        value["scaling"] = [as_data(one, known, notes)["total"] for one in steps]
        print_out(json.dumps(value, indent=2))
        return
    console = tables()
    print_estimate(found, known, notes, console)
    if steps:
        print_scaling(steps, console)


def _draw(config: Config, steps: Sequence[Estimate], known: Known, words: str, path: Path) -> None:
    from launch.planning.scaling_chart import draw

    hidden = replace(known, machine=replace(known.machine, overlap=1.0))
    best = scaling(config, hidden, most=steps[-1].slots)
    write_atomically(path, draw(steps, best, words, kind=path.suffix.lstrip(".") or "svg"))
    print_out(f"figure: {path}")
