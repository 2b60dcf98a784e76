"""Distill a finished run: train one whole-page model on the answers of its stack.

    regionstack distill runs/my
    horovodrun -np 2 python launch/distill.py runs/my
    ray submit cluster.yaml launch/distill.py -- runs/my

The same command resumes a distillation that was stopped. docs/distill.md
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

if __name__ == "__main__":
    # Python puts this folder first on the path, where it shadows modules of the standard library (html). A copy of this
    # file that `ray submit` runs has no neighbors; the project is installed there.
    _root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(_root)] if (_root / "launch").is_dir() else []

from cluster.liveness.lease import check_free, hold
from cluster.schedule.job import JobSpec
from cluster.schedule.placement import plan_workers
from cluster.schedule.slots import Host
from data_tools.config import from_mapping, to_mapping
from data_tools.documents.data_set import SPLITS
from data_tools.errors import UserError, require_horovod
from launch.config import Config
from launch.distillation.pool import ensure_pool
from launch.distillation.student import (
    Pages,
    StudentPlan,
    check_names,
    check_same,
    plan_student,
    require_finished,
    student_specs,
    training_pages,
    unfinished_of,
    with_settings,
)
from launch.recipe.stages import plan_recipe
from launch.report.report import print_summary, write_report
from launch.run.orphans import end_orphans
from launch.startup import settle
from launch.terminal.console import (
    DISTILL_EXAMPLES,
    add_distill_options,
    guarded,
    print_err,
    print_out,
    tables,
)
from launch.train import PREPARE_S, end_with, prepare_environment, rank_of_this_process, train_job
from launch.train_all import run_to_end
from launch.watching.progress.world import WorldProgress
from launch.watching.tracking.follower import followed
from trainer.config import JobConfig
from trainer.device import prepare_device
from trainer.distill import teacher
from trainer.soft_targets.config import DISTILLED, TEACHER
from trainer.world import World

DESCRIPTIONS = {TEACHER: "the answers of the stack", DISTILLED: "the student of the stack"}


@dataclass(frozen=True)
class Request:
    """What `distill` was asked for. pool: sources of unlabelled pages. settings: `a.b=value`, later ones win.

    shards: folder of the run's shard sets; None: as recorded, or beside the run.
    """

    run: Path
    pool: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    shards: Path | None = None


def request_of(options: argparse.Namespace) -> Request:
    """What the options ask for."""
    given = [(name, getattr(options, name)) for name in ("temperature", "alpha", "epochs")]
    own = [f"distill.{name}={value}" for name, value in given if value is not None]
    shards = None if options.shards is None else Path(options.shards).absolute()
    return Request(Path(options.run).absolute(), tuple(options.pool), (*options.set, *own), shards)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point, also of every rank under horovodrun; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="distill.py",
        description="Train one whole-page model on the answers of a finished run's stack.",
        epilog=f"examples:\n{DISTILL_EXAMPLES}",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add_distill_options(parser)
    options = parser.parse_args(arguments)

    def run() -> int:
        settle(options, say=print_err)
        return distill(request_of(options))

    return guarded(run)


def distill(request: Request) -> int:
    """Train the student of a finished run; 0, or `STOPPED` after a stop request.

    Under horovodrun, this process is one rank of the student's world; otherwise jobs start as in `train-all`.

    Raises:
        UserError: anything that the user can fix.
    """
    require_horovod()
    config = read_config(request)
    return _in_this_world(config, request) if "HOROVOD_RANK" in os.environ else _with_ray(config, request)


def read_config(request: Request) -> Config:
    """The configuration of the run, with what was asked for; checks that the run is finished.

    Raises:
        UserError: it is not a run, not finished, or a setting does not fit.
    """
    from launch.api import open_run

    config = with_settings(open_run(request.run).config, request.run, request.settings)
    require_finished(config)
    check_names(config)
    return config


def _with_ray(config: Config, request: Request) -> int:
    run = config.paths.run
    with hold(run) as lease:
        for worker in end_orphans(run):
            print_err(f"{run}: ended {worker}, an orphan of an earlier driver")
        plan, unfinished = _prepare(config, request), unfinished_of(run)
        if not unfinished:
            print_out(f"{run}: the student is trained; nothing to do")
            return _report(run)
        with followed(config, say=print_err) as end:
            status = run_to_end(
                config, lease, lambda config, hosts, _: _specs_on(hosts, config, plan, unfinished), DESCRIPTIONS
            )
            end.how = "stopped" if status else "finished"
        return status or _report(run)


def _prepare(config: Config, request: Request) -> StudentPlan:
    """Convert unlabelled pages, and plan both jobs as an earlier call did.

    Raises:
        UserError: a source without a page, an earlier call with other settings, or shards that are not found or are not
            the run's.
    """
    run = config.paths.run
    stack = teacher.stack_digest(run)
    folder = _shards(run, request.shards)
    labelled = len(training_pages(config, folder))
    plan_student(config, Pages(folder, labelled, 0), stack=stack)  # refuses wrong settings before pages are converted
    plan = plan_student(config, Pages(folder, labelled, ensure_pool(config, request.pool, folder)), stack=stack)
    check_same(run, plan)
    return plan


def _shards(run: Path, given: Path | None) -> Path:
    """The folder of the run's shard sets: `given`, or where they are found."""
    from launch.api import open_run
    from launch.run.model import check_shards, find_shards

    record = open_run(run).record
    if given is not None:
        for split in SPLITS:
            check_shards(given, record, split)
        return given
    found = {find_shards(run, record, split) for split in SPLITS}
    if len(found) > 1:
        raise UserError(f"{run}: its shard sets lie in different folders: {', '.join(map(str, sorted(found)))}")
    return found.pop()


def _specs_on(hosts: Sequence[Host], config: Config, plan: StudentPlan, unfinished: Sequence[str]) -> list[JobSpec]:
    """The unfinished jobs, each with the workers that it has from the start: its figures depend on their number."""
    workers = plan_workers(hosts, student_specs(config, plan, (TEACHER, DISTILLED)))
    return [replace(spec, max_workers=workers[spec.name]) for spec in student_specs(config, plan, unfinished)]


def _in_this_world(config: Config, request: Request) -> int:
    """Distill in the world of this process: the first rank computes the teacher's answers, then all train."""
    prepare_environment(config.cluster)
    rank, run = rank_of_this_process(), config.paths.run
    plan = None
    if rank == 0:
        check_free(run)
        plan = _prepare(config, request)
    else:
        os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", PREPARE_S)
    with WorldProgress(run, plan_recipe(config), first=rank == 0) as progress:
        if plan is not None:
            # In a process of its own, which frees the stack's models; this one may not use a device before its world
            # is up.
            with progress.job(TEACHER), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
                child.submit(teacher.run, to_mapping(plan.teacher)).result()
        world = World.start()
        # Before the first collective: TensorFlow accepts no settings afterwards.
        prepare_device(world, config.training, seed=config.seed)
        status = train_job(config, _same_on_all(None if plan is None else plan.student, world), progress)
    return end_with(status) or (_report(run) if rank == 0 else 0)


def _same_on_all(student: JobConfig | None, world: World) -> JobConfig:
    """The first rank's job; storage may show the others its files later."""
    mine = b"" if student is None else json.dumps(to_mapping(student)).encode()
    return from_mapping(JobConfig, json.loads(world.broadcast_bytes(mine, name="student")), where="student")


def _report(run: Path) -> int:
    report = write_report(run)
    print_summary(run, tables())
    print_out(f"report: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
