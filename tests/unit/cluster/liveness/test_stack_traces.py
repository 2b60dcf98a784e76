"""Stacks of workers that hang: read from their output, and who is not in a collective."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster.liveness.stack_traces import not_in_a_collective, take_stacks

WAITS = '  File "/x/site-packages/tensorflow/python/eager/execute.py", line 53 in quick_execute'
HANGS = '  File "/y/trainer/faults.py", line 67 in __call__'
STACK = f'{HANGS}\n  File "/z/default_worker.py", line 300 in <module>'


def test_the_rank_outside_a_collective() -> None:
    assert not_in_a_collective({0: WAITS, 1: f"{HANGS}\n{WAITS}", 2: WAITS}) == 1
    assert not_in_a_collective({0: HANGS, 1: HANGS}) is None
    assert not_in_a_collective({0: WAITS, 1: WAITS}) is None
    assert not_in_a_collective({0: HANGS}) is None, "a single stack proves nothing"


def test_a_stack_is_read_when_it_is_complete(tmp_path: Path) -> None:
    """Whatever the process prints before it, and however slowly it arrives."""
    log = tmp_path / "rank-0.txt"
    lines = ["a warning", "Current thread 0x1 (most recent call first):", *STACK.splitlines()]
    code = f"import time\nfor line in {lines}:\n    time.sleep(0.3)\n    print(line, flush=True)"
    with log.open("a") as file, contextlib.ExitStack() as stack:

        def request() -> None:
            stack.enter_context(subprocess.Popen([sys.executable, "-c", code], stdout=file))

        stacks = take_stacks([log], request, answer_s=60.0)
    assert stacks == {0: STACK}


def test_a_stack_on_request(tmp_path: Path) -> None:
    logs = [tmp_path / "rank-0.txt", tmp_path / "rank-1.txt"]
    logs[0].write_text("what it said before\nFile of no stack (most recent call first)\n")
    code = (
        "import faulthandler, signal, sys\nfaulthandler.register(signal.SIGUSR1, 2, all_threads=False)\n"
        "def hangs():\n    print('up', flush=True); sys.stdin.read()\nhangs()"
    )
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with logs[0].open("a") as log, subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log) as one:
        one.stdout.readline()
        stacks = take_stacks(logs, lambda: os.kill(one.pid, signal.SIGUSR1), answer_s=2.0)
        one.communicate()
    assert one.returncode == 0, "it continues afterwards"
    assert set(stacks) == {0}, "the other one gave no answer"
    assert "line 4 in hangs" in stacks[0].splitlines()[0]
