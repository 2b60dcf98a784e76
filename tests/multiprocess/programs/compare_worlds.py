"""All that must not depend on the number of workers, as one rank of a world: one start of TensorFlow for every case.

    horovodrun -np 2 python compare_worlds.py FOLDER

Rank 0 writes FOLDER/CASE.npz for each case of steps.py and FOLDER/evaluated.npz (evaluate_sets.py).
"""

import sys
from pathlib import Path

from tests.multiprocess.programs.evaluate_sets import evaluate_sets
from tests.multiprocess.programs.steps import run_cases
from trainer.config import TrainingConfig
from trainer.device import prepare_device
from trainer.world import World


def main(folder: Path) -> None:
    world = World.start()
    prepare_device(world, TrainingConfig(), seed=1)
    run_cases(folder, world)
    evaluate_sets(folder / "evaluated.npz", world)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
