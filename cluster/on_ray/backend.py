"""Jobs on Ray: each is a Horovod world on its own placement group; one driver runs many at once."""

import contextlib
import logging
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from cluster.config import ClusterConfig
from cluster.liveness.fence import Fence
from cluster.on_ray.attempt import Attempt, Site
from cluster.on_ray.hosts import Nodes, connect
from cluster.on_ray.machines.notices import Leaving, watched
from cluster.on_ray.wait_for_hosts import BOOTSTRAP, expected_hosts, gather, requested
from cluster.on_ray.worlds.reservation import Bundle, Share
from cluster.on_ray.worlds.warm import WarmWorlds
from cluster.schedule.job import Ended, Failure, JobSpec, Started
from cluster.schedule.slots import Group, Host
from data_tools.errors import horovod_required

with horovod_required():
    from horovod.ray.runner import RayExecutor, StaticAdapter
    from horovod.ray.strategy import PGStrategy
    from horovod.ray.worker import BaseHorovodWorker

logger = logging.getLogger(__name__)

LOOPBACK_INTERFACE = "lo"
IDLE_S = 60.0
"""How long a private Ray keeps idle workers for the next job on their slots."""
IDLE_JOINED_S = 5.0
"""The same on a joined cluster, where another program may wait for their slots."""


class RayBackend:
    """The `Backend` of `run_jobs` on a Ray cluster; see `connect`."""

    def __init__(self, config: ClusterConfig, *, joined: str | None, fences: Sequence[Fence] = ()) -> None:
        self.joined = joined
        """Address of the joined cluster; null for a private Ray."""
        self._config = config
        self._fences = fences
        self._site = self._new_site()
        self._attempts: dict[str, Attempt] = {}
        self._leaving: Leaving = {}
        self._news: queue.SimpleQueue[tuple[Attempt | None, Started | Ended]] = queue.SimpleQueue()

    @staticmethod
    @contextlib.contextmanager
    def connect(config: ClusterConfig, *, fences: Sequence[Fence] = ()) -> "Iterator[RayBackend]":
        """Join the cluster that `config` names or that runs here, or start a private Ray; disconnect at the end.

        Waits for the hosts of a joined cluster (`cluster.on_ray.wait_for_hosts`). fences: the driver's, which all its
        workers check.

        Raises:
            UserError: the address does not answer, Ray rejects this driver, or requested slots did not come.
        """
        with _own_signals():
            joined = connect(config)
        backend = RayBackend(config, joined=joined, fences=fences)
        try:
            with requested(config) if joined else contextlib.nullcontext():
                if joined:
                    gather(backend.hosts, config, expected=expected_hosts(BOOTSTRAP))
                with watched(backend._site.nodes, backend.leave):
                    yield backend
        finally:
            backend.kill_all()
            ray.shutdown()

    def hosts(self) -> list[Host]:
        """The live hosts with the slots that the configuration gives them, the driver's own first.

        A private Ray that has died is replaced; the attempts that ran on it have failed.
        """
        if self.joined is None and not self._site.nodes.alive():
            self._start_again()
        return [node.host for node in self._site.nodes.alive() if node.node_id not in self._leaving]

    def warm(self) -> list[Group]:
        """The groups whose workers are up and idle."""
        return self._site.warm.groups

    def uses_gpus(self) -> bool:
        """Whether the slots of the live hosts are GPUs."""
        return any(node.gpus for node in self._site.nodes.alive())

    def leave(self, leaving: Leaving) -> None:
        """Start nothing more on the nodes `leaving`, and let the jobs that run there save and end."""
        self._leaving = dict(leaving)
        self._site.warm.leave(leaving)
        for attempt in list(self._attempts.values()):
            attempt.leave(leaving)

    def start(self, job: JobSpec, group: Group, *, attempt: int) -> None:
        """Start an attempt of `job` on `group` and return at once; `wait` reports how it goes."""
        logger.debug("%s: attempt %d on %s", job.name, attempt, group.hosts)
        # Whatever made an attempt fail, the next one does not inherit it from a process.
        begun = Attempt(job, group, site=self._site, fresh=attempt > 1)
        self._attempts[job.name] = begun
        begun.begin(lambda news: self._news.put((begun, news)))

    def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
        """The news since the last call; waits up to `timeout_s` seconds for the first one."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._news.get(timeout=timeout_s))
            while True:
                found.append(self._news.get_nowait())
        # An attempt that was killed since may still have news in the queue.
        return [news for attempt, news in found if attempt is None or not attempt.killed]

    def request_stop(self, job: str) -> bool:
        """Request that the workers of `job` save and exit; False where they are not up yet."""
        return job in self._attempts and self._attempts[job].request_stop()

    def kill(self, job: str) -> None:
        """Kill the workers of `job` and wait for them to end."""
        if job in self._attempts:
            self._attempts[job].kill()
            self._attempts[job].join()

    def kill_all(self) -> None:
        """Kill the workers of all jobs, and idle ones, and wait for them to end."""
        for attempt in self._attempts.values():
            attempt.kill()
        for attempt in self._attempts.values():
            attempt.join()
        self._site.warm.close()

    def _new_site(self) -> Site:
        warm = WarmWorlds(IDLE_S if self.joined is None else IDLE_JOINED_S)
        return Site(self._config, Nodes(self._config), WorldExecutor, warm, fences=self._fences)

    def _start_again(self) -> None:
        """Replace a private Ray whose raylet is gone or hangs."""
        logger.warning("Ray on this host has died; starting another one")
        for job, attempt in self._attempts.items():
            if not attempt.over:
                attempt.kill()
                attempt.join()
                self._news.put((None, Ended(job, failure=Failure("died", "Ray on this host died"))))
        idle = self._site.warm.remove_all()
        with _own_signals():
            _kill_raylet()
            ray.shutdown()
            # A raylet that hung may have left orphaned workers.
            for attempt in self._attempts.values():
                attempt.end_processes()
            for world in idle:
                world.end_processes()
            connect(self._config)
        self._attempts.clear()
        self._site = self._new_site()


def _kill_raylet() -> None:
    """Kill the raylet of a private Ray; Ray's own shutdown would wait forever for a stopped one."""
    node = ray._private.worker._global_node
    for info in node.all_processes.get("raylet", []) if node is not None else []:
        with contextlib.suppress(ProcessLookupError):
            info.process.kill()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the driver's SIGTERM handler while the block runs: Ray replaces it when it starts."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class WorldExecutor(RayExecutor):
    """A RayExecutor whose rank r runs on the r-th of the given bundles, which it does not release."""

    def __init__(self, bundles: Sequence[Bundle], *, share: Share, timeout_s: int) -> None:
        # The loopback interface keeps Horovod from probing the network; every worker sets its own afterwards.
        settings = RayExecutor.create_settings(timeout_s=timeout_s, nics={LOOPBACK_INTERFACE})
        settings.verbose = 0
        super().__init__(settings, num_workers=len(bundles), use_current_placement_group=False)
        self._strategy = _GivenBundles(settings, bundles, share=share)
        self.adapter = _Adapter(settings, self._strategy)

    def _initialize_adapter(self) -> None:
        self._is_remote = False

    def kill(self) -> None:
        """Kill the workers, stop the rendezvous server; may be called repeatedly."""
        for actor in list(self._strategy.workers or []):
            ray.kill(actor, no_restart=True)
        self._end_rendezvous()
        self.adapter.shutdown()

    def split(self) -> "list[WorldExecutor | OneWorker]":
        """One executor for each worker; this one then has none."""
        parts = [OneWorker(actor) for actor in self._strategy.workers]
        self._strategy.workers = []
        self._end_rendezvous()
        self.adapter.shutdown()
        return [*parts]

    def _end_rendezvous(self) -> None:
        coordinator, self.adapter.coordinator = self.adapter.coordinator, None
        if coordinator is not None and coordinator.rendezvous is not None:
            # Horovod's own shutdown leaves the server's thread and socket open.
            coordinator.rendezvous.stop()
            coordinator.rendezvous._httpd.server_close()


