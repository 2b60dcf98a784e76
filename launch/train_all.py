"""The whole recipe: pages to shards, holistic stages, all regions at once, stack, report.

    python launch/train_all.py --config demo
    ray submit cluster.yaml launch/train_all.py -- --config my.yaml

The same command again goes on where it stopped, or says that all is done.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, this folder stands first on the path and hides modules of the standard library (html). What
    # `ray submit` runs is a copy without its neighbours; the project is installed there.
    _root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(_root)] if (_root / "launch").is_dir() else []

from cluster.liveness.lease import Lease, hold
from cluster.schedule.job import Event, JobOutcome
from cluster.schedule.placement import plan_jobs
from cluster.schedule.scheduler import StopRule, run_jobs
from data_tools.errors import UserError, require_horovod
from launch.config import Config, load_config
from launch.console import add_config_options, guarded, print_err, print_out, tables
from launch.doctor import check_hosts
from launch.recipe.jobs import job_specs
from launch.recipe.prepare import check_freezing, ensure_shards, ensure_weights
from launch.recipe.stages import Recipe, plan_recipe
from launch.report.report import print_summary, write_report
from launch.run.failed import describe_failures
from launch.run.folder import open_run, record_event, unfinished
from launch.run.orphans import end_former_workers
from launch.run.progress import RunProgress
from launch.run.stop import StopRequest
from trainer.stop import STOPPED

logger = logging.getLogger(__name__)

SHARED = "REGIONSTACK_SHARED"
"""Where `cluster/setup/host.sh` puts the cluster's shared folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="train_all.py",
        description="Train the whole recipe and write its report.",
        epilog="The same command again goes on where it stopped.",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add_config_options(parser)
    options = parser.parse_args(arguments)
    return guarded(lambda: train_all(load_config(go_to_shared(options.config), options.set)))


def go_to_shared(config: str) -> str:
    """On a cluster that was set up by `host.sh`, let relative paths lie in its shared folder; `config` from there.

    `ray submit` and `ray job submit` start this file in folders that no other host sees. A configuration that lies
    in such a folder is still found.

    Raises:
        UserError: the shared folder is not there.
    """
    shared = os.environ.get(SHARED)
    if not shared:
        return config
    here = Path(config).absolute()
    try:
        os.chdir(shared)
    except OSError as error:
        raise UserError(f"{shared} ({SHARED}): the shared folder cannot be entered ({error.strerror})") from None
    print_out(f"relative paths lie in {shared}, the cluster's shared folder")
    return str(here) if here.is_file() else config


def train_all(config: Config) -> int:
    """Bring the run of `config` to its end; returns 0, or `STOPPED` where somebody asked it to stop.

    Raises:
        UserError: anything that the user can mend, a failed job among it (the others have finished then).
    """
    require_horovod()
    folder = open_run(config).absolute()
    with hold(folder) as lease:
        for one in end_former_workers(folder):
            print_err(f"{folder}: {one} of an earlier driver was still running, and was ended")
        recipe = plan_recipe(config, weights_file=ensure_weights(config, folder))
        left = unfinished(folder, recipe)
        if left:
            ensure_shards(config)
            check_freezing(config)
            status = _run_jobs(config, folder, recipe, left, lease)
            if status:
                return status
        else:
            print_out(f"{folder}: all jobs are done; nothing to train")
        report = write_report(folder)
    print_summary(folder, tables())
    print_out(f"report: {report}")
    return 0


def _run_jobs(config: Config, folder: Path, recipe: Recipe, left: Sequence[str], lease: Lease) -> int:
    # Ray takes seconds to import; a run that is done already does not wait for it.
    from cluster.on_ray.ray_backend import RayBackend

    progress = RunProgress(folder)

    def on_event(event: Event) -> None:
        record_event(folder, event.record())
        progress.event(event.record())

    with (
        RayBackend.connect(config.cluster, fences=[lease.fence]) as backend,
        progress,
        StopRequest(timeout_s=config.cluster.stop_timeout_s) as request,
    ):

        def asked() -> bool:
            lease.check()
            return request.asked()

        if backend.joined is not None:
            print_out(f"joined the Ray cluster at {backend.joined}; its dashboard: ray dashboard CLUSTER.yaml")
        check_hosts(config, joined=backend.joined is not None)
        # A job that is left over gets the workers that it would have had beside the others: with more of them its
        # figures would be those of another run.
        whole = plan_jobs(backend.hosts(), job_specs(config, folder, recipe, recipe.job_names))
        specs = [
            replace(spec, most=len(whole[spec.name].group.slots)) for spec in job_specs(config, folder, recipe, left)
        ]
        rule = StopRule(asked, config.cluster.stop_timeout_s)
        outcomes = run_jobs(specs, backend=backend, retries=config.cluster.retries, on_event=on_event, stop=rule)
    if any(outcome.state == "failed" for outcome in outcomes.values()):
        write_report(folder)
        raise UserError(describe_failures(outcomes, _places(recipe)))
    return _stopped(outcomes) if any(outcome.state == "stopped" for outcome in outcomes.values()) else 0


def _places(recipe: Recipe) -> dict[str, str]:
    """What each job is, in words."""
    return {job.name: f"stage {job.stage_name}, region {job.region}" for job in recipe.jobs}


def _stopped(outcomes: Mapping[str, JobOutcome]) -> int:
    """Tell how a run that was asked to stop was left; the exit status."""
    lost = [f"{name} ({outcome.error})" for name, outcome in outcomes.items() if outcome.error]
    if lost:
        print_err(f"stopped; not saved at the end, so they go on from their last checkpoints: {', '.join(lost)}")
    print_err(f"{'stopped' if lost else 'stopped and saved'}; run the same command again to go on")
    return STOPPED


if __name__ == "__main__":
    sys.exit(main())
