"""One attempt of a job: reserve its slots, start its Horovod world, call the target, tell how it ended."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import format_exception
from typing import Any, Protocol

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster import worker
from cluster.config import ClusterConfig
from cluster.failures import RankFailure, first_failure
from cluster.job import Ended, Failure, JobSpec, Started, Worker
from cluster.ray_hosts import Node, Nodes
from cluster.slots import Group
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

LOOPBACK_INTERFACE = "lo"
GRACE_S = 2.0
"""How long the other ranks are heard after the first failure, which may be a consequence of theirs."""
END_S = 10.0
"""How long killed workers may take to vanish."""
LOOK_S = 1.0
LEAST_CPUS = 0.001
TAIL_LINES = 15
TELL_FIRST_S = 5.0
TELL_EVERY_S = 30.0

Tell = Callable[[Started | Ended], None]


@dataclass(frozen=True)
class Share:
    """What one rank reserves: a GPU or none, and cores (a fraction where slots share a core)."""

    cpus: float
    gpus: int

    @property
    def threads(self) -> int:
        """Threads that use the share and no more."""
        return max(1, int(self.cpus))


class Executor(Protocol):
    """The part of Horovod's RayExecutor that an attempt needs."""

    def start(self) -> None:
        """Start the workers and tell each its place in the world."""
        ...

    def run_remote(self, fn: Callable[..., Any], args: list[Any]) -> list[Any]:
        """Call `fn(*args)` on all workers; references to what they return, by rank."""
        ...

    def kill(self) -> None:
        """End the workers and give back what they held."""
        ...


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Attempt:
    """A thread of the driver that sees one world through from its placement to its end."""

    def __init__(
        self,
        job: JobSpec,
        group: Group,
        *,
        nodes: Nodes,
        config: ClusterConfig,
        executor: Callable[..., Executor],
    ) -> None:
        self._job, self._group, self._config = job, group, config
        self._nodes, self._make_executor = nodes, executor
        self._by_rank: list[Node] = []
        self._executor: Executor | None = None
        self._placement_group: Any = None
        self._share = Share(0.0, 0)
        self._killing = threading.Lock()
        self._workers: tuple[Worker, ...] = ()
        self._thread = threading.Thread(target=self._run, name=f"attempt-{job.name}", daemon=True)
        self._tell: Tell = lambda news: None
        self.stopped = False

    def begin(self, tell: Tell) -> None:
        """Start the thread; `tell` hears `Started` once at most and `Ended` once, from that thread."""
        self._tell = tell
        self._thread.start()

    def stop(self) -> None:
        """Kill the workers; the thread then ends by itself (see `join`)."""
        self.stopped = True
        self._kill()

    def join(self) -> None:
        """Wait until all is given back."""
        self._thread.join(timeout=END_S)

    def _run(self) -> None:
        ended = Ended(self._job.name, failure=Failure("start", "the attempt was stopped"))
        try:
            begun = time.monotonic()
            placed_s = self._reserve()
            self._workers = self._start_world()
            self._tell(Started(self._job.name, self._workers, placed_s, time.monotonic() - begun))
            ended = Ended(self._job.name, value=self._call())
        except _Failed as failed:
            ended = Ended(self._job.name, failure=failed.failure)
        except UserError as error:
            ended = Ended(self._job.name, failure=Failure("user", str(error)))
        # The boundary of the thread: without an `Ended` the driver would wait for ever.
        except Exception as error:  # noqa: BLE001
            message = f"{type(error).__name__}: {error}"
            ended = Ended(self._job.name, failure=Failure("raised", message, "".join(format_exception(error))))
        finally:
            self._kill()
            if ended.failure is not None:
                self._end_processes()
            self._tell(ended)

    def _reserve(self) -> float:
        """Hold a placement group: one bundle a rank, on the group's hosts; the seconds that it took."""
        begun = time.monotonic()
        tell_at = begun + TELL_FIRST_S
        self._by_rank = self._find_nodes()
        self._share = share_of(self._by_rank)
        bundle = {"CPU": self._share.cpus} | ({"GPU": 1} if self._share.gpus else {})
        self._placement_group = ray.util.placement_group(
            [bundle] * len(self._by_rank),
            strategy="PACK",
            bundle_label_selector=[{"ray.io/node-id": node.node_id} for node in self._by_rank],
        )
        while not self._placement_group.wait(LOOK_S):
            self._leave_if_stopped()
            self._find_nodes()
            now = time.monotonic()
            if now - begun > self._config.busy_timeout_s:
                raise _Failed(Failure("start", f"{self._demand()} were not free for {now - begun:.0f} s"))
            if now >= tell_at:
                tell_at = now + TELL_EVERY_S
                logger.warning("%s waits for %s: in use by something else", self._job.name, self._demand())
        return time.monotonic() - begun

    def _find_nodes(self) -> list[Node]:
        """The nodes of the group by rank, as long as all of them are there."""
        alive = {node.name: node for node in self._nodes.alive()}
        if gone := [name for name in self._group.hosts if name not in alive]:
            raise _Failed(Failure("start", f"host {', '.join(gone)} is gone"))
        return [alive[slot.host] for slot in self._group.slots]

    def _demand(self) -> str:
        unit = "GPU" if self._share.gpus else f"x {self._share.cpus:g} core"
        return ", ".join(f"{count} {unit} on {host}" for host, count in self._group.hosts.items())

    def _start_world(self) -> tuple[Worker, ...]:
        """Start the workers and import the target's module in each; what they say of themselves, by rank."""
        limit_s = self._config.start_timeout_s
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._kill()

        timer = threading.Timer(limit_s, give_up)
        timer.start()
        try:
            executor = self._make_executor(
                self._placement_group, workers=len(self._by_rank), share=self._share, timeout_s=limit_s
            )
            self._executor = executor
            executor.start()
            reports = self._gather(executor.run_remote(worker.prepare, args=[self._order()]))
        except _Failed as failed:
            failure = Failure("start", f"not up after {limit_s} s") if late.is_set() else failed.failure
            raise _Failed(replace(failure, kind="user" if failure.kind == "user" else "start")) from None
        except (ray.exceptions.RayError, TimeoutError, OSError) as error:
            message = f"not up after {limit_s} s" if late.is_set() else _plainly(error)
            raise _Failed(Failure("start", message)) from None
        finally:
            timer.cancel()
        workers = []
        for report, node in zip(reports, self._by_rank, strict=True):
            if report.pop("node") != node.node_id:
                raise RuntimeError(f"rank {report['rank']} is not on {node.name}, where its slot is")
            workers.append(Worker(host=node.name, **report))
        self._check_devices(workers)
        return tuple(workers)

    def _order(self) -> dict[str, Any]:
        """What every worker is told before the target's module is imported; see `worker.prepare`."""
        threads = str(self._share.threads)
        environment = {
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "REGIONSTACK_THREADS": threads,
            "OMP_NUM_THREADS": threads,
        }
        environment |= self._config.horovod.environment()
        if not self._share.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = "-1"
        several_hosts = len(self._group.hosts) > 1
        interface = self._config.interface or (None if several_hosts else LOOPBACK_INTERFACE)
        return {
            "target": self._job.target,
            "environment": environment | self._config.environment,
            "interface": interface,
            "addresses": [node.address for node in self._by_rank],
            "logs": self._job.logs,
        }

    def _check_devices(self, workers: Sequence[Worker]) -> None:
        if not self._share.gpus:
            return
        for name, count in self._group.hosts.items():
            seen = {worker.devices for worker, node in zip(workers, self._by_rank, strict=True) if node.name == name}
            if len(seen) != 1 or len(set(next(iter(seen)).split(","))) != count:
                raise _Failed(Failure("start", f"{count} ranks on {name} were given the GPUs {sorted(seen)}"))

    def _call(self) -> Any:
        """Call the target on all ranks; what rank 0 returned."""
        if self._executor is None:
            raise RuntimeError("the world is not started")
        arguments = [self._job.target, self._job.payload]
        return self._gather(self._executor.run_remote(worker.call, args=arguments))[0]["value"]

    def _gather(self, refs: Sequence[Any]) -> list[dict[str, Any]]:
        """The reports of all ranks, by rank; the first failure ends it, GRACE_S later at most."""
        waiting = {ref: rank for rank, ref in enumerate(refs)}
        reports: dict[int, dict[str, Any]] = {}
        failures: list[RankFailure] = []
        until = float("inf")
        while waiting and time.monotonic() < until:
            ready, _ = ray.wait(list(waiting), timeout=LOOK_S)
            self._leave_if_stopped()
            for ref in ready:
                rank = waiting.pop(ref)
                report = self._report(ref, rank)
                if isinstance(report, RankFailure):
                    failures.append(report)
                    until = min(until, time.monotonic() + GRACE_S)
                else:
                    reports[rank] = report
        if failures:
            raise _Failed(first_failure(failures))
        return [reports[rank] for rank in range(len(refs))]

    def _report(self, ref: Any, rank: int) -> dict[str, Any] | RankFailure:
        log = str(Path(self._job.logs) / f"rank-{rank}.txt") if self._job.logs else None
        host = self._by_rank[rank].name
        try:
            report: dict[str, Any] = ray.get(ref)
        except ray.exceptions.RayActorError as error:
            return RankFailure(rank, host, "died", _death(str(error)), traceback=_tail(log), log=log)
        except ray.exceptions.RayError as error:
            return RankFailure(rank, host, "raised", _plainly(error), traceback=str(error), log=log)
        if "failure" in report:
            return RankFailure(rank, host, **report["failure"], log=log)
        return report

    def _leave_if_stopped(self) -> None:
        if self.stopped:
            raise _Failed(Failure("start", "the attempt was stopped"))

    def _kill(self) -> None:
        """End the workers and give back their slots; safe from any thread, and to repeat."""
        with self._killing:
            if self._executor is not None:
                self._executor.kill()
            if self._placement_group is not None:
                ray.util.remove_placement_group(self._placement_group)

    def _end_processes(self) -> None:
        """See to it that no worker of a failed attempt still runs, and writes, when the next one starts."""
        by_node: dict[str, list[int]] = {}
        for one, node in zip(self._workers, self._by_rank, strict=False):
            by_node.setdefault(node.node_id, []).append(one.pid)
        alive = {node.node_id: node for node in self._nodes.alive()}
        for node_id, pids in by_node.items():
            if node_id in alive:
                left = self._end_on(alive[node_id], pids)
                if left:
                    logger.warning("%s: workers %s on %s do not end", self._job.name, left, alive[node_id].name)

    def _end_on(self, node: Node, pids: list[int]) -> list[int]:
        if node.own:
            return worker.end_processes(pids, END_S)
        there = NodeAffinitySchedulingStrategy(node_id=node.node_id, soft=False)
        task = ray.remote(worker.end_processes).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
        with contextlib.suppress(ray.exceptions.RayError):
            left: list[int] = ray.get(task.remote(pids, END_S), timeout=3 * END_S)
            return left
        return pids


