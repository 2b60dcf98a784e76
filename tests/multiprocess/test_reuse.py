"""Jobs one after the other in the processes of one world: the same bits as in new processes, and no more memory."""

import json
import shutil
from pathlib import Path

import numpy as np

from tests.helpers.commands import horovodrun
from tests.multiprocess.test_train import outcome, train

ROUNDS = 4
GROWTH_MIB = 4.0
"""Growth of a process's memory per job that is tolerated, MiB; a graph of each job that is kept takes 10."""


def test_many_jobs_in_the_same_processes(tiny: Path, tmp_path: Path) -> None:
    program = "tests/multiprocess/programs/many_jobs.py"
    horovodrun(2, program, str(tiny), str(tmp_path), str(ROUNDS))
    shutil.copytree(tmp_path / "0", tmp_path / "new", ignore=shutil.ignore_patterns("holistic_32px"))
    train(tiny, tmp_path / "new", "holistic_32px")
    for job, new, places in (("holistic_16", "0", ("{}", "{}-again")), ("holistic_32px", "new", ("{}",))):
        expected = outcome(tmp_path / new, job)
        for name in (place.format(number) for number in range(ROUNDS) for place in places):
            assert outcome(tmp_path / name, job) == expected, (job, name)
    for rank in (0, 1):
        mebibytes = json.loads((tmp_path / f"memory-{rank}.json").read_text())
        late = mebibytes[6:]  # TensorFlow and its allocator grow in the first jobs
        growth = np.polyfit(np.arange(len(late)), late, 1)[0]
        assert growth < GROWTH_MIB, mebibytes
