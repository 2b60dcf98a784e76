"""Ray Serve's only door: replicas of the models, and the application that a RayService names.

`regionstack serve` starts the replicas with `started` and answers HTTP itself: Ray's proxy keeps any upload in memory.
On a cluster that Serve's own proxies front, `launch.service.deployment:app` is the application; docs/serve.md.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import ray
from ray import serve
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.schema import LoggingConfig

from cluster.config import ClusterConfig
from cluster.on_ray.hosts import connect
from data_tools.config import from_mapping
from data_tools.errors import UserError
from launch.service.app import Unavailable, create_app
from launch.service.limits import Busy, Limits
from launch.service.replica import About, Arguments, Classified, Models, Plan
from launch.service.security import Access, read_token
from launch.terminal.console import interrupt_on_sigterm

NAME = "regionstack"
ONGOING = 32
"""Files that one replica decodes and classifies at once; further ones wait in Serve's queue."""
_TRIES = 2
"""A file whose replica dies is sent to another one once."""
_STATUS_S = 1.0
"""Age up to which the state of the replicas is not asked for again."""
_DRAIN_S = 30.0
_SPARE_MIB = 128
_UNCOUNTED = 64
"""Requests for the page, figures and health that Serve lets through beside the predictions of a full queue."""


class Replica:
    """One replica of the models, as Ray Serve starts it."""

    def __init__(self, run: str, limits: dict[str, Any], decoders: int | None, model: str) -> None:
        self._models = Models(run, Limits(**limits), decoders, model=model)

    async def classify(self, content: bytes, preview: bool) -> Classified:
        """`Models.classify`."""
        return await self._models.classify(content, preview=preview)

    async def about(self) -> About:
        """What the models read and answer."""
        return self._models.about


class Replicas:
    """The replicas as `app.Backend`, from the driver or another deployment."""

    def __init__(self, handle: Any, *, app_name: str, about: About) -> None:
        self._handle, self._app_name, self.about = handle, app_name, about
        self._seen_s, self._seen = 0.0, False

    async def ready(self) -> bool:
        """Whether a replica runs, as of a second ago."""
        if time.monotonic() - self._seen_s > _STATUS_S:
            self._seen = await asyncio.to_thread(self._running)
            self._seen_s = time.monotonic()
        return self._seen

    def _running(self) -> bool:
        with contextlib.suppress(ray.exceptions.RayError, RayServeException):
            application = serve.status().applications.get(self._app_name)
            deployment = application.deployments.get(Replica.__name__) if application else None
            return deployment is not None and deployment.replica_states.get("RUNNING", 0) > 0
        return False

    async def classify(self, content: bytes, *, preview: bool) -> Classified:
        """See `app.Backend`. A file whose replica dies is classified by another one."""
        for left in reversed(range(_TRIES)):
            try:
                answer: Classified = await self._handle.classify.remote(content, preview)
                return answer
            except BackPressureError:
                raise Busy("the queue is full; retry in 1 s", reason="queue_full", retry_s=1) from None
            except UserError as error:
                raise Unavailable(str(error)) from error
            except ray.exceptions.RayTaskError:
                raise  # a bug in the replica
            except (ray.exceptions.RayError, RayServeException) as error:
                if not left:
                    raise Unavailable("the model process died; another one is starting") from error
        raise AssertionError("unreachable")


