"""The live view of a run on a real terminal: lines above it, another size, Ctrl-C; plain lines on a dumb one."""

import re
import sys
from pathlib import Path

import pytest

from tests.helpers.terminal import CTRL_C, Terminal

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"

PROGRAM = """
import json, logging, sys, threading, time
from pathlib import Path
from launch.watching.progress.run_progress import RunProgress
from launch.terminal.console import guarded, print_err

run = Path(sys.argv[1])
job = run / "jobs" / "top"
job.mkdir(parents=True, exist_ok=True)

def report(step):
    record = {"phase": "training", "epoch": 1, "epochs": 2, "step": step, "steps": 200, "loss": 0.5, "accuracy": 0.5,
              "pages_per_s": 100.0, "step_s": 1.0, "time": time.time()}
    (job / "heartbeat-rank-0.json").write_text(json.dumps(record))

def main():
    with RunProgress(run, stages={"regions": ["top", "left"]}) as progress:
        progress.event({"time": time.time(), "event": "started", "job": "top", "group": {"node1": 2}})
        for step in range(3, 200):
            report(step)
            logging.getLogger("worker").warning("a warning at step %d", step)
            print_err(f"an error line at step {step}")
            print(f"a line at step {step}")
            threading.Event().wait(0.4)
    return 0

sys.exit(guarded(main))
"""


def program(folder: Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(folder)]


def test_a_live_view_with_lines_another_size_and_ctrl_c(tmp_path: Path) -> None:
    with Terminal(program(tmp_path), columns=120) as terminal:
        terminal.read_until("regions")
        terminal.read_until("/200")
        terminal.read_until("a line at step 5")
        terminal.resize(60)
        place = len(terminal.seen)
        terminal.read_until("/200", after=place)
        terminal.read_until("a line at step 12")
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
    seen = terminal.seen
    assert seen.rindex(SHOW) > seen.rindex(HIDE), "the cursor is back"
    for kind in ("WARNING a warning", "an error line", "a line"):
        for step in range(3, 12):
            assert re.search(rf"(^|\r|\n|\x1b\[2K){kind} at step {step}\b[^\n]{{0,40}}\r\n", seen), (kind, step)
    assert "Traceback" not in seen
    assert "interrupted; run the same command again to resume" in seen[seen.rindex(SHOW) :]


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}])
def test_plain_lines_where_nothing_can_be_drawn(tmp_path: Path, env: dict[str, str]) -> None:
    with Terminal(program(tmp_path), env={**env, "FORCE_COLOR": "1"}) as terminal:
        terminal.read_until("top: started on node1 ×2")
        terminal.read_until("a line at step 6")
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
    assert "\x1b" not in terminal.seen
