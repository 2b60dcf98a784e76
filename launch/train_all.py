"""Run the whole recipe: pages to shards, whole-page stages, all regions at once, stack, report.

    python launch/train_all.py --config demo
    ray submit cluster.yaml launch/train_all.py
    ray submit cluster.yaml launch/train_all.py -- --config my.yaml

Without --config it takes $REGIONSTACK_CONFIG, or regionstack.yaml in the working folder or in the cluster's shared
folder, or the demo, and prints which. The same command resumes a run that was stopped, and reports that a finished run
has nothing left to train.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

if __name__ == "__main__":
    # Python puts this folder first on the path, where it shadows modules of the standard library (html). A copy of this
    # file that `ray submit` runs has no neighbors; the project is installed there.
    _root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(_root)] if (_root / "launch").is_dir() else []

from cluster.liveness.lease import Lease, hold
from cluster.schedule.job import Event, JobOutcome, JobSpec
from cluster.schedule.placement import plan_workers
from cluster.schedule.scheduler import StopRule, run_jobs
from cluster.schedule.slots import Host
from data_tools.errors import ErrorList, require_horovod
from data_tools.stop import STOPPED
from launch.config import Config, load_config
from launch.doctor import check_hosts
from launch.planning.assumed import recommended_workers
from launch.recipe.jobs import check_exclude_ids, job_specs
from launch.recipe.prepare import check_freezing, check_labels, ensure_shards, ensure_weights, freezes
from launch.recipe.stages import Recipe, plan_recipe
from launch.report.report import print_summary, write_report
from launch.run.failures import describe_failures
from launch.run.folder import open_run, record_event, unfinished_jobs
from launch.run.model import complete_record, record_model
from launch.run.orphans import end_orphans
from launch.run.schema import EventRecord
from launch.run.stop import stop_request
from launch.startup import settle
from launch.terminal.console import add_config_options, guarded, print_err, print_out, tables
from launch.watching.progress.run_progress import RunProgress, stages_of
from launch.watching.tracking.follower import check_tracking, followed
from trainer.device import hide_gpus

SpecsOn = Callable[[Config, Sequence[Host], bool], Sequence[JobSpec]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="train_all.py",
        description="Train the whole recipe and write its report.",
        epilog="The same command resumes a run that was stopped.",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add_config_options(parser)
    options = parser.parse_args(arguments)

    def run() -> int:
        settle(options, say=print_out)
        return train_all(load_config(options.config, options.set))

    return guarded(run)


def train_all(config: Config) -> int:
    """Run all jobs that `config` asks for and that have no result yet; 0, or `STOPPED` after a stop request.

    Raises:
        UserError: anything that the user can fix, failed jobs included (all other jobs have finished then).
    """
    require_horovod()
    check_tracking(config)
    folder = open_run(config)
    with hold(folder) as lease:
        for worker in end_orphans(folder):
            print_err(f"{folder}: ended {worker}, an orphan of an earlier driver")
        recipe = plan_recipe(config, weights_file=ensure_weights(config))
        with followed(config, say=print_err) as end:
            unfinished = unfinished_jobs(folder, recipe)
            if unfinished:
                _prepare(config)
                record_model(folder, config.paths.shards)
                status = run_to_end(
                    config,
                    lease,
                    lambda config, hosts, gpus: _with_worker_limits(config, recipe, unfinished, hosts, gpus=gpus),
                    _descriptions(recipe),
                )
                if status:
                    end.how = "stopped"
                    return status
            else:
                print_out(f"{folder}: all jobs are done; nothing to train")
                complete_record(folder)
            report = write_report(folder)
            end.how = "finished"
    print_summary(folder, tables())
    print_out(f"report: {report}")
    return 0


def _prepare(config: Config) -> None:
    check_exclude_ids(config)
    ensure_shards(config)
    check_labels(config)
    if freezes(config):
        hide_gpus()  # they belong to the workers
        check_freezing(config)


def run_to_end(
    config: Config,
    lease: Lease,
    specs_on: SpecsOn,
    descriptions: Mapping[str, str],
) -> int:
    """Run jobs until they are done, in a private Ray or on the cluster; 0, or `STOPPED` after a stop request.

    specs_on: the jobs for a configuration, on the hosts that there are, with GPUs or without. descriptions: what each
    job is, by name, for messages.

    Raises:
        ErrorList: failed jobs; all others have finished then, and the report is written.
    """
    from cluster.on_ray.backend import RayBackend  # Ray takes seconds to import; a finished run does not need it

    config = _at_full_scale(config)
    folder = config.paths.run
    stages = stages_of(plan_recipe(config))
    known = {name for names in stages.values() for name in names}
    others = {name: [name] for name in descriptions if name not in known}
    progress = RunProgress(folder, stages=stages | others)

    def on_event(event: Event) -> None:
        record = cast(EventRecord, event.record())
        record_event(folder, record)
        progress.event(record)

    with (
        RayBackend.connect(config.cluster, fences=[lease.fence]) as backend,
        progress,
        stop_request(timeout_s=config.cluster.stop_timeout_s) as request,
    ):

        def stop_requested() -> bool:
            lease.check()
            return request.received()

        if backend.joined is not None:
            print_out(f"joined the Ray cluster at {backend.joined}; its dashboard: ray dashboard CLUSTER.yaml")
        check_hosts(config, joined=backend.joined is not None)
        specs = specs_on(config, backend.hosts(), backend.uses_gpus())
        rule = StopRule(stop_requested, config.cluster.stop_timeout_s)
        outcomes = run_jobs(specs, backend=backend, retries=config.cluster.retries, on_event=on_event, stop=rule)
    if any(outcome.state == "failed" for outcome in outcomes.values()):
        write_report(folder)
        raise ErrorList(describe_failures(outcomes, descriptions))
    return _report_stop(outcomes) if any(outcome.state == "stopped" for outcome in outcomes.values()) else 0


def _at_full_scale(config: Config) -> Config:
    """`config` with a request for all slots that the cluster can start, where it names no number; says so."""
    from cluster.remote.scale import default_request

    scale = default_request(config.cluster)
    if scale is None:
        return config
    print_out(f"requesting {scale.text}, all that this cluster can start; cluster.request_slots sets another number")
    return replace(config, cluster=replace(config.cluster, request_slots=scale.slots))


def _with_worker_limits(
    config: Config, recipe: Recipe, unfinished: Sequence[str], hosts: Sequence[Host], *, gpus: bool
) -> list[JobSpec]:
    """The unfinished jobs, each with the number of workers that it has when all jobs run.

    A resumed job could have more, since fewer jobs share the slots; its figures would then be those of another run.
    """
    workers = plan_workers(hosts, job_specs(config, recipe, recipe.job_names))
    if config.cluster.workers_per_stage == "auto":
        workers |= recommended_workers(config, hosts, gpus=gpus)
        chosen = ", ".join(f"{job.name} {workers[job.name]}" for job in recipe.jobs)
        print_out(f"workers by cluster.workers_per_stage: auto, for an assumed speed: {chosen}")
    specs = job_specs(config, recipe, unfinished)
    return [replace(spec, max_workers=workers[spec.name]) for spec in specs]


def _descriptions(recipe: Recipe) -> dict[str, str]:
    """Stage and region of each job, by name, for messages."""
    return {job.name: f"stage {job.stage_name}, region {job.region}" for job in recipe.jobs}


def _report_stop(outcomes: Mapping[str, JobOutcome]) -> int:
    """Print whether all jobs saved before they stopped; the exit status."""
    unsaved = [f"{name} ({outcome.error})" for name, outcome in outcomes.items() if outcome.error]
    if unsaved:
        print_err(f"stopped; not saved at the end, will resume from the last checkpoint: {', '.join(unsaved)}")
    print_err(f"{'stopped' if unsaved else 'stopped and saved'}; run the same command again to resume")
    return STOPPED


if __name__ == "__main__":
    sys.exit(main())
