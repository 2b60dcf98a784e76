"""Train the recipe, or one stage of one model, without Ray.

    horovodrun -np 2 python launch/train.py --config my.yaml
    horovodrun -np 2 python launch/train.py --config my.yaml --stage holistic_128
    horovodrun -np 2 python launch/train.py --config my.yaml --stage regions --region top

Without --stage it trains all that is left, one job after the other in one world, then fits the stack and writes the
report. Without --config it takes $REGIONSTACK_CONFIG, or regionstack.yaml, or the demo, and prints which.
Uses the same run folder as train_all.py: each resumes what the other has started.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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
from launch.config import Config, load_config
from launch.recipe.check_folds import check_folds
from launch.recipe.corrections import check_corrections
from launch.recipe.jobs import check_exclude_ids, job_specs, payload
from launch.recipe.prepare import check_freezing, check_shards, ensure_shards, ensure_weights, freezes, weights_path
from launch.recipe.stages import Recipe, plan_recipe
from launch.report.report import print_summary, write_report
from launch.run.folder import open_run, unfinished_jobs
from launch.run.model import record_model
from launch.startup import say_once, settle
from launch.terminal.console import add_stage_options, guarded, print_out, tables
from trainer.config import STACK, JobConfig
from trainer.device import fresh_session, hide_gpus, prepare_device
from trainer.stack import job as stack_job
from trainer.stop import STOPPED
from trainer.world import World

LOST = 76
"""Exit status of a rank that ended because another rank did (EX_PROTOCOL of sysexits.h)."""


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
    plan_recipe(config).of_stage(stage, region)
    prepare_environment(config.cluster)
    if rank_of_this_process() == 0:
        # The first rank prepares the folder; the others only need the names in it.
        check_free(open_run(config))
        ensure_weights(config)
    check_shards(config)
    if rank_of_this_process() == 0:
        check_corrections(config)
        for note in check_folds(config):
            print_out(f"note: {note}")
        record_model(config.paths.run, config.paths.shards)
    return _train_job(config, _recipe(config).of_stage(stage, region))


def train_recipe(config: Config) -> int:
    """Train all jobs without a result, in order, in this process's world; then the first rank fits the stack.

    Returns 0, `STOPPED` after a stop request, `LOST` without a peer. The report is written at the end.

    Raises:
        UserError: anything that the user can fix.
    """
    require_horovod()
    plan_recipe(config)
    prepare_environment(config.cluster)
    rank = rank_of_this_process()
    if rank == 0:
        _prepare_run(config)
    else:
        os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", PREPARE_S)
    world = World.start()
    # Before the first collective: TensorFlow accepts no settings afterwards.
    prepare_device(world, config.training, seed=config.seed)
    recipe = _recipe(config)
    for name in _left(config, recipe, world):
        status = _train_job(config, recipe.job(name))
        if status:
            return status
        fresh_session()
    return _finish(config, recipe) if rank == 0 else 0


def rank_of_this_process() -> int:
    """The rank that horovodrun gave this process; 0 without a launcher."""
    return int(os.environ.get("HOROVOD_RANK", "0"))


def _prepare_run(config: Config) -> None:
    """What `train_all.py` does before its first job: folder, shards, start weights, checks."""
    folder = open_run(config)
    check_free(folder)
    if not unfinished_jobs(folder, plan_recipe(config)):
        return
    check_exclude_ids(config)
    ensure_weights(config)
    ensure_shards(config)
    check_corrections(config)
    for note in check_folds(config):
        print_out(f"note: {note}")
    record_model(folder, config.paths.shards)
    if freezes(config):
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


def _train_job(config: Config, job: JobConfig) -> int:
    """Train one job; 0, `STOPPED` or `LOST`."""
    from trainer.job import run

    rank = rank_of_this_process()
    try:
        result = run(payload(job, config.paths.run))
    except Stopped as stopped:
        if rank == 0:
            sys.stderr.write(f"{job.name}: {stopped}; run the same command again to resume\n")
        return exit_at_once(STOPPED)
    except Exception as error:
        if not is_lost_peer(error):
            raise
        sys.stderr.write(f"rank {rank}: lost another rank, which reports why; run the same command again to resume\n")
        return LOST
    if rank == 0:
        print_out(
            f"{job.name}: validation accuracy {result['val_accuracy']:.4f}, test accuracy {result['test_accuracy']:.4f}"
        )
    return 0


def _finish(config: Config, recipe: Recipe) -> int:
    """Fit the stack unless it is fitted, and write the report.

    In a process of its own, as under Ray: this one has loaded NumPy with another number of threads, which shows in the
    last bits of the stack's weights.
    """
    folder = config.paths.run
    (spec,) = job_specs(config, recipe, [STACK])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        child.submit(stack_job.run, spec.payload).result()
    report = write_report(folder)
    print_summary(folder, tables())
    print_out(f"report: {report}")
    return 0


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
