"""What an earlier driver of a run may have left behind: workers that still write, and have to go first."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cluster.liveness import process
from cluster.liveness.watch import allowed_silence_s, read_heartbeat
from data_tools.errors import UserError
from data_tools.files import read_lines
from data_tools.protocol import fence_s, heartbeat_path
from launch.run.attempts import CLOSING
from launch.run.folder import EVENTS
from trainer.job_folder.journal import job_folder

LONGEST_S = 60.0
POLL_S = 0.5


def end_former_workers(folder: Path) -> list[str]:
    """Make sure that no worker of an earlier driver still writes to the run in `folder`; those that were ended here.

    On this machine they are killed. Elsewhere they leave by themselves, since the lease is ours by now; that they have
    is seen by their heartbeats.

    Raises:
        UserError: one elsewhere goes on; the text names its host and process.
    """
    workers, here = open_workers(read_lines(folder / EVENTS)), process.machine()
    ours = [(job, one) for job, one in workers if one.get("machine") == here]
    alive = [(job, one) for job, one in ours if process.is_alive(int(one["pid"]), int(one["ticks"]))]
    left = process.end([(int(one["pid"]), int(one["ticks"])) for _, one in alive], LONGEST_S)
    if left:
        raise UserError(f"{folder}: workers {left} of an earlier driver on this host do not end; end them first")
    elsewhere = [(job, one) for job, one in workers if one.get("machine") not in (here, None)]
    if elsewhere:
        _wait_until_quiet(folder, elsewhere)
    return [f"rank {one['rank']} of {job} (process {one['pid']})" for job, one in alive]


def open_workers(events: Iterable[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Job and worker of all attempts whose end nobody wrote down, from the run's events."""
    running: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("event") == "running":
            running[str(event["job"])] = list(event.get("workers") or ())
        elif event.get("event") in CLOSING:
            running.pop(str(event["job"]), None)
    return [(job, one) for job, workers in running.items() for one in workers]


def quiet_s(world_size: int) -> float:
    """Seconds after which a silent worker of another host has exited since it was replaced, or cannot write at all."""
    return fence_s(world_size - 1, world_size) + allowed_silence_s(world_size)


def _wait_until_quiet(folder: Path, workers: list[tuple[str, Mapping[str, Any]]]) -> None:
    sizes = Counter(job for job, _ in workers)
    limit_s = quiet_s(max(sizes.values()))
    begun = quiet_since = time.monotonic()
    before: dict[tuple[str, int], float | None] = {}
    while time.monotonic() - quiet_since < limit_s:
        for job, one in workers:
            rank = int(one["rank"])
            heartbeat = read_heartbeat(heartbeat_path(job_folder(folder, job), rank), pid=int(one["pid"]))
            written = heartbeat.time if heartbeat else None
            if before.setdefault((job, rank), written) != written:
                before[job, rank], quiet_since = written, time.monotonic()
                if quiet_since - begun > LONGEST_S + limit_s:
                    where = f"rank {rank} of {job} (process {one['pid']} on {one['host']})"
                    raise UserError(f"{folder}: {where} still writes for an earlier driver; end it")
        time.sleep(POLL_S)
