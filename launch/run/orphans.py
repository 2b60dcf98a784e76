"""Orphans: workers of an earlier driver that may still write to a run, and must end before a new driver starts."""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cluster.liveness import process
from cluster.liveness.watch import allowed_silence_s, read_heartbeat
from data_tools.errors import UserError
from data_tools.files import read_lines
from data_tools.protocol import fence_s, heartbeat_path
from launch.run.attempts import CLOSING
from launch.run.folder import EVENTS
from launch.run.schema import EventRecord, WorkerInfo
from trainer.job_folder.journal import job_folder

LIMIT_S = 60.0
"""Longest wait for orphans, on this host to end and elsewhere to stop writing."""
POLL_S = 0.5


def end_orphans(folder: Path) -> list[str]:
    """Make sure that no orphan writes to the run in `folder`; a description of each that was ended here.

    Orphans on this machine are killed. Those on other hosts leave by themselves, since this driver holds the lease by
    now; their heartbeats show whether they have.

    Raises:
        UserError: an orphan does not end, or still writes; the message names its host and process.
    """
    workers, here = open_workers(read_lines(folder / EVENTS)), process.machine()
    local = [(job, worker) for job, worker in workers if worker.get("machine") == here]
    alive = [(job, worker) for job, worker in local if process.is_alive(worker["pid"], worker["ticks"])]
    left = process.end([(worker["pid"], worker["ticks"]) for _, worker in alive], LIMIT_S)
    if left:
        raise UserError(f"{folder}: workers {left} of an earlier driver on this host do not end; kill them first")
    remote = [(job, worker) for job, worker in workers if worker.get("machine") not in (here, None)]
    if remote:
        _wait_until_quiet(folder, remote)
    return [f"rank {worker['rank']} of {job} (process {worker['pid']})" for job, worker in alive]


def open_workers(events: Iterable[EventRecord]) -> list[tuple[str, WorkerInfo]]:
    """Job name and worker of every attempt that no event has closed."""
    running: dict[str, list[WorkerInfo]] = {}
    for event in events:
        if event.get("event") == "running":
            running[event["job"]] = event.get("workers") or []
        elif event.get("event") in CLOSING:
            running.pop(event["job"], None)
    return [(job, worker) for job, workers in running.items() for worker in workers]


def quiet_s(world_size: int) -> float:
    """Seconds after which a silent worker of another host has exited since it was replaced, or cannot write at all."""
    return fence_s(world_size - 1, world_size) + allowed_silence_s(world_size)


def _wait_until_quiet(folder: Path, workers: list[tuple[str, WorkerInfo]]) -> None:
    sizes = Counter(job for job, _ in workers)
    limit_s = quiet_s(max(sizes.values()))
    started = quiet_since = time.monotonic()
    last_writes: dict[tuple[str, int], float | None] = {}
    while time.monotonic() - quiet_since < limit_s:
        for job, worker in workers:
            rank = worker["rank"]
            heartbeat = read_heartbeat(heartbeat_path(job_folder(folder, job), rank), pid=worker["pid"])
            written = heartbeat.time if heartbeat else None
            if last_writes.setdefault((job, rank), written) != written:
                last_writes[job, rank], quiet_since = written, time.monotonic()
                if quiet_since - started > LIMIT_S + limit_s:
                    where = f"rank {rank} of {job} (process {worker['pid']} on {worker['host']})"
                    raise UserError(f"{folder}: {where} still writes for an earlier driver; kill it")
        time.sleep(POLL_S)
