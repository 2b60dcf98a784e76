"""Complete runs under faults on real Ray and real Horovod: each fault fires, and all runs end as the unharmed one."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.soak import live_workers, raylet_of
from cluster.liveness.process import is_stopped, ticks_of
from data_tools.files import read_json, read_lines
from tests.helpers.commands import LONGEST_S, ROOT, environment, regionstack
from tests.helpers.run_folders import copy_without
from tests.helpers.tiny import JOBS, REGIONS
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.timeout(1500)
"""Only against a hang: the first test includes the unharmed run, and the machine may be busy."""
SOON = ("cluster.silence_timeout_s=20", "cluster.step_timeout_s=30")
"""Time limits that a planned hang reaches soon; a stopped rank is silent before the one that waits for it is late."""
FAST_HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "6000",
    "RAY_health_check_failure_threshold": "3",
}
"""Settings with which Ray's head soon notices that a raylet hangs."""


def arguments(tiny: Path, folder: Path, *settings: str) -> list[str]:
    chosen = [f"run.folder={folder}", "cluster.address=local", *settings]
    return ["train-all", "--config", str(tiny), *(part for setting in chosen for part in ("--set", setting))]


def plan(folder: Path, *faults: dict[str, Any]) -> None:
    """The run's fault plan."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.json").write_text(json.dumps(faults))


def fired(folder: Path) -> list[tuple[str, int, str]]:
    """Job, attempt and action of all faults that fired."""
    lines = [line for path in sorted(folder.glob("jobs/*/faults.jsonl")) for line in read_lines(path)]
    return sorted((line["job"], line["attempt"], line["action"]) for line in lines)


def attempts(folder: Path) -> dict[str, int]:
    """Number of attempts of each job."""
    started = [event["job"] for event in read_lines(folder / "events.jsonl") if event["event"] == "started"]
    return {job: started.count(job) for job in dict.fromkeys(started)}


def errors(folder: Path, job: str) -> list[str]:
    """Failures of a job that the driver recorded."""
    return [e["error"] for e in read_lines(folder / "events.jsonl") if e["job"] == job and e.get("error")]


def assert_equal(folder: Path, unharmed: Path) -> None:
    """Weights, figures and predictions of all jobs are the same, bit for bit."""
    for job in JOBS:
        ours, theirs = (read_json(place / "jobs" / job / "result.json") for place in (folder, unharmed))
        for key in ("weights_digest", "best_epoch", "val_accuracy", "val_loss", "test_accuracy", "test_loss"):
            assert ours.get(key) == theirs.get(key), (job, key)
        for split in ("val", "test"):
            pair = [np.load(place / "jobs" / job / "predictions" / f"{split}.npz") for place in (folder, unharmed)]
            assert pair[0].files == pair[1].files
            for name in pair[0].files:
                assert pair[0][name].tobytes() == pair[1][name].tobytes(), (job, split, name)


def test_one_region_loses_its_worker_twice_another_fails_and_two_do_not_notice(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    """The same command without the fault then ends as the unharmed run did."""
    folder = copy_without(finished, tmp_path / "run", (*REGIONS, "stack"))
    kill, error = {"job": "left", "action": "kill"}, {"job": "right", "action": "raise", "step": 2}
    plan(folder, {**kill, "attempt": 1, "step": 3}, {**kill, "attempt": 2, "step": 6},
         {**error, "attempt": 1}, {**error, "attempt": 2})  # fmt: skip
    output = regionstack(*arguments(tiny, folder, "cluster.slots=4"), status=2)
    assert fired(folder) == [("left", 1, "kill"), ("left", 2, "kill"), ("right", 1, "raise"), ("right", 2, "raise")]
    assert attempts(folder) == {"top": 1, "bottom": 1, "left": 3, "right": 2}, "and no stack without all regions"
    assert output.count("; retrying") == 3
    assert all("rank 0 on " in error and "the worker died" in error for error in errors(folder, "left"))
    assert "right failed" in output
    assert "InjectedFault" in output, "the worker's own error reaches the driver"
    for job in ("top", "bottom", "left"):
        assert (folder / "jobs" / job / "result.json").exists(), job
    regionstack(*arguments(tiny, folder))
    assert attempts(folder)["right"] == 3
    assert_equal(folder, finished)
    status = regionstack("status", str(folder))
    assert [line for line in status.splitlines() if "left" in line and "done" in line], status
    assert not (folder / "driver.lease").exists(), "the driver released its lease"


def test_hangs_a_corrupt_checkpoint_a_full_disk_and_an_error_of_a_worker(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    """One call with faults, then the same call again: the results equal those of the unharmed run."""
    folder = tmp_path / "run"
    plan(
        folder,
        {"job": "holistic_16", "attempt": 1, "rank": 1, "step": 5, "action": "stop"},
        {"job": "holistic_32px", "attempt": 1, "rank": 1, "step": 3, "action": "hang"},
        {"job": "top", "attempt": 1, "step": 7, "action": "corrupt-newest-checkpoint"},
        {"job": "top", "attempt": 1, "step": 7, "action": "kill"},
        {"job": "left", "attempt": 1, "step": 4, "action": "fill-disk"},
        *({"job": job, "attempt": attempt, "step": 2, "action": "raise"}
          for job in ("bottom", "right") for attempt in (1, 2)),
    )  # fmt: skip
    output = regionstack(*arguments(tiny, folder, *SOON), status=2)
    assert len(fired(folder)) == 9, fired(folder)
    silent, stuck = errors(folder, "holistic_16")[0], errors(folder, "holistic_32px")[0]
    assert silent.startswith("rank 1 on "), "the rank that was stopped"
    assert re.search(r"it hangs: in \w+, step \d+.* silent for \d+ s", silent), silent
    assert stuck.startswith("rank 1 on "), "the rank that the others wait for"
    assert "it hangs: in training, step 3 for" in stuck
    assert "renamed to damaged-step" in (folder / "jobs" / "top" / "log.txt").read_text()
    assert (folder / "jobs" / "top" / "result.json").exists(), "it continued from the checkpoint before"
    assert attempts(folder)["left"] == 1, "a retry cannot make room"
    end = output[output.index("error: ") :]
    assert "left failed: " in end
    assert "make room" in end
    assert end.count("Traceback (most recent call last)") == 1, "two jobs with one error: reported once"
    assert "bottom, right failed: InjectedFault: planned fault at step 2" in end
    for region in ("bottom", "right"):
        assert f"stage regions, region {region}, rank 0 on " in end
        assert f"log: {folder}/jobs/{region}/rank-0.txt" in end
    assert "the same error twice" in end
    status = regionstack("status", str(folder))
    assert "InjectedFault: planned fault at step 2" in status
    regionstack(*arguments(tiny, folder))
    assert_equal(folder, finished)


@contextmanager
def driver(tiny: Path, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the command in the background; kill it at the end if it still runs. Its output is in `driver.txt`."""
    command = [sys.executable, "-m", "launch.cli", *arguments(tiny, folder)]
    with (folder.parent / "driver.txt").open("a") as file:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment() | FAST_HEALTH, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGCONT)
            started.kill()
        started.wait()