def share_of(nodes: Sequence[Node]) -> Share:
    """The share of each rank of a group on `nodes`: the smallest that one of these hosts offers."""
    cpus = min(node.cpus / node.slots for node in nodes)
    with_gpus = any(node.gpus for node in nodes)
    # A core feeds a GPU; to ask for more would only compete with other programs on the cluster.
    cpus = min(cpus, 1.0) if with_gpus else cpus
    # Ray counts in ten-thousandths; rounding up would leave the last slot without its share.
    return Share(cpus=max(LEAST_CPUS, math.floor(cpus * 10_000) / 10_000), gpus=int(with_gpus))


def _plainly(error: BaseException) -> str:
    """The first telling line of one of Ray's long errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _death(text: str) -> str:
    """Why an actor is dead, from the many lines that Ray says of it; it knows no exit status."""
    if "SYSTEM_ERROR" in text:
        return "the worker died: killed, out of memory, or crashed"
    if "node has died" in text:
        return "the worker's host is gone: down, cut off, or its Ray was stopped"
    because = text.rpartition("The actor is dead because ")[2].strip().partition(". ")[0].rstrip(".")
    return f"the worker died: {because}" if because else "the worker died"


def _tail(log: str | None) -> str | None:
    """The last lines of a rank's output, where that file can be seen from here."""
    if log is None:
        return None
    try:
        lines = Path(log).read_text(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return None
    return "\n".join(["last lines of its output:", *(f"  {line}" for line in lines)]) if lines else None
