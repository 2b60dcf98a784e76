"""SIGKILL of the writer before and after each operation of writing a checkpoint: the newest readable one is intact."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.job_folder.checkpoint import CONFIG, MANIFEST, OPTIMIZER, POINTER, STATE, WEIGHTS

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.timeout(300)  # a hundred small processes: seconds, or minutes on a busy machine


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The program's output: for each kill its point, then what was found after it; at the end the trace."""
    command = [
        sys.executable,
        "-m",
        "tests.unit.trainer.job_folder.killed_writer",
        str(tmp_path_factory.mktemp("killed")),
    ]
    ended = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_every_operation_was_killed_and_the_newest_is_always_intact(lines: list[dict[str, Any]]) -> None:
    kills = [line["killed"] for line in lines if "killed" in line]
    found = [line for line in lines if "newest" in line]
    assert len(kills) == len(found) - 1, "all runs but the last were killed"
    assert [line["ended"] for line in found] == [False] * len(kills) + [True]
    for name in (WEIGHTS, OPTIMIZER, STATE, CONFIG, MANIFEST, POINTER):
        assert any(kill.startswith("after ") and name in kill for kill in kills), f"no kill after {name}: {kills}"
    assert f"within save_arrays {WEIGHTS}" in kills
    for kill, line in zip([*kills, "none"], found, strict=True):
        assert line["intact"], kill
        assert line["damaged"] == [], f"{kill}: nothing unfinished has a final name"
        assert line["newest"] in (3, 4), kill
        assert line["again"] == 4, kill
        assert line["names"] == [POINTER, "step-00000001", "step-00000003", "step-00000004"], kill


def test_the_new_one_is_read_once_it_has_its_name(lines: list[dict[str, Any]]) -> None:
    newest = [line["newest"] for line in lines if "newest" in line]
    assert newest == sorted(newest), "the old one before that moment, the new one after it"
    assert {3, 4} == set(newest)


def test_all_files_are_synced_before_the_rename_and_the_pointer_is_last(lines: list[dict[str, Any]]) -> None:
    trace = next(line["trace"] for line in lines if "trace" in line)
    place = {(name, Path(where).name): number for number, (name, where) in enumerate(trace)}
    named = place["rename", "step-00000004"]
    for name in (WEIGHTS, OPTIMIZER, STATE, CONFIG, MANIFEST):
        assert place["fsync", name] < named, name
    folder_synced = [number for number, (name, where) in enumerate(trace) if name == "fsync" and number > named]
    assert folder_synced[0] < place["replace", POINTER], "the name is on disk before the pointer"
    deleted = [number for number, (name, where) in enumerate(trace) if name == "rename" and "step-00000002" in where]
    assert deleted and deleted[0] > place["replace", POINTER], "the old one is deleted after that"
