"""Real Ray: what happens to a job, and to its neighbors, when a worker fails."""

import time
from pathlib import Path

import pytest

from cluster.schedule.job import JobSpec
from cluster.schedule.scheduler import StopRule
from tests.cluster.conftest import Run

TARGETS = "tests.cluster.targets"


def test_a_failing_job_leaves_the_others_alone_and_names_its_error(run: Run, tmp_path: Path) -> None:
    bad = JobSpec("bad", f"{TARGETS}:fails", {"how": "raise", "rank": 1}, workers=2, logs=str(tmp_path))
    failed = tmp_path / "failed"
    good = JobSpec("good", f"{TARGETS}:place", {"until": str(failed)}, workers=2)
    after = JobSpec("after", f"{TARGETS}:place", {}, depends_on=("bad",))
    ran = run([bad, good, after], slots=4, touch={("bad", "failed"): failed})
    assert ran.outcomes["good"].state == "done"
    assert ran.outcomes["good"].attempts == 1
    assert ran.outcomes["after"].state == "skipped"
    outcome = ran.outcomes["bad"]
    assert outcome.state == "failed"
    assert outcome.error.startswith("rank 1 on ")
    assert "ValueError: step 7 is bad" in outcome.error.splitlines()[0]
    assert 'raise ValueError("step 7 is bad")' in outcome.error, "the worker's own traceback"
    assert f"log: {tmp_path}/rank-1.txt" in outcome.error
    assert "rank 1 was here" in (tmp_path / "rank-1.txt").read_text()
    # The same error again is no coincidence.
    assert outcome.attempts == 2
    assert outcome.error.endswith("the same error twice")


def test_a_user_error_is_one_line_and_is_not_retried(run: Run) -> None:
    ran = run([JobSpec("bad", f"{TARGETS}:fails", {"how": "user", "rank": 0})], slots=2)
    assert ran.outcomes["bad"].error == "labels/train.txt:3: not a page and a class"
    assert ran.outcomes["bad"].attempts == 1


def test_a_killed_worker_is_noticed_at_once_and_the_job_restarted(run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    job = JobSpec("job", f"{TARGETS}:killed_once", {"rank": 1, "mark": str(mark)}, workers=2)
    done = tmp_path / "done"
    neighbor = JobSpec("neighbor", f"{TARGETS}:place", {"until": str(done)}, workers=1)
    ran = run([job, neighbor], slots=3, touch={("job", "done"): done})
    assert (ran.outcomes["job"].state, ran.outcomes["job"].value) == ("done", "finished")
    assert ran.of("job") == ["started", "running", "retried", "started", "running", "done"]
    retried = next(event for event in ran.events if event.event == "retried")
    assert retried.time - float(mark.read_text()) < 10.0, "the fault fired and was noticed"
    assert "rank 1 on " in retried.error
    assert "died" in retried.error
    assert ran.of("neighbor") == ["started", "running", "done"]


@pytest.mark.parametrize(("how", "says"), [("kill", "died"), ("exit", "SystemExit: 3")])
def test_a_job_fails_for_good_after_max_failures(run: Run, how: str, says: str) -> None:
    job = JobSpec("bad", f"{TARGETS}:fails", {"how": how, "rank": 0})
    began = time.monotonic()
    ran = run([job], slots=2, max_failures=0)
    assert (ran.outcomes["bad"].state, ran.outcomes["bad"].attempts) == ("failed", 1)
    assert says in ran.outcomes["bad"].error
    assert time.monotonic() - began < 120.0, "did not wait for the other rank, which hangs"


def test_a_missing_target_fails_to_start(run: Run) -> None:
    ran = run([JobSpec("bad", "tests.cluster.nothing:here", {})], slots=2)
    assert "No module named 'tests.cluster.nothing'" in ran.outcomes["bad"].error
    assert ran.outcomes["bad"].attempts == 2


def test_workers_that_do_not_start_in_time(run: Run) -> None:
    job = JobSpec("slow", "tests.cluster.slow_to_import:nothing", {})
    ran = run([job], slots=2, start_timeout_s=2, max_start_failures=0)
    assert "not up after 2 s" in ran.outcomes["slow"].error


def test_a_stop_request_during_a_slow_start_is_no_failure(run: Run, tmp_path: Path) -> None:
    """The request arrives before the job listens for one, as it does while a network is built."""
    listen = tmp_path / "listen"
    started: list[bool] = []

    def asked() -> bool:
        if any(started):  # The signals were sent after the call before.
            listen.touch()
        started.append(len(list(tmp_path.glob("here-*"))) == 2)
        return started[-1]

    job = JobSpec("job", f"{TARGETS}:starts_slowly", {"folder": str(tmp_path), "until": str(listen)}, workers=2)
    outcome = run([job], slots=2, stop=StopRule(asked, timeout_s=60)).outcomes["job"]
    assert (outcome.state, outcome.error, outcome.attempts) == ("stopped", None, 1)
