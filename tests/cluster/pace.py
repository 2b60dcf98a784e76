"""Progress hook, copied into the project of hosts: files in the run folder slow a run down, and do not change figures.

`slow`: each training step takes a second. `hold`: the third step of the job `top` ends when that file is gone.
"""

import time

from trainer.hook import Progress


def inject(progress: Progress) -> None:
    """Wait as planned; the file `reached` appears at the third step of `top`."""
    if progress.phase != "training":
        return
    if progress.job == "top" and progress.step == 3 and progress.rank == 0:
        (progress.run / "reached").touch()
        while (progress.run / "hold").exists():
            time.sleep(0.2)
    if (progress.run / "slow").exists():
        time.sleep(1)
