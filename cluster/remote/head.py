"""On the head node: starts a run as a Ray job, and reports about it to a client that may lose its connection.

`ray exec` calls `python -m cluster.remote.head ACTION ARGUMENTS`, with the arguments as JSON in base64, since they pass
two shells. Each line that begins with MARK is a JSON object for the client; a terminal in between may add other lines.
"""

import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster.liveness.lease import read_holder
from cluster.liveness.process import is_alive, own_identity
from data_tools.errors import UserError

MARK = "@regionstack "
SHARED = "REGIONSTACK_SHARED"
RUN = "regionstack_run"
"""Key of a Ray job's metadata: the run folder."""
POLL_S = 1.0
INCOMING = ".regionstack/incoming"
"""In the shared folder: what a client has sent, until the run starts."""

Arguments = Mapping[str, Any]


def encoded(arguments: Arguments) -> str:
    """Arguments as one word without special characters."""
    return base64.urlsafe_b64encode(json.dumps(arguments).encode()).decode()


def report(**news: Any) -> None:
    """Send one object to the client."""
    sys.stdout.write(f"{MARK}{json.dumps(news)}\n")
    sys.stdout.flush()


def look(arguments: Arguments) -> None:
    """Report the shared folder, the live job of the run folder `run`, and which of `paths` are missing there.

    Makes the folders above those of `folders`, since rsync makes only the last part of a path.
    """
    shared = shared_folder()
    missing = [name for name in arguments["paths"] if not (shared / name).exists()]
    for folder in (f"{INCOMING}/{arguments['name']}", *arguments["folders"]):
        (shared / folder).parent.mkdir(parents=True, exist_ok=True)
    report(shared=str(shared), live=live_job(shared / arguments["run"]), missing=missing)


def start(arguments: Arguments) -> None:
    """Put what was sent where it belongs, and start the run as a Ray job, unless one is live; reports its id."""
    shared, run = shared_folder(), str(shared_folder() / arguments["run"])
    job = live_job(Path(run))
    if job is None:
        unpack(shared / INCOMING / arguments["name"], shared)
        job = f"regionstack-{arguments['name']}-{time.time_ns() // 1_000_000:x}"
        jobs().submit_job(entrypoint=arguments["entrypoint"], submission_id=job, metadata={RUN: run})
    report(job=job)


def follow(arguments: Arguments) -> None:
    """Send the output of `job` from character `offset` on until it ends, then its exit status.

    An unknown job was lost with the head that ran it.
    """
    client, job, offset = jobs(), arguments["job"], int(arguments["offset"])
    if job not in {details.submission_id for details in client.list_jobs()}:
        report(lost=job)
        return
    while True:
        details = client.get_job_info(job)  # before the output: what follows the end of a job is complete
        text = client.get_job_logs(job)
        if len(text) > offset:
            report(offset=len(text), text=text[offset:])
            offset = len(text)
        if details.status.is_terminal():
            report(ended=str(details.status), status=details.driver_exit_code, message=details.message)
            return
        report(alive=time.time())
        time.sleep(POLL_S)


def stop(arguments: Arguments) -> None:
    """Request the driver of the run folder `run` to save and exit; reports its process, or null if none runs here."""
    holder = read_holder(shared_folder() / arguments["run"])
    here = holder is not None and holder.owner.machine == own_identity().machine
    if holder is None or not here or not is_alive(holder.owner.pid, holder.owner.ticks):
        report(stopped=None)
        return
    os.kill(holder.owner.pid, signal.SIGTERM)
    report(stopped=holder.owner.pid)


def live_job(run: Path) -> str | None:
    """Id of the Ray job that drives the run folder `run`, or waits to."""
    for details in jobs().list_jobs():
        mine = (details.metadata or {}).get(RUN) == str(run)
        if mine and details.submission_id and not details.status.is_terminal():
            return str(details.submission_id)
    return None


def unpack(incoming: Path, shared: Path) -> None:
    """Move each file that was sent to the same place in the shared folder, over an older one."""
    for path in sorted(incoming.rglob("*")):
        if path.is_file():
            target = shared / path.relative_to(incoming)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def shared_folder() -> Path:
    """The cluster's shared folder.

    Raises:
        UserError: this host was not set up by host.sh.
    """
    named = os.environ.get(SHARED)
    if not named:
        raise UserError(f"{SHARED} is not set on the head; set it up with cluster/setup/host.sh (ray up does)")
    return Path(named)


def jobs() -> Any:
    """The client of Ray's job server on this host."""
    from ray.job_submission import JobSubmissionClient  # Ray takes seconds to import

    try:
        return JobSubmissionClient("http://127.0.0.1:8265")
    except ConnectionError as error:
        raise UserError(f"Ray's job server does not answer on the head ({error}); is Ray up (ray status)?") from None


ACTIONS: dict[str, Callable[[Arguments], None]] = {"look": look, "start": start, "follow": follow, "stop": stop}


def main(action: str, word: str) -> int:
    """Run an action; an error that the user can fix is sent to the client."""
    try:
        ACTIONS[action](json.loads(base64.urlsafe_b64decode(word)))
    except UserError as error:
        report(error=str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
