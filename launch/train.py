"""Train the recipe, or one stage of one model, without Ray.

    horovodrun -np 2 python launch/train.py --config my.yaml
    horovodrun -np 2 python launch/train.py --config my.yaml --stage holistic_128
    horovodrun -np 2 python launch/train.py --config my.yaml --stage regions --region top

Without --stage it trains all that is left, one job after the other in one world, then fits the stack and writes the
report. Without --config it takes $REGIONSTACK_CONFIG, or regionstack.yaml, or the demo, and prints which.
Uses the same run folder as train_all.py: each resumes what the other has started.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    # Python puts this folder first on the path, where it shadows modules of the standard library (html).
    _root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(_root)] if (_root / "launch").is_dir() else []

from cluster.config import ClusterConfig
from cluster.doctor.probe import list_gpus
from cluster.environment import NO_GPU, set_unset, worker_environment
from cluster.liveness.lease import check_free
from data_tools.cores import available_cores
from data_tools.errors import Stopped, UserError, is_lost_peer, require_horovod
from data_tools.protocol import threads_per_worker
from data_tools.stop import STOPPED
from launch.config import Config, load_config
from launch.recipe.jobs import check_exclude_ids, job_specs, payload
from launch.recipe.prepare import (
    check_freezing,
    check_labels,
    check_shards,
    ensure_shards,
    ensure_weights,
    freezes,
    weights_path,
)
from launch.recipe.stages import Recipe, plan_recipe
from launch.report.report import print_summary, write_report
from launch.run.folder import open_run, unfinished_jobs
from launch.run.model import record_model
from launch.startup import say_once, settle
from launch.terminal.console import add_stage_options, guarded, print_err, print_out, tables
from launch.watching.progress.world import WorldProgress
from launch.watching.tracking.follower import Ending, RunEnd, check_tracking, followed
from trainer.config import STACK, JobConfig
from trainer.device import hide_gpus, prepare_device
from trainer.stack import job as stack_job
from trainer.world import World

LOST = 76
"""Exit status of a rank that ended because another rank did (EX_PROTOCOL of sysexits.h)."""


LOADING = "importing TensorFlow and Horovod, and waiting for all workers"

PREPARE_S = str(24 * 3600)
"""How long the other ranks wait for the first one, which converts pages before it joins the world."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of every rank; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train the recipe, or one stage of one model, as one rank of a horovodrun world (or alone).",
        epilog=f"examples:\n{(__doc__ or '').split(chr(10) * 2)[1]}",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add_stage_options(parser)
    options = parser.parse_args(arguments)

    def run() -> int:
        settle(options, say=say_once)
        return start(load_config(options.config, options.set), options.stage, options.region)

    return guarded(run)


def start(config: Config, stage: str | None, region: str | None) -> int:
    """Train one job of `stage`, or without a stage all that is left of the recipe; the exit status."""
    if stage is not None:
        return train(config, stage, region)
    if region is not None:
        raise UserError(f"--region {region}: add --stage, the stage that trains a model for each region")
    return train_recipe(config)


def train(config: Config, stage: str, region: str | None) -> int:
    """Train one job as one rank of this process's world; 0, `STOPPED` after a stop request, `LOST` without a peer.

    Raises:
        UserError: anything that the user can fix.
    """
    require_horovod()
    check_tracking(config)
    plan_recipe(config).of_stage(stage, region)
    prepare_environment(config.cluster)
    if rank_of_this_process() == 0:
        # The first rank prepares the folder; the others only need the names in it.
        check_free(open_run(config))
        ensure_weights(config)
    else:
        _wait_for_first_rank()
    check_shards(config)
    if rank_of_this_process() == 0:
        check_labels(config)
        record_model(config.paths.run, config.paths.shards)
    recipe = _recipe(config)
    with _watched(config, recipe) as watched:
        watched.say(LOADING)
        status = watched.ended(train_job(config, recipe.of_stage(stage, region), watched.progress))
    return end_with(status)


def train_recipe(config: Config) -> int:
    """Train all jobs without a result, in order, in this process's world; then the first rank fits the stack.

    Returns 0, `STOPPED` after a stop request, `LOST` without a peer. The report is written at the end.

    Raises:
        UserError: anything that the user can fix.
    """
    require_horovod()
    check_tracking(config)
    plan_recipe(config)
    prepare_environment(config.cluster)
    rank = rank_of_this_process()
    if rank == 0:
        _prepare_run(config)
    else:
        _wait_for_first_rank()
    recipe = _recipe(config)
    with _watched(config, recipe) as watched:
        watched.say(LOADING)
        world = World.start()
        # Before the first collective: TensorFlow accepts no settings afterwards.
        prepare_device(world, config.training, seed=config.seed)
        status = watched.ended(_train_jobs(config, recipe, world, watched.progress))
        report = _finish(config, recipe, watched.progress) if rank == 0 and not status else None
    if report is not None:
        print_summary(config.paths.run, tables())
        print_out(f"report: {report}")
    return end_with(status)


