"""Train two stages several times over in the processes of one world; each rank records its memory after each job.

many_jobs.py CONFIG FOLDER ROUNDS: round r writes the run folder FOLDER/r and, of the first stage alone, FOLDER/r-again.
"""

import json
import sys
from pathlib import Path

import psutil

from launch.config import load_config
from launch.recipe.jobs import payload
from launch.recipe.stages import plan_recipe
from trainer.job import run
from trainer.world import World

JOBS = (("holistic_16", "{}"), ("holistic_16", "{}-again"), ("holistic_32px", "{}"))
"""Stage and run folder of the jobs of a round; the second has the graph of the first."""


def main(config: str, folder: Path, rounds: int) -> None:
    """Train and record: `memory-RANK.json`, MiB after each job."""
    recipe = plan_recipe(load_config(config))
    mebibytes = []
    for number in range(rounds):
        for stage, place in JOBS:
            run(payload(recipe.of_stage(stage, None), folder / place.format(number)))
            mebibytes.append(psutil.Process().memory_info().rss / 2**20)
    (folder / f"memory-{World.start().rank}.json").write_text(json.dumps(mebibytes))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
