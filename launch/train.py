"""Train one stage of one model, without Ray.

    horovodrun -np 2 python launch/train.py --config my.yaml --stage holistic_128
    horovodrun -np 2 python launch/train.py --config my.yaml --stage regions --region top

Uses the same run folder as train_all.py: each resumes what the other has started.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    # Python puts this folder first on the path, where it shadows modules of the standard library (html).
    _root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(_root)] if (_root / "launch").is_dir() else []

from cluster.config import ClusterConfig
from cluster.environment import set_unset, worker_environment
from cluster.liveness.lease import check_free
from data_tools.errors import Stopped, is_lost_peer, require_horovod
from data_tools.protocol import threads_per_worker
from data_tools.workers.pool import available_cores
from launch.config import Config, load_config
from launch.console import add_config_options, guarded, print_out
from launch.recipe.jobs import payload
from launch.recipe.prepare import check_shards, ensure_weights, weights_path
from launch.recipe.stages import plan_recipe
from launch.run.folder import open_run
from launch.run.model import record_model
from trainer.stop import STOPPED

LOST = 76
"""Exit status of a rank that ended because another rank did (EX_PROTOCOL of sysexits.h)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of every rank; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train one stage of one model, as one rank of a horovodrun world (or alone).",
        epilog=f"examples:\n{(__doc__ or '').split(chr(10) * 2)[1]}",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add_config_options(parser)
    parser.add_argument("--stage", required=True, help="name of a stage in the configuration")
    parser.add_argument("--region", help="region, if the stage trains one model for each")
    options = parser.parse_args(arguments)
    return guarded(lambda: train(load_config(options.config, options.set), options.stage, options.region))


def train(config: Config, stage: str, region: str | None) -> int:
    """Train one job as one rank of this process's world; 0, `STOPPED` after a stop request, `LOST` without a peer.

    Raises:
        UserError: anything that the user can fix.
    """
    from trainer.job import run

    require_horovod()
    plan_recipe(config).of_stage(stage, region)
    prepare_environment(config.cluster)
    rank = int(os.environ.get("HOROVOD_RANK", "0"))
    if rank == 0:
        # The first rank prepares the folder; the others only need the names in it.
        check_free(open_run(config))
        ensure_weights(config)
    check_shards(config)
    if rank == 0:
        record_model(config.paths.run, config.paths.shards)
    weights = weights_path(config)
    job = plan_recipe(config, weights_file=None if weights is None else str(weights)).of_stage(stage, region)
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


def prepare_environment(config: ClusterConfig) -> None:
    """Set the environment variables that Ray would set for a worker; before TensorFlow and Horovod are imported.

    horovodrun sets the number of workers on this host (HOROVOD_LOCAL_SIZE); a process on its own has all cores.
    """
    workers = int(os.environ.get("HOROVOD_LOCAL_SIZE", "1"))
    threads = threads_per_worker(available_cores(), workers)
    set_unset(worker_environment(config, threads=threads, gpu=config.gpus != 0))


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