class OneWorker:
    """The `Executor` of a worker that was a rank of a larger world, and is a world of one from its next job on."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def start(self) -> None:
        """The worker is up."""

    def run_remote(self, fn: Callable[..., Any], args: list[Any]) -> list[Any]:
        """Call `fn(*args)` on the worker; a reference to what it returns."""
        return [self._actor.execute.remote(lambda _: fn(*args))]

    def kill(self) -> None:
        """Kill the worker; may be called repeatedly."""
        ray.kill(self._actor, no_restart=True)

    def split(self) -> "list[OneWorker]":
        """This one."""
        return [self]


class _Adapter(StaticAdapter):
    def __init__(self, settings: Any, strategy: "_GivenBundles") -> None:
        super().__init__(settings, num_workers=strategy.num_workers)
        self.strategy = strategy
        self.coordinator = None

    def _create_strategy(self) -> "_GivenBundles":
        return self.strategy


class _GivenBundles(PGStrategy):
    def __init__(self, settings: Any, bundles: Sequence[Bundle], *, share: Share) -> None:
        group = bundles[0].placement_group
        super().__init__(
            settings=settings,
            num_workers=len(bundles),
            use_gpu=share.gpus > 0,
            cpus_per_worker=share.cpus,
            gpus_per_worker=1,
            placement_group=group,
        )
        self._bundles = bundles
        # As if the strategy had made the group: worker r then runs on bundle r.
        self._created_placement_group = True
        self._in_order = all(b.placement_group is group and b.index == rank for rank, b in enumerate(bundles))

    def create_workers(self) -> tuple[list[Any], list[Any]]:
        """The workers, and one of each node."""
        if self._in_order:
            return super().create_workers()
        # Horovod places workers in one group only. Other bundles are those of worlds that were split, without GPUs.
        self.workers = [
            ray.remote(BaseHorovodWorker)
            .options(
                num_cpus=self.cpus_per_worker,
                placement_group=bundle.placement_group,
                placement_group_bundle_index=bundle.index,
                placement_group_capture_child_tasks=False,
            )
            .remote(world_rank=rank, world_size=self.num_workers)
            for rank, bundle in enumerate(self._bundles)
        ]
        return self.workers, self.get_node_workers(self.workers)

    def shutdown(self) -> None:
        """Forget the workers; the reservation releases the bundles."""
        self.workers = []
