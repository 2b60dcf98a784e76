"""A stand-in for an MLflow server: the REST endpoints that its client calls, on a real socket; it can die or hang."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"


@dataclass
class StoredRun:
    """One run as the server knows it. metrics: (step, value) by name, in the order of the requests."""

    id: str
    name: str
    status: str
    tags: dict[str, str]
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)


class MlflowServer:
    """Context in which the server answers at `uri`.

    hanging: while set, it takes connections and never answers. requests: paths of all requests.
    """

    def __init__(self, port: int = 0) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, StoredRun] = {}
        self.requests: list[str] = []
        self.hanging = threading.Event()
        self._released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

            def do_POST(self) -> None:
                self._answer(json.loads(self._body() or b"{}"))

            def do_PUT(self) -> None:
                server.upload(urlsplit(self.path).path, self._body())
                self._send(200, {})

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, values: Mapping[str, Any]) -> None:
                path = urlsplit(self.path).path
                server.requests.append(path)
                if server.hanging.is_set():
                    server._released.wait()
                    return
                self._send(*server.answer(path.partition(API)[2], values))

            def _send(self, status: int, content: Mapping[str, Any]) -> None:
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *values: Any) -> None:
                """Print nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.uri = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """Refuse all connections from now on."""
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    def named(self, name: str) -> StoredRun:
        """The only run of this name."""
        (found,) = [run for run in self.runs.values() if run.name == name]
        return found

    def answer(self, call: str, values: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and content of the answer to an API call."""
        missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"}
        if call == "experiments/get-by-name":
            known = self.experiments.get(values["experiment_name"])
            return (200, {"experiment": {"experiment_id": known, "name": values["experiment_name"]}}) if known else (
                404, missing)  # fmt: skip
        if call == "experiments/create":
            self.experiments[values["name"]] = str(len(self.experiments) + 1)
            return 200, {"experiment_id": self.experiments[values["name"]]}
        if call == "runs/create":
            tags = {tag["key"]: tag["value"] for tag in values.get("tags", [])}
            run = StoredRun(f"{len(self.runs) + 1:032x}", values["run_name"], "RUNNING", tags)
            self.runs[run.id] = run
            return 200, {"run": self._described(run)}
        found = self.runs.get(values.get("run_id", ""))
        if found is None:
            return 404, missing
        if call == "runs/update":
            found.status = values.get("status", found.status)
            return 200, {"run_info": self._described(found)["info"]}
        if call == "runs/log-batch":
            return self._log(found, values)
        if call == "runs/get":
            return 200, {"run": self._described(found)}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": call}

    def upload(self, path: str, content: bytes) -> None:
        """Keep an artifact."""
        run, _, name = path.partition(FILES)[2].partition("/")
        self.runs[run].artifacts[name] = content

    def _log(self, run: StoredRun, values: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        for parameter in values.get("params", []):
            if run.parameters.setdefault(parameter["key"], parameter["value"]) != parameter["value"]:
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": f"changed {parameter['key']}"}
        for metric in values.get("metrics", []):
            run.metrics.setdefault(metric["key"], []).append((int(metric.get("step", 0)), float(metric["value"])))
        return 200, {}

    def _described(self, run: StoredRun) -> dict[str, Any]:
        info = {"run_id": run.id, "run_name": run.name, "experiment_id": "1", "status": run.status,
                "artifact_uri": f"{self.uri}{FILES}{run.id}", "lifecycle_stage": "active"}  # fmt: skip
        return {"info": info, "data": {}}
