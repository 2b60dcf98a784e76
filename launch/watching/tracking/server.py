"""An MLflow server or folder of files. The only import of MLflow."""

import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from data_tools.errors import UserError

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

REQUEST_TIMEOUT_S = 5
UPLOAD_TIMEOUT_S = 15
MOST_PARAMETERS = 100
"""Parameters of one request; a limit of MLflow."""
MOST_CHARACTERS = 500
"""Characters of a parameter's value; older servers take no more."""
PARENT = "mlflow.parentRunId"
"""The tag that makes a run a child of another one."""

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_TIMEOUT_S),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(UPLOAD_TIMEOUT_S),
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""Settings that a user's own take precedence over."""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""MLflow reports its use to its makers otherwise."""


REASONS = (
    ("timed out", "no answer in time"),
    ("Connection refused", "connection refused"),
    ("Failed to resolve", "the host's name does not resolve"),
    ("CERTIFICATE_VERIFY_FAILED", "the server's certificate is not trusted"),
    (
        "error code 401",
        "it asks for credentials; set MLFLOW_TRACKING_TOKEN, or a user name and password, see docs/watching.md",
    ),
    ("error code 403", "it refuses these credentials"),
)
"""Parts of the texts of Requests and MLflow, and what to print in place of them."""


class ServerError(Exception):
    """The server does not answer, or refuses a request. gone: it knows no run of this id."""

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


def require_mlflow() -> None:
    """Look for MLflow without importing it, which takes seconds.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UserError(
            "tracking.mlflow: MLflow is not installed; pip install 'regionstack[mlflow]', or remove the key"
        )


class Server:
    """What a run needs of an MLflow server. Every method raises `ServerError`."""

    def __init__(self, uri: str) -> None:
        """uri: `http(s)://…`, or `file:/…`, a folder."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        os.environ.update(QUIET)
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._metric, self._parameter = Metric, Param
        # Requests' own exceptions are OSErrors.
        self._errors = (MlflowException, OSError)
        self._client: Any = self._call(MlflowClient, uri)

    def experiment(self, name: str) -> str:
        """The id of the experiment of this name, which is created if there is none."""
        found = self._call(self._client.get_experiment_by_name, name)
        return str(found.experiment_id if found is not None else self._call(self._client.create_experiment, name))

    def create_run(self, experiment: str, name: str, *, started: float, parent: str | None = None) -> str:
        """Create a run, as a child of `parent` if there is one; its id. started: unix seconds."""
        tags = {} if parent is None else {PARENT: parent}
        made = self._call(
            self._client.create_run, experiment, start_time=int(1000 * started), run_name=name, tags=tags
        )  # fmt: skip
        return str(made.info.run_id)

    def parameters(self, run: str, values: Mapping[str, Any]) -> None:
        """Record parameters of a run; a server refuses to change one."""
        given = [self._parameter(_key(name), str(value)[:MOST_CHARACTERS]) for name, value in values.items()]
        for start in range(0, len(given), MOST_PARAMETERS):
            self._call(self._client.log_batch, run, params=given[start : start + MOST_PARAMETERS])

    def metrics(self, run: str, values: Mapping[str, float], *, step: int, moment: float) -> None:
        """Record figures of a run after `step` steps. moment: unix seconds."""
        given = [self._metric(_key(name), value, int(1000 * moment), step) for name, value in values.items()]
        self._call(self._client.log_batch, run, metrics=given)

    def artifact(self, run: str, path: Path) -> None:
        """Upload a file."""
        self._call(self._client.log_artifact, run, str(path))

    def set_status(self, run: str, status: Status) -> None:
        """Set the state of a run, and its end if it has ended."""
        if status == "RUNNING":
            self._call(self._client.update_run, run, status=status)
        else:
            self._call(self._client.set_terminated, run, status=status, end_time=int(1000 * time.time()))

    def _call(self, method: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except self._errors as error:
            gone = getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"
            raise ServerError(reason_of(error), gone=gone) from None


def _key(name: str) -> str:
    """A name of the characters that MLflow accepts."""
    return "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in name)


def reason_of(error: Exception) -> str:
    """The first line of one of MLflow's long errors, without the parts that name Python objects."""
    text = str(error).strip()
    known = next((reason for sign, reason in REASONS if sign in text), None)
    return known or next(iter(text.splitlines()), type(error).__name__)[:200]


def flat(values: Mapping[str, Any], before: Sequence[str] = ()) -> dict[str, Any]:
    """A configuration as one level: `stages.regions.epochs: 5`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = (*before, str(key))
        found |= flat(value, path) if isinstance(value, Mapping) and value else {".".join(path): value}
    return found
