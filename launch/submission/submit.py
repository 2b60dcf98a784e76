"""Sends a run to a cluster, follows its output over any number of connections, and fetches its report."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from cluster.remote.head import INCOMING
from cluster.remote.launcher import ConnectionLost, Launcher
from data_tools.errors import UserError
from data_tools.files import write_atomically
from launch.submission.parcel import Parcel, is_url
from launch.terminal.console import INTERRUPTED, print_err, print_out

PATIENCE_S = 3600.0
"""How long to try for a new connection; the run itself continues without one."""
LONGEST_PAUSE_S = 20.0
TRIES = 3
"""Attempts to send pages, which continue where the connection broke."""
UNKNOWN = 1
"""Exit status of a run that ended without one: killed, or lost with its host."""


def submit(launcher: Launcher, parcel: Parcel, *, up: bool, report: Path) -> int:
    """Run `parcel` on the cluster and follow it, or follow it where it runs already; returns the run's exit status.

    up: start the cluster first. report: where to write the run's report.

    Raises:
        UserError: the head cannot be reached, or something is missing there; nothing has been started then.
    """
    if up:
        launcher.up()
    try:
        job = _started(launcher, parcel)
    except ConnectionLost as error:
        raise UserError(f"{launcher.file}: the head cannot be reached: {error}; is it up (--up)?") from None
    try:
        status = follow(launcher, job)
    except KeyboardInterrupt:
        print_err(
            f"{job}: continues on the cluster; the same command follows it again, and with --stop it saves and ends"
        )
        return INTERRUPTED
    fetch_report(launcher, parcel, report)
    return status


def stop(launcher: Launcher, parcel: Parcel) -> int:
    """Request the run to save and end; 0.

    Raises:
        UserError: the head cannot be reached, or the run is not driven there.
    """
    try:
        pid = launcher.call("stop", {"run": parcel.run})["stopped"]
    except ConnectionLost as error:
        raise UserError(f"{launcher.file}: the head cannot be reached: {error}") from None
    if pid is None:
        raise UserError(f"{parcel.run}: no driver of this run on the head of {launcher.file}; nothing to stop")
    print_out(f"{parcel.run}: running jobs save and exit; the command that follows it ends with status 75")
    return 0


def print_text(text: str) -> None:
    """Print output as it came, which may end in the middle of a line."""
    sys.stdout.write(text)
    sys.stdout.flush()


def follow(
    launcher: Launcher,
    job: str,
    *,
    write: Callable[[str], None] = print_text,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Print the job's output until it ends; its exit status. Connects again, where it was, after each lost connection.

    Raises:
        UserError: the head that ran it was lost, or no connection came within PATIENCE_S.
    """
    offset, pause, lost_at = 0, 1.0, None
    while True:
        reason = ""
        try:
            with launcher.news("follow", {"job": job, "offset": offset}) as lines:
                for news in lines:
                    if "error" in news or "lost" in news:
                        raise UserError(news.get("error") or lost_with_its_head(job))
                    if lost_at is not None:
                        print_err("connected again")
                    pause, lost_at = 1.0, None
                    if "text" in news:
                        offset = news["offset"]
                        write(news["text"])
                    if "ended" in news:
                        return UNKNOWN if news["status"] is None else int(news["status"])
        except ConnectionLost as error:
            reason = f": {error}"
        if lost_at is None:
            lost_at = clock()
            print_err("the connection is lost; the run continues on the cluster; connecting again")
        if clock() - lost_at > PATIENCE_S:
            minutes = f"{PATIENCE_S / 60:.0f} minutes"
            raise UserError(f"{job}: no connection for {minutes}; run the same command again later{reason}")
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def lost_with_its_head(job: str) -> str:
    """What happened to a job that the head does not know."""
    return f"{job}: the head was restarted and has lost this job; run the same command again to resume the run"


def _started(launcher: Launcher, parcel: Parcel) -> str:
    """The id of the run's job: of the live one, or of one that is started after all that it needs was sent."""
    where = {"name": parcel.name, "run": parcel.run}
    folders = [] if parcel.pages is None else [parcel.pages[1]]
    found = launcher.call("look", where | {"paths": [*parcel.expected, parcel.shards], "folders": folders})
    if found["live"] is not None:
        print_err(f"{found['live']}: this run is live; following it, with the configuration that it was started with")
        return str(found["live"])
    missing = [path for path in parcel.expected if path in found["missing"]]
    if missing and parcel.shards in found["missing"]:
        raise UserError(
            f"{', '.join(missing)}: neither here nor in {found['shared']} on the cluster; send label files by running "
            "this command where they are, and pages with --pages DIR or --pages s3://BUCKET/FOLDER"
        )
    _send(launcher, parcel, shared=found["shared"])
    job = str(launcher.call("start", where | {"entrypoint": parcel.entrypoint})["job"])
    print_out(f"{job}: started; it runs without this terminal, and the same command follows it again")
    return job


def _send(launcher: Launcher, parcel: Parcel, *, shared: str) -> None:
    if parcel.pages is not None and not is_url(parcel.pages[0]):
        local, there = parcel.pages
        print_out(f"sending the pages in {local} to {Path(shared) / there}")
        _insist(launcher, f"{local.rstrip('/')}/", f"{Path(shared) / there}/")
    with tempfile.TemporaryDirectory(prefix="regionstack-") as folder:
        for there, path in parcel.files.items():
            copy = Path(folder) / there
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        write_atomically(Path(folder) / parcel.config, yaml.safe_dump(dict(parcel.settings), sort_keys=False))
        launcher.send(f"{folder}/", f"{shared}/{INCOMING}/{parcel.name}/")


def _insist(launcher: Launcher, source: str, target: str) -> None:
    """Send a folder of any size over a connection that may break."""
    for remaining in reversed(range(TRIES)):
        try:
            launcher.send(source, target)
            return
        except ConnectionLost as error:
            if not remaining:
                raise UserError(f"{source}: could not be sent: {error}; the same command continues") from None
            print_err(f"{source}: the connection broke; sending the rest")


def fetch_report(launcher: Launcher, parcel: Parcel, report: Path) -> None:
    """Copy the run's report to `report`; where there is none yet, a line says so.

    Raises:
        OSError: `report` cannot be written.
    """
    try:
        look = {"name": parcel.name, "run": parcel.run, "paths": [], "folders": []}
        there = Path(launcher.call("look", look)["shared"])
        with tempfile.TemporaryDirectory() as folder:
            # rsync replaces its target, which may be a link, a FIFO or a device.
            copy = Path(folder, "report.html")
            launcher.fetch(str(there / parcel.run / "report.html"), str(copy))
            content = copy.read_bytes()
    except (ConnectionLost, FileNotFoundError, UserError):
        print_err(f"{parcel.run}: no report could be fetched; ray rsync-down fetches it once it is written")
    else:
        write_atomically(report, content)
        print_out(f"report: {report}")