def wait_for(condition: Any, driving: "subprocess.Popen[str]", output: Path) -> None:
    """Wait for `condition` while the driver runs."""

    def holds() -> bool:
        assert driving.poll() is None, output.read_text()
        return bool(condition())

    wait_until(holds, "the moment of the fault", limit_s=LONGEST_S)


def test_the_driver_and_the_raylet_stopped_and_killed_and_all_at_once(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    """A planned hang marks each moment, so nothing depends on the speed of the machine."""
    folder, output = tmp_path / "run", tmp_path / "driver.txt"
    hang = {"action": "hang", "attempt": 1}
    marks = {"holistic_16": 5, "holistic_32px": 3, "top": 3}
    plan(folder, *({"job": job, "step": step, **hang} for job, step in marks.items()))

    def reached(job: str) -> bool:
        return (job, 1, "hang") in fired(folder)

    with driver(tiny, folder) as driving:
        wait_for(lambda: reached("holistic_16"), driving, output)
        driving.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(driving.pid), "the driver to stop")
        assert f"process {driving.pid} on" in regionstack(*arguments(tiny, folder), status=2), "one driver at a time"
        assert "stopped by a signal" in regionstack("status", str(folder))
        driving.send_signal(signal.SIGCONT)
        raylet, before = raylet_of(driving.pid), {pid: ticks_of(pid) for pid in live_workers(folder)}
        assert raylet is not None
        assert len(before) == 2
        os.kill(raylet, signal.SIGSTOP)
        wait_for(lambda: attempts(folder).get("holistic_16") == 2, driving, output)
        # By their start, since a process that has ended keeps its pid until its new parent asks how.
        assert not [pid for pid, ticks in before.items() if ticks_of(pid) == ticks], "and its workers write no more"

        wait_for(lambda: reached("holistic_32px"), driving, output)
        raylet = raylet_of(driving.pid)
        assert raylet is not None
        os.kill(raylet, signal.SIGKILL)

        wait_for(lambda: reached("top"), driving, output)
        raylet, workers = raylet_of(driving.pid), live_workers(folder)
        assert raylet is not None
        for pid in (driving.pid, raylet, *workers):
            os.kill(pid, signal.SIGKILL)
        driving.wait()
    assert output.read_text().count("Ray on this host has died; starting another one") == 2
    assert "has died; run the same command again" in regionstack("status", str(folder))
    regionstack(*arguments(tiny, folder))
    started = attempts(folder)
    assert (started["holistic_16"], started["holistic_32px"], started["top"]) == (2, 2, 2)
    assert_equal(folder, finished)


def test_a_small_soak(tmp_path: Path) -> None:
    """Two hits at random moments, of whatever the seed draws."""
    command = [sys.executable, "bench/soak.py", "--quick", "--seed", "2", "--folder", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert (summary["kills"], summary["holds"]) == (2, True), ended.stdout


def test_a_loss_that_is_not_finite_twice_ends_the_job(tiny: Path, tmp_path: Path) -> None:
    """The first time may be a host's fault and is retried; the same step again is the recipe's fault and is not."""
    folder, job = tmp_path / "run", "holistic_16"
    diverging = ("stages.holistic_16.optimizer.name=sgd", "stages.holistic_16.optimizer.learning_rate=1e30")
    alone = ("stages.holistic_32px=null", "stages.regions=null")
    output = regionstack(*arguments(tiny, folder, *alone, *diverging), status=2)
    assert attempts(folder) == {job: 2}
    steps = [re.findall(r"step (\d+)", error)[0] for error in errors(folder, job)]
    assert len(steps) == 2
    assert steps[0] == steps[1]
    assert f"{job} failed" in output
    assert "not finite" in output
    (dump,) = (folder / "jobs" / job).glob("not-finite-step-*.npz")
    with np.load(dump, allow_pickle=False) as arrays:
        assert len(arrays["ids"]) == 24
        assert not np.isfinite(arrays["losses"]).all()
    assert dump.name in output, "where to look"
