"""One attempt of a job: takes or starts a Horovod world, calls the target, reports how it ended."""

import logging
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from traceback import format_exception
from typing import Any

import ray

from cluster.config import ClusterConfig
from cluster.environment import worker_environment
from cluster.liveness import worker
from cluster.liveness.fence import Fence
from cluster.liveness.stack_traces import not_in_a_collective, take_stacks
from cluster.liveness.watch import Hang, Watch
from cluster.on_ray.hosts import Nodes
from cluster.on_ray.reports import Failed, Gatherer, first_line
from cluster.on_ray.worlds.processes import Processes
from cluster.on_ray.worlds.reservation import Bundles, Reservation, check_devices
from cluster.on_ray.worlds.warm import WarmWorlds
from cluster.on_ray.worlds.world import END_S, Executor, World
from cluster.schedule.job import Ended, Failure, JobSpec, Started, Worker
from cluster.schedule.slots import Group
from data_tools.errors import UserError
from data_tools.files import write_json

logger = logging.getLogger(__name__)

LOOPBACK_INTERFACE = "lo"
ANSWER_S = 20.0
"""How long an idle world may take to answer; without an answer the job starts a new one."""
ATTEMPT = "attempt.json"
"""File in a job's folder: the token of the attempt that may write there (see `cluster.liveness.fence`)."""

Report = Callable[[Started | Ended], None]


@dataclass(frozen=True)
class Site:
    """What all attempts of a driver share. executor: makes what starts a world's workers. fences: the driver's."""

    config: ClusterConfig
    nodes: Nodes
    executor: Callable[..., Executor]
    warm: WarmWorlds = field(default_factory=WarmWorlds)
    bundles: Bundles = field(default_factory=Bundles)
    fences: Sequence[Fence] = ()


