"""The live view of a run, on terminals of several widths."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from launch.config import load_config
from launch.recipe.stages import plan_recipe
from launch.terminal.progress_console import draws
from launch.watching.progress.pace import JobPace
from launch.watching.progress.run_progress import stages_of
from launch.watching.progress.view import RunView

STAGES = {"holistic": ["holistic"], "regions": ["top", "bottom", "left", "right"], "stack": ["stack"]}


def pace(job: str, **figures: Any) -> JobPace:
    found = JobPace(job, 0.0)
    found.take({"phase": "training", "epoch": 2, "epochs": 6, "step": 70, "steps": 180, "loss": 0.5, "accuracy": 0.875,
                "pages_per_s": 1210.4, "step_s": 0.5, "time": 1.0} | figures)  # fmt: skip
    return found


def drawn(view: RunView, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(view)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_region_jobs_side_by_side_on_their_groups() -> None:
    view = RunView(STAGES, {"holistic": "done", "top": "running", "bottom": "running", "left": "done"})
    view.accuracies["holistic"] = 0.894
    view.running = {"top": pace("top"), "bottom": pace("bottom", phase="starting", doing="building the network")}
    view.groups = {"top": "node1 ×2", "bottom": "node[2] ×2"}
    stages, _, top, bottom = drawn(view, 130)
    assert stages == "holistic done 89.4% → regions running 1/4 done → stack waiting"
    for part in ("node1 ×2", "2/6", "70/180", "0.500", "87.5%", "1,210", "55 s"):
        assert part in top
    assert "node[2] ×2" in bottom
    assert "building the network" in bottom


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 130, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    view = RunView(STAGES, {})
    view.running = {job: pace(job, epoch_end_s=3.0) for job in STAGES["regions"]}
    view.groups = dict.fromkeys(STAGES["regions"], "a-host-with-a-long-name ×8")
    lines = drawn(view, width)
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert len(lines) == 6, "a job is a line"


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ({}, "waiting"),
        ({"top": "done"}, "waiting 1/4 done"),
        ({"top": "failed", "left": "running"}, "running"),
        ({"top": "failed", "left": "done"}, "failed 1/4 done"),
        (dict.fromkeys(STAGES["regions"], "done"), "done"),
    ],
)
def test_the_state_of_a_stage(states: dict[str, str], text: str) -> None:
    assert RunView(STAGES, states).stage_text(STAGES["regions"])[0] == text


def test_stages_of_a_recipe(tmp_path: Path) -> None:
    stages = stages_of(plan_recipe(load_config("rvl_cdip", [f"run.folder={tmp_path}", f"data.root={tmp_path}"])))
    assert list(stages) == ["holistic_128", "holistic_256", "regions", "stack"]
    assert stages["regions"] == ["top", "bottom", "left", "right"]


@pytest.mark.parametrize(
    ("terminal", "term", "ci", "live"),
    [
        (True, "xterm-256color", "", True),
        (False, "xterm-256color", "", False),  # a pipe or a file
        (True, "dumb", "", False),
        (True, "", "", False),
        (True, "screen", "true", False),
        (True, "screen", "false", True),
    ],
)
def test_where_the_view_is_live(terminal: bool, term: str, ci: str, live: bool) -> None:
    assert draws(terminal, term=term, ci=ci) is live
