"""The commands to run before training: `doctor` checks the hosts, `plan` estimates the recipe."""

import argparse
from pathlib import Path

from launch.terminal.console import Commands, add_config_options, command


def cluster_commands(commands: Commands) -> None:
    """Add `doctor` and `plan` to the parser."""
    doctor = command(
        commands,
        "doctor",
        _doctor,
        about="check that this host, or every host of a cluster, is ready for a run",
        examples="  regionstack doctor                                  this host alone\n"
        "  regionstack doctor --cluster --config my.yaml       every host of the Ray cluster that runs here\n"
        "  regionstack doctor --launcher cluster.yaml          also that all hosts of that file have joined\n"
        "from outside:\n  ray exec cluster.yaml 'regionstack doctor --cluster --config my.yaml'",
    )
    add_config_options(doctor, required=False)
    doctor.add_argument("--cluster", action="store_true", help="join the Ray cluster and check all of its hosts")
    doctor.add_argument("--launcher", metavar="FILE", help="cluster file whose hosts must be up; implies --cluster")
    doctor.add_argument("--quick", action="store_true", help="do not load Horovod and TensorFlow, which takes seconds")
    doctor.add_argument("--json", action="store_true", help="print findings and facts as one JSON object")
    plan = command(
        commands,
        "plan",
        _plan,
        about="estimate what a run takes: jobs, groups, steps, bytes, GPU hours",
        examples="  regionstack plan --config my.yaml                           this machine, measured by a few steps\n"
        "  regionstack plan --config my.yaml --cluster --rate 400@256  the Ray cluster that runs here\n"
        "  regionstack plan --config my.yaml --gpus 16 --hosts 4 --rate 400@256 --inter-host-gbps 25\n"
        "  regionstack plan --config rvl_cdip --scaling 512 --rate 400@256\n"
        "  regionstack plan --config rvl_cdip --gpus 16 --hosts 4 --rate assumed   a V100, from published figures",
    )
    add_config_options(plan)
    _plan_options(plan)


def _plan_options(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("--gpus", type=int, metavar="N", help="GPUs to plan for (default: this machine)")
    plan.add_argument("--hosts", type=int, metavar="N", help="hosts to spread them over (default: 8 GPUs per host)")
    plan.add_argument("--cluster", action="store_true", help="plan for the Ray cluster that runs here")
    plan.add_argument(
        "--rate",
        default="measure",
        metavar="R",
        help="speed of one GPU: measure (a calibration on this machine, the default), the pages per second that it "
        "trains on with large batches, as 400 (at the largest image_px) or 400@256, or assumed (a V100; a core "
        "without GPUs)",
    )
    plan.add_argument("--intra-host-gbps", type=float, metavar="G", help="Gbit/s between two GPUs of a host (800)")
    plan.add_argument("--inter-host-gbps", type=float, metavar="G", help="Gbit/s between two hosts (100)")
    plan.add_argument("--pages", type=_numbers, metavar="TRAIN,VAL,TEST", help="page counts, instead of counting pages")
    plan.add_argument("--scaling", type=int, metavar="N", help="also print a table for 1, 2, 4 ... N GPUs")
    plan.add_argument("--json", action="store_true", help="print the plan as one JSON object")


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

    names = ("gpus", "hosts", "cluster", "rate", "intra_host_gbps", "inter_host_gbps", "pages", "scaling")
    given = {name: getattr(options, name) for name in names}
    return plan(load_config(options.config, options.set), PlanOptions(**given, as_json=options.json))