@dataclass(frozen=True)
class Watched:
    """The progress of this world, and how its run ends as an MLflow server is to show it."""

    progress: WorldProgress
    end: RunEnd

    def say(self, line: str) -> None:
        """Print a line, in the first rank alone."""
        self.progress.say(line)

    def ended(self, status: int) -> int:
        """Keep how training ended, by its exit status, which is returned."""
        endings: dict[int, Ending] = {0: "finished", STOPPED: "stopped"}
        self.end.how = endings.get(status, "failed")
        return status


@contextlib.contextmanager
def _watched(config: Config, recipe: Recipe) -> Iterator[Watched]:
    """Context in which the first rank shows and records progress, as a driver does."""
    first = rank_of_this_process() == 0
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(followed(config, say=print_err)) if first else RunEnd()
        yield Watched(stack.enter_context(WorldProgress(config.paths.run, recipe, first=first)), end)


def rank_of_this_process() -> int:
    """The rank that horovodrun gave this process; 0 without a launcher."""
    return int(os.environ.get("HOROVOD_RANK", "0"))


def _wait_for_first_rank() -> None:
    """Have this rank wait for the first one, which may still convert pages or fetch weights, to start the world."""
    os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", PREPARE_S)


def _prepare_run(config: Config) -> None:
    """What `train_all.py` does before its first job: folder, shards, start weights, checks."""
    folder = open_run(config)
    check_free(folder)
    if not unfinished_jobs(folder, plan_recipe(config)):
        return
    check_exclude_ids(config)
    ensure_weights(config)
    ensure_shards(config)
    check_labels(config)
    record_model(folder, config.paths.shards)
    if freezes(config):
        print_out("checking the layers to freeze")
        # In a process of its own: this one may not use a device before its world is up.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=hide_gpus) as child:
            child.submit(check_freezing, config).result()


def _recipe(config: Config) -> Recipe:
    weights = weights_path(config)
    return plan_recipe(config, weights_file=None if weights is None else str(weights))


def _left(config: Config, recipe: Recipe, world: World) -> list[str]:
    """Training jobs without a result, as the first rank sees them: storage may show a new file later elsewhere."""
    left = [name for name in unfinished_jobs(config.paths.run, recipe) if name != STACK]
    return [str(name) for name in json.loads(world.broadcast_bytes(json.dumps(left).encode(), name="left"))]


def _train_jobs(config: Config, recipe: Recipe, world: World, progress: WorldProgress) -> int:
    """Train all jobs that are left, in order; 0, or the status of the one that did not finish."""
    for name in _left(config, recipe, world):
        status = train_job(config, recipe.job(name), progress)
        if status:
            return status
    return 0


def train_job(config: Config, job: JobConfig, progress: WorldProgress) -> int:
    """Train one job in the world that this process is in; 0, `STOPPED` or `LOST`."""
    from trainer.job import run

    rank = rank_of_this_process()
    try:
        with progress.job(job.name):
            run(payload(job, config.paths.run))
    except Stopped as stopped:
        if rank == 0:
            sys.stderr.write(f"{job.name}: {stopped}; run the same command again to resume\n")
        return STOPPED
    except Exception as error:
        if not is_lost_peer(error):
            raise
        sys.stderr.write(f"rank {rank}: lost another rank, which reports why; run the same command again to resume\n")
        return LOST
    return 0


def end_with(status: int) -> int:
    """The exit status; after a stop request, end this process with it."""
    return exit_at_once(STOPPED) if status == STOPPED else status


def _finish(config: Config, recipe: Recipe, progress: WorldProgress) -> Path:
    """Fit the stack unless it is fitted, and write the report; its path.

    In a process of its own, as under Ray: this one has loaded NumPy with another number of threads, which shows in the
    last bits of the stack's weights.
    """
    folder = config.paths.run
    if STACK in unfinished_jobs(folder, recipe):
        (spec,) = job_specs(config, recipe, [STACK])
        with progress.job(STACK), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
            child.submit(stack_job.run, spec.payload).result()
    return write_report(folder)


def prepare_environment(config: ClusterConfig) -> None:
    """Set the environment variables that Ray would set for a worker; before TensorFlow and Horovod are imported.

    horovodrun sets the number of workers on this host (HOROVOD_LOCAL_SIZE); a process on its own has all cores.
    """
    workers = int(os.environ.get("HOROVOD_LOCAL_SIZE", "1"))
    threads = threads_per_worker(available_cores(), workers)
    set_unset(worker_environment(config, threads=threads, gpu=promised_gpu(config)))


def promised_gpu(config: ClusterConfig) -> bool | None:
    """Whether a rank here must get a GPU: True, False (it must not use one), or None where nothing promises one.

    A number in `cluster.gpus` promises GPUs; so does CUDA_VISIBLE_DEVICES, unless it hides them all; without that
    variable, a driver that lists GPUs.
    """
    if config.gpus is not None:
        return config.gpus > 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return True if visible not in ("", NO_GPU) else None
    return True if list_gpus() else None


def exit_at_once(status: int) -> NoReturn:
    """Exit with `status` after all files are written and closed.

    TensorFlow and Horovod take seconds to shut down, and horovodrun kills what is left 5 s after a Ctrl-C.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
