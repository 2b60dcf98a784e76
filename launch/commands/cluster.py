"""The commands that look ahead: `doctor` at the hosts, `plan` at the recipe."""

import argparse
from pathlib import Path

from launch.console import Commands, add_config_options, command


def cluster_commands(commands: Commands) -> None:
    """Add `doctor` and `plan`."""
    doctor = command(
        commands,
        "doctor",
        _doctor,
        about="check that this host, or every host of a cluster, is fit for a run",
        examples="  regionstack doctor                                  this host alone\n"
        "  regionstack doctor --cluster --config my.yaml       every host of the Ray cluster that runs here\n"
        "  regionstack doctor --launcher cluster.yaml          also whether all hosts of that file are there\n"
        "from outside:\n  ray exec cluster.yaml 'regionstack doctor --cluster --config my.yaml'",
    )
    add_config_options(doctor, required=False)
    doctor.add_argument("--cluster", action="store_true", help="join the Ray cluster and look at all of its hosts")
    doctor.add_argument("--launcher", metavar="FILE", help="cluster file whose hosts must be there; as --cluster")
    doctor.add_argument("--quick", action="store_true", help="do not load Horovod and TensorFlow, which takes seconds")
    doctor.add_argument("--json", action="store_true", help="findings and facts as one JSON object")
    plan = command(
        commands,
        "plan",
        _plan,
        about="estimate what a run would take: jobs, groups, steps, bytes, GPU hours",
        examples="  regionstack plan --config my.yaml                        on this machine, by a short calibration\n"
        "  regionstack plan --config my.yaml --gpus 16 --hosts 4    on GPUs that you do not have yet\n"
        "  regionstack plan --config my.yaml --cluster --rate h100  on the Ray cluster that runs here\n"
        "  regionstack plan --config rvl_cdip --gpus 8 --rate 400@256 --between 3\n"
        "  regionstack plan --config rvl_cdip --scaling 512 --figure scaling.svg",
    )
    add_config_options(plan)
    _plan_options(plan)


def _plan_options(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("--gpus", type=int, metavar="N", help="GPUs to plan for (default: this machine)")
    plan.add_argument("--hosts", type=int, metavar="N", help="hosts that they are spread over (default: 8 a host)")
    plan.add_argument("--cluster", action="store_true", help="plan for the Ray cluster that runs here")
    plan.add_argument(
        "--rate",
        metavar="R",
        help="speed of one: measure (here, the default without --gpus), v100 (the default with it), h100, or the "
        "pages a second that it trains on, as 400 or 400@256 (at 256 px)",
    )
    plan.add_argument("--inside", type=float, metavar="GB/S", help="bandwidth between two GPUs of a host")
    plan.add_argument("--between", type=float, metavar="GB/S", help="bandwidth between two hosts")
    plan.add_argument("--read", type=float, default=1.0, metavar="GB/S", help="of the shards' storage, a host (1)")
    plan.add_argument("--start", type=float, default=60.0, metavar="S", help="start of a job to its first step (60)")
    plan.add_argument(
        "--overlap", type=float, default=0.0, metavar="SHARE", help="of the backward pass that hides the all-reduce (0)"
    )
    plan.add_argument("--pages", type=_numbers, metavar="TRAIN,VAL,TEST", help="pages, where there are none to count")
    plan.add_argument("--scaling", type=int, metavar="N", help="also a table of 1, 2, 4 ... N GPUs")
    plan.add_argument("--figure", metavar="FILE", help="draw that table (.svg, .png)")
    plan.add_argument("--json", action="store_true", help="the plan as one JSON object")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _doctor(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.doctor import doctor

    config = load_config(options.config, options.set) if options.config else None
    launcher = Path(options.launcher) if options.launcher else None
    return doctor(config, cluster=options.cluster, launcher=launcher, quick=options.quick, as_json=options.json)


def _plan(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.planning.plan import PlanOptions, plan

    names = ("gpus", "hosts", "cluster", "rate", "inside", "between", "read", "overlap", "pages", "scaling", "figure")
    given = {name: getattr(options, name) for name in names}
    config = load_config(options.config, options.set)
    return plan(config, PlanOptions(**given, start_s=options.start, as_json=options.json))
