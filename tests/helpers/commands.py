"""Run the project's commands from tests: the command line, Horovod programs, any program in the project's root."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helpers.faults import HOOK
from tests.helpers.native_lines import check_no_native_line

ROOT = Path(__file__).parents[2]
AS_STARTED = {"TF_CPP_MIN_LOG_LEVEL": None}
"""A user's environment, which says nothing about TensorFlow's log."""
LONGEST_S = 900.0
"""Time limit of one command: a complete tiny run takes a minute or two on two cores."""


def regionstack(*arguments: str, env: Mapping[str, str | None] | None = None, status: int = 0) -> str:
    """Run the command line; its output, after checking the exit status and that no library's start-up line is in it."""
    output = run([sys.executable, "-m", "launch.cli", *arguments], env={**AS_STARTED, **(env or {})}, status=status)
    check_no_native_line(output)
    return output


def horovodrun(
    workers: int,
    *command: str,
    env: Mapping[str, str | None] | None = None,
    status: int | None = 0,
    as_installed: bool = False,
) -> str:
    """Run a Python program as a real Horovod world; its output.

    status: expected exit status; None: any status except 0. as_installed: run the command of the environment, which
    takes 5 s longer than `fast_horovodrun.py`.
    """
    installed = [str(Path(sys.executable).with_name("horovodrun"))]
    fast = [sys.executable, str(Path(__file__).with_name("fast_horovodrun.py"))]
    world = [*(installed if as_installed else fast), "-np", str(workers), sys.executable, *command]
    if not command[0].startswith("launch/"):
        return run(world, env=env, status=status)
    output = run(world, env={**AS_STARTED, **(env or {})}, status=status)
    check_no_native_line(output)
    return output


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str | None] | None = None,
    status: int | None = 0,
    timeout_s: float = LONGEST_S,
) -> str:
    """Run a command in the project's root; its output and errors together.

    env: variables on top of `environment`; None removes one.

    Raises:
        AssertionError: it exits with another status."""
    ended = subprocess.run(
        command, cwd=ROOT, text=True, check=False, timeout=timeout_s, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, env=_without_removed({**environment(), **(env or {})}),
    )  # fmt: skip
    as_expected = ended.returncode == status if status is not None else ended.returncode != 0
    if not as_expected:
        raise AssertionError(f"{' '.join(command)}: exit status {ended.returncode}\n{ended.stdout[-6000:]}")
    return ended.stdout


def environment() -> dict[str, str]:
    """This process' environment with quiet TensorFlow, one thread per worker, the project on PYTHONPATH and faults as
    planned.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    bin_folder = str(Path(sys.executable).parent)
    return {**os.environ, "PYTHONPATH": path, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "TF_CPP_MIN_LOG_LEVEL": "3", "REGIONSTACK_THREADS": "1", **HOOK}  # fmt: skip


def _without_removed(variables: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if value is not None}


def heed_interrupts() -> None:
    """For `preexec_fn`: take SIGINT as a command in the foreground does; a shell's background jobs ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