@contextlib.contextmanager
def started(plan: Plan, *, address: str | None) -> Iterator[Replicas]:
    """The replicas of a run's models, loaded; stopped, with a Ray that was started for them, on leaving.

    address: a Ray cluster to join; None starts a private one.

    Raises:
        UserError: Ray cannot be started or joined, Serve runs on the cluster already, or the models cannot be loaded.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    store_mib = _SPARE_MIB + 2 * plan.limits.memory_mib
    connect(ClusterConfig(address=address or "local", object_store_mib=store_mib))
    interrupt_on_sigterm()  # Ray has put its own handler there
    if address is not None and serve.status().applications:
        ray.shutdown()
        raise UserError(f"--address {address}: Ray Serve runs there already; deploy there with a Serve config file")
    try:
        serve.start(proxy_location="Disabled", logging_config=_quiet())
        handle = _run(_replica(plan, _resources(plan.replicas, address)))
        yield Replicas(handle, app_name=NAME, about=handle.about.remote().result())
    finally:
        with contextlib.suppress(ray.exceptions.RayError, RayServeException, TimeoutError):
            serve.shutdown()
        ray.shutdown()


def _run(application: Any) -> Any:
    try:
        return serve.run(application, name=NAME, route_prefix=None, logging_config=_quiet())
    except RuntimeError as error:
        raise UserError(f"the models cannot be loaded: {_last_cause(_messages() or str(error))}") from None


def _messages() -> str:
    """What Serve reports about the deployments of the application: the traceback of a constructor that failed."""
    application = serve.status().applications.get(NAME)
    return "\n".join(deployment.message for deployment in application.deployments.values()) if application else ""


def _last_cause(message: str) -> str:
    """The text of the last exception in a traceback."""
    causes = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception): (.+)$", message, re.MULTILINE)
    return causes[-1] if causes else " ".join(message.split())[-300:]


def _quiet() -> LoggingConfig:
    return LoggingConfig(log_level="WARNING", enable_access_log=False)


def _resources(replicas: int, address: str | None) -> dict[str, float]:
    """Cores and GPUs of each replica. A private Ray runs nothing else, so there its replicas may share cores."""
    gpus = float(ray.cluster_resources().get("GPU", 0))
    return {"num_cpus": 0 if address is None else 1, "num_gpus": min(1.0, gpus / replicas)}


def _replica(plan: Plan, actor: dict[str, float]) -> Any:
    # The decoders inherit it: OpenCV then rejects a larger image by its header, before it allocates the pixels.
    pixels = {"OPENCV_IO_MAX_IMAGE_PIXELS": str(plan.limits.megapixels * 10**6)}
    deployment = serve.deployment(
        Replica,
        name=Replica.__name__,
        num_replicas=plan.replicas,
        max_ongoing_requests=ONGOING,
        max_queued_requests=plan.limits.queue * plan.limits.files,
        graceful_shutdown_timeout_s=_DRAIN_S,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=2,
        health_check_timeout_s=30,
        max_constructor_retry_count=1,
        ray_actor_options={**actor, "runtime_env": {"env_vars": {"TF_CPP_MIN_LOG_LEVEL": "3", **pixels}}},
    )
    return deployment.bind(plan.run, asdict(plan.limits), plan.decoders, plan.model)


class Gateway:
    """The HTTP application behind Serve's proxies. A single replica, so that limits and figures are the service's."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, handle: Any, limits: dict[str, Any], token_file: str | None
    ) -> None:
        self._limits, self._access = Limits(**limits), Access(token=read_token(token_file), loopback_only=False)
        name = serve.get_replica_context().app_name
        self._backend = Replicas(handle, app_name=name, about=await handle.about.remote())

    def __serve_build_asgi_app__(self) -> Any:
        """The application, which Serve asks for once the constructor is done."""
        return create_app(self._backend, self._limits, self._access, length_required=True)


def app(arguments: dict[str, Any]) -> Any:
    """The Serve application of a config file: `import_path: launch.service.deployment:app`, with `Arguments` as args.

    Raises:
        UserError: an unknown argument, or one out of its range.
    """
    given = from_mapping(Arguments, arguments, where="args")
    plan = Plan(run=given.run, limits=given.limits, replicas=given.replicas, decoders=given.decoders, model=given.model)
    gateway = serve.deployment(
        serve.ingress()(Gateway),
        name=Gateway.__name__,
        num_replicas=1,
        max_ongoing_requests=given.limits.queue + _UNCOUNTED,
        graceful_shutdown_timeout_s=_DRAIN_S,
        ray_actor_options={"num_cpus": 0},
    )
    replica = _replica(plan, {"num_cpus": 1.0, "num_gpus": given.gpus})
    return gateway.bind(replica, asdict(given.limits), given.token_file)