class Attempt:
    """A thread of the driver that follows one attempt from its reservation to its end.

    fresh: whether it starts new workers even where idle ones wait on its slots.
    """

    def __init__(self, job: JobSpec, group: Group, *, site: Site, fresh: bool = False) -> None:
        self._job, self._group, self._site, self._config = job, group, site, site.config
        self._fresh = fresh or not job.reuse_workers
        self._world: World = self._new_world()
        self._workers: tuple[Worker, ...] = ()
        self._processes: Processes | None = None
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"attempt-{job.name}", daemon=True)
        self._report: Report = lambda news: None
        self._reclaimed: str | None = None
        self._left_world = False
        self.killed = False
        self.over = False
        """Whether its end has been reported."""

    def begin(self, report: Report) -> None:
        """Start the thread; it calls `report` with `Started` at most once and with `Ended` once."""
        self._report = report
        self._thread.start()

    def request_stop(self) -> bool:
        """Request that the target saves and exits; `Ended` then follows. False: the target does not run yet."""
        if self._left_world:
            return True  # It has ended, and the processes may be another job's by now.
        if self._processes is None:
            return False
        self._processes.send(signal.SIGTERM)
        return True

    def leave(self, leaving: Mapping[str, str]) -> None:
        """Save and end, where a rank runs on one of the nodes `leaving` (node id: notice); call it until it is over."""
        found = {node.name: leaving[node.node_id] for node in self._world.by_rank if node.node_id in leaving}
        if found and not self._reclaimed and not self.over:
            # First: the attempt may end before the request returns.
            self._reclaimed = "; ".join(f"left {name}: {notice}" for name, notice in sorted(found.items()))
            if not self.request_stop():
                self._reclaimed = None

    def kill(self) -> None:
        """Kill the workers; the thread then ends (see `join`)."""
        self.killed = True
        if not self._left_world:
            self._world.kill()

    def join(self) -> bool:
        """Wait up to END_S seconds for the thread to release everything and end; whether it has."""
        self._thread.join(timeout=END_S)
        ended = not self._thread.is_alive()
        if not ended:
            logger.warning(
                "%s: the killed attempt has not ended after %g s; it may hold its slots", self._job.name, END_S
            )
        return ended

    def _run(self) -> None:
        ended = Ended(self._job.name, failure=Failure("start", "the attempt was killed"))
        try:
            begun = time.monotonic()
            reused = self._take_warm_world()
            placed_s = 0.0 if reused else self._start_new_world()
            self._report(Started(self._job.name, self._workers, placed_s, time.monotonic() - begun, reused))
            ended = Ended(self._job.name, value=self._call())
        except Failed as failed:
            ended = Ended(self._job.name, failure=self._after_notice(failed.failure))
        except UserError as error:
            ended = Ended(self._job.name, failure=Failure("user", str(error)))
        # The boundary of the thread: without an `Ended` the driver would wait forever.
        except Exception as error:  # noqa: BLE001
            message = f"{type(error).__name__}: {error}"
            ended = Ended(self._job.name, failure=Failure("raised", message, "".join(format_exception(error))))
        finally:
            self._leave_world(succeeded=ended.failure is None)
            self.over = True
            self._report(ended)

    def _leave_world(self, *, succeeded: bool) -> None:
        """Keep the world for another job, or kill it; no job gets the processes of a failed attempt."""
        if succeeded and self._job.reuse_workers and not self.killed:
            self._left_world = True
            self._site.warm.give(self._world)
            return
        self._world.kill()
        if not succeeded:
            self.end_processes()

    def _after_notice(self, failure: Failure) -> Failure:
        """The failure of an attempt that left a host, in time or not, is the cloud's."""
        if self._reclaimed is None or failure.kind not in ("stopped", "died", "hung"):
            return failure
        saved = "saved" if failure.kind == "stopped" else f"not saved at the end ({failure.line()})"
        return Failure("reclaimed", f"{self._reclaimed}; {saved}")

    def end_processes(self) -> None:
        """Kill the workers of a failed attempt, so that none writes when the next attempt starts."""
        if self._processes is not None and (left := self._processes.end(END_S)):
            logger.warning("%s: workers %s have not ended", self._job.name, left)

    def _new_world(self) -> World:
        job, site = self._job, self._site
        reservation = Reservation(
            job.name, self._group, nodes=site.nodes, config=site.config, gpu=job.gpu, bundles=site.bundles
        )
        return World(self._group, reservation)

    def _take_warm_world(self) -> bool:
        """Take the idle world on this attempt's slots, if there is one that answers; whether it did.

        Kills all other idle worlds that hold one of the slots.
        """
        new = self._world
        new.find_nodes()
        warm = self._site.warm.take(self._group, new.by_rank, new.share)
        if warm is None:
            return False
        if self._fresh:
            warm.end()
            return False
        self._world = warm
        until = time.monotonic() + ANSWER_S

        def look() -> None:
            self._raise_if_killed()
            if time.monotonic() > until:
                raise Failed(Failure("start", "no answer"))

        try:
            self._prepare(look)
        except (Failed, ray.exceptions.RayError, OSError) as error:
            self._world = new
            warm.end()
            self._raise_if_killed()
            if isinstance(error, Failed) and error.failure.kind == "user":
                raise
            logger.info("%s: idle workers are not reused (%s)", self._job.name, first_line(error))
            return False
        return True

    def _start_new_world(self) -> float:
        """Reserve the slots, start the workers, import the target's module; seconds until the slots were reserved."""
        placed_s = self._world.hold(self._raise_if_killed)
        limit_s = self._config.start_timeout_s
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._world.kill()

        def look() -> None:
            self._raise_if_killed()
            if late.is_set():
                raise TimeoutError

        timer = threading.Timer(limit_s, give_up)
        timer.start()
        try:
            self._world.start(self._site.executor, timeout_s=limit_s, look=look)
            self._prepare(self._raise_if_killed)
        except Failed as failed:
            failure = Failure("start", f"not up after {limit_s} s") if late.is_set() else failed.failure
            raise Failed(replace(failure, kind="user" if failure.kind == "user" else "start")) from None
        except (ray.exceptions.RayError, TimeoutError, OSError) as error:
            message = f"not up after {limit_s} s" if late.is_set() else first_line(error)
            raise Failed(Failure("start", message)) from None
        finally:
            timer.cancel()
        return placed_s

    def _prepare(self, look: Callable[[], None]) -> None:
        """Set the workers up for the target and import its module in each."""
        reports = self._gatherer(look).gather(self._world.run_remote(worker.prepare, args=[self._order()]))
        self._workers = self._check_workers(reports)
        self._processes = Processes(self._workers, self._world.by_rank, nodes=self._site.nodes)
        self._world.processes = self._processes

    def _check_workers(self, reports: Sequence[dict[str, Any]]) -> tuple[Worker, ...]:
        """The workers by rank, from their reports; each must run where its slot is, and see the GPUs of the job."""
        workers = []
        for report, node in zip(reports, self._world.by_rank, strict=True):
            if report.pop("node") != node.node_id:
                raise RuntimeError(f"rank {report['rank']} is not on {node.name}, where its slot is")
            workers.append(Worker(host=node.name, **report))
        if self._world.share.gpus:
            check_devices(workers)
        return tuple(workers)

    def _order(self) -> worker.WorkerOrder:
        """What every worker gets before it imports the target's module."""
        share = self._world.share
        several_hosts = len(self._group.hosts) > 1
        interface = self._config.interface or (None if several_hosts else LOOPBACK_INTERFACE)
        return {
            "target": self._job.target,
            "alone": self._world.alone,
            "environment": worker_environment(self._config, threads=share.threads, gpu=share.gpus > 0),
            "interface": interface,
            "addresses": [node.address for node in self._world.by_rank],
            "bindings": self._bindings() if self._config.bind_cores else None,
            "logs": self._job.logs,
            "fences": [vars(fence) for fence in [*self._site.fences, *self._own_fence()]],
        }

    def _bindings(self) -> list[tuple[int, int]]:
        """By rank: its slot on the host, and the host's number of slots."""
        slots = zip(self._group.slots, self._world.by_rank, strict=True)
        return [(slot.index, node.slots) for slot, node in slots]

    def _own_fence(self) -> list[Fence]:
        """Make this attempt the only one that may write in the job's folder."""
        if self._job.logs is None:
            return []
        fence = Fence(str(Path(self._job.logs) / ATTEMPT), uuid.uuid4().hex)
        write_json(Path(fence.path), {"token": fence.token})
        return [fence]

    def _call(self) -> Any:
        """Call the target on all ranks; what rank 0 returned."""
        if self._job.heartbeats is not None:
            pids = [worker.pid for worker in self._workers]
            self._watch = Watch(Path(self._job.heartbeats), pids, limits=self._config.limits, now=time.monotonic())
        arguments = [self._job.target, self._job.payload]
        return self._gatherer().gather(self._world.run_remote(worker.call, args=arguments))[0]["value"]

    def _gatherer(self, look: Callable[[], None] | None = None) -> Gatherer:
        hosts = [node.name for node in self._world.by_rank]
        return Gatherer(hosts, self._job.logs, look=look or self._look, suspect=self._suspect)

    def _look(self) -> None:
        self._raise_if_killed()
        if self._watch is not None and (hang := self._watch.look(time.monotonic())):
            raise Failed(self._hung(hang))

    def _suspect(self, ranks: Sequence[int]) -> Hang | None:
        return self._watch.suspect(ranks, time.monotonic()) if self._watch is not None else None

    def _hung(self, hang: Hang) -> Failure:
        """A hang as a failure, with the stack of the rank that is the cause, if it still writes one."""
        gatherer, stacks = self._gatherer(), self._stacks()
        outsider = not_in_a_collective(stacks)
        if self._watch is not None and outsider is not None and hang.rank in stacks:
            hang = self._watch.about(outsider, time.monotonic())
        stack = stacks.get(hang.rank)
        return Failure(
            "hung",
            hang.message,
            traceback=f"its stack, innermost call first:\n{stack}" if stack else None,
            rank=hang.rank,
            host=gatherer.hosts[hang.rank],
            log=gatherer.log(hang.rank),
            also=hang.also,
        )

    def _stacks(self) -> dict[int, str]:
        if self._processes is None or self._job.logs is None:
            return {}
        processes = self._processes
        logs = [Path(self._job.logs) / f"rank-{rank}.txt" for rank in range(len(self._workers))]
        return take_stacks(logs, lambda: processes.send(worker.DUMP_SIGNAL))

    def _raise_if_killed(self) -> None:
        if self.killed:
            raise Failed(Failure("start", "the attempt was killed"))
