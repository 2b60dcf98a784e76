"""Brings an MLflow server up to date with a run folder: one parent run, a child for each job, all of it sent once.

`RUN/mlflow.json` holds the ids of the runs and what they have got, so that a resumed run continues them:

    {"uri": …, "experiment": id, "parent": {"id": …}, "jobs": {"top": {"id": …, "parameters": true, "epoch": 3,
     "status": "RUNNING"}}}
"""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from data_tools.files import read_object, write_json
from launch.run.folder import CONFIG, result_settings
from launch.run.record import JobRecord, RunRecord, read_run
from launch.watching.tracking.server import ServerError, Status, flat
from trainer.job_folder.journal import CONFIG as JOB_CONFIG

RECORD = "mlflow.json"
ARTIFACTS = ("report.html", "metrics.json")
OF_AN_EPOCH = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "pages_per_s")
OF_A_RESULT = ("val_accuracy", "val_loss", "test_accuracy", "test_loss", "best_epoch", "parameters", "seconds")
ENDED: Mapping[str, Status] = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "skipped": "KILLED"}


class RunServer(Protocol):
    """The part of `launch.watching.tracking.server.Server` that is used here."""

    def experiment(self, name: str) -> str: ...
    def create_run(self, experiment: str, name: str, *, started: float, parent: str | None = None) -> str: ...
    def parameters(self, run: str, values: Mapping[str, Any]) -> None: ...
    def metrics(self, run: str, values: Mapping[str, float], *, step: int, moment: float) -> None: ...
    def artifact(self, run: str, path: Path) -> None: ...
    def set_status(self, run: str, status: Status) -> None: ...


class Sync:
    """Sends what the server lacks of the run in `folder`; each thing is recorded when the server has it."""

    def __init__(self, folder: Path, server: RunServer, *, uri: str, experiment: str) -> None:
        self._folder, self._server, self._experiment = folder, server, experiment
        self._path = folder / RECORD
        found = read_object(self._path)
        self._sent: dict[str, Any] = found if found.get("uri") == uri else {"uri": uri}

    def send(self, end: Status | None = None) -> None:
        """Send all that is new. end: how the run has ended; null: it continues.

        Raises:
            ServerError: the server does not answer; what it has got is recorded.
        """
        try:
            self._send(read_run(self._folder), end)
        except ServerError as error:
            if error.gone:
                # Another server under the same address, or somebody deleted the runs: new ones take their place.
                self._sent = {"uri": self._sent["uri"]}
            raise

    def _send(self, record: RunRecord, end: Status | None) -> None:
        parent = self._parent(record)
        for job in record.jobs.values():
            if job.attempts or job.epochs or job.progress or job.result:
                self._send_job(job, parent["id"], end)
        self._status(parent, end or "RUNNING")
        if end is not None:
            self._artifacts(parent, record)  # Last: they go to a store of their own, which may refuse them.

    def _parent(self, record: RunRecord) -> dict[str, Any]:
        if "experiment" not in self._sent:
            self._sent["experiment"] = self._server.experiment(self._experiment)
            self._save()
        started = float(record.run.get("created") or 0.0)
        parent = self._run(self._sent, "parent", name=self._folder.name, started=started)
        self._parameters(parent, result_settings(record.config))
        return parent

    def _run(
        self, runs: dict[str, Any], key: str, *, name: str, started: float, parent: str | None = None
    ) -> dict[str, Any]:
        if key not in runs:
            made = self._server.create_run(self._sent["experiment"], name, started=started, parent=parent)
            runs[key] = {"id": made, "status": "RUNNING"}
            self._save()
        found: dict[str, Any] = runs[key]
        return found

    def _send_job(self, job: JobRecord, parent: str, end: Status | None) -> None:
        jobs = self._sent.setdefault("jobs", {})
        started = job.attempts[0].started if job.attempts else float(job.progress.get("time") or 0.0)
        sent = self._run(jobs, job.name, name=job.name, started=started, parent=parent)
        settings = _settings(job.folder / JOB_CONFIG)
        if settings:
            self._parameters(sent, settings)
        for row in job.epochs:
            if row["epoch"] > sent.get("epoch", 0):
                figures = {name: row.get(name) for name in OF_AN_EPOCH}
                self._server.metrics(sent["id"], _numbers(figures), step=row["step"], moment=row["time"])
                sent["epoch"] = row["epoch"]
                self._save()
        if job.result and not sent.get("result"):
            final = {f"best/{name}": job.result.get(name) for name in OF_A_RESULT}
            last = job.epochs[-1]["step"] if job.epochs else 0
            self._server.metrics(sent["id"], _numbers(final), step=last, moment=float(job.result["ended"]))
            sent["result"] = True
            self._save()
        self._status(sent, _job_status(job, end))

    def _parameters(self, sent: dict[str, Any], settings: Mapping[str, Any]) -> None:
        if not sent.get("parameters"):
            self._server.parameters(sent["id"], flat(settings))
            sent["parameters"] = True
            self._save()

    def _artifacts(self, parent: dict[str, Any], record: RunRecord) -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / CONFIG
            config.write_text(yaml.safe_dump(_without_secrets(record.config), sort_keys=False))
            for path in (config, *(self._folder / name for name in ARTIFACTS)):
                written = path.stat().st_mtime if path.exists() and path.parent == self._folder else 0.0
                if path.exists() and parent.setdefault("artifacts", {}).get(path.name) != written:
                    self._server.artifact(parent["id"], path)
                    parent["artifacts"][path.name] = written
                    self._save()

    def _status(self, sent: dict[str, Any], status: Status) -> None:
        if sent["status"] != status:
            self._server.set_status(sent["id"], status)
            sent["status"] = status
            self._save()

    def _save(self) -> None:
        write_json(self._path, self._sent)


def _job_status(job: JobRecord, end: Status | None) -> Status:
    if job.result:
        return "FINISHED"
    outcome = job.attempts[-1].outcome if job.attempts else "running"
    if outcome in ENDED and job.last_event != "retried":
        return ENDED[outcome]
    return "RUNNING" if end is None else "KILLED"


def _settings(path: Path) -> dict[str, Any]:
    """A job's configuration; empty where it is not written yet."""
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures that are numbers; not what is unknown, and nothing that JSON has no number for."""
    return {
        name: float(value) for name, value in figures.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def _without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without the values of the workers' environment variables, which may be passwords."""
    cluster = config.get("cluster")
    if not isinstance(cluster, Mapping) or not isinstance(cluster.get("environment"), Mapping):
        return dict(config)
    return {**config, "cluster": {**cluster, "environment": dict.fromkeys(cluster["environment"], "…")}}
