"""How failed jobs are described: each error once, with stage, region, rank, host and log; orphans of a dead driver."""

from cluster.schedule.job import Failure, JobOutcome
from launch.run.failures import describe_failures
from launch.run.orphans import open_workers

DESCRIPTIONS = {name: f"stage regions, region {name}" for name in ("top", "left", "right")}


def failed(name: str, failure: Failure, give_up_reason: str = "the same error twice") -> JobOutcome:
    error = "\n".join([failure.text(), give_up_reason])
    return JobOutcome(
        name, "failed", error=error, failures=(failure, failure), give_up_reason=give_up_reason, attempts=2
    )


def raised(name: str, rank: int, address: str = "0x7f01") -> Failure:
    return Failure(
        "raised", "ValueError: step 7 is bad", traceback=f"Traceback …\n  at {address}\nValueError: step 7 is bad\n",
        rank=rank, host="node1", log=f"/run/jobs/{name}/rank-{rank}.txt", also=("rank 9: the same",),
    )  # fmt: skip


def test_one_failure_in_full() -> None:
    outcomes = {"top": failed("top", raised("top", 1)), "left": JobOutcome("left", "done")}
    assert describe_failures(outcomes, DESCRIPTIONS).splitlines() == [
        "top failed: ValueError: step 7 is bad",
        "  stage regions, region top, rank 1 on node1",
        "  log: /run/jobs/top/rank-1.txt",
        "Traceback …",
        "  at 0x7f01",
        "ValueError: step 7 is bad",
        "rank 9: the same",
        "the same error twice",
        "finished: left; run the same command again to resume",
    ]


def test_identical_errors_are_printed_once_with_all_their_places() -> None:
    outcomes = {
        "top": failed("top", raised("top", 1, "0x7f01")),
        "left": failed("left", Failure("died", "the worker died", rank=0, host="b"), "failed 4 times"),
        "right": failed("right", raised("right", 0, "0x8e02")),
    }
    text = describe_failures(outcomes, DESCRIPTIONS)
    assert text.count("Traceback") == 1
    assert text.splitlines()[:5] == [
        "top, right failed: ValueError: step 7 is bad",
        "  stage regions, region top, rank 1 on node1",
        "  log: /run/jobs/top/rank-1.txt",
        "  stage regions, region right, rank 0 on node1",
        "  log: /run/jobs/right/rank-0.txt",
    ]
    assert "left failed: the worker died\n  stage regions, region left, rank 0 on b\nfailed 4 times\n" in text
    assert text.endswith("no job finished; run the same command again to resume")


def test_a_users_mistake_is_one_line() -> None:
    outcomes = {name: failed(name, Failure("user", "labels.txt:3: malformed"), "") for name in ("top", "left")}
    for outcome in outcomes.values():
        object.__setattr__(outcome, "error", "labels.txt:3: malformed")
    assert describe_failures(outcomes, DESCRIPTIONS).splitlines()[0] == "top, left failed: labels.txt:3: malformed"


def test_a_job_that_ended_without_a_failure_of_its_own() -> None:
    error = "top needs 4 slots, and 3 are left without b"
    lost = JobOutcome("top", "failed", error=error, failures=(raised("top", 0),))
    assert describe_failures({"top": lost}, DESCRIPTIONS).splitlines()[0] == f"top failed: {error}"


def test_workers_of_attempts_that_no_event_closed() -> None:
    def event(kind: str, job: str, *pids: int) -> dict[str, object]:
        return {"event": kind, "job": job, "workers": [{"pid": pid} for pid in pids]}

    events = [
        event("running", "whole", 1, 2),
        event("done", "whole"),
        event("running", "top", 3),
        event("retried", "top"),
        event("running", "top", 4),
        event("running", "left", 5),
        event("stopped", "left"),
        event("waiting", "top"),
    ]
    assert [(job, one["pid"]) for job, one in open_workers(events)] == [("top", 4)]
