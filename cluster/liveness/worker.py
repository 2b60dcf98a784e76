"""Runs inside a worker process, before and around the target; plain data in, plain data out.

A process may run several jobs, one after the other; `prepare` then replaces what the job before has set. Imports
nothing heavy: the target's module imports what it needs.
"""

import contextlib
import faulthandler
import functools
import importlib
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TypedDict

from cluster.interface import interface_names, interface_of
from cluster.liveness import process
from cluster.liveness.fence import Fence, FenceWatch
from cluster.schedule.slots import cores_of
from data_tools.errors import NumericError, Stopped, UserError, is_lost_peer
from data_tools.files import PROJECT_ROOT
from data_tools.protocol import fence_s
from data_tools.stop import StopRequest

DUMP_SIGNAL = signal.SIGUSR1
"""On this signal a worker writes its Python stack to its output, and continues."""


WORLD_OF_ONE = {
    f"HOROVOD_{scope}{what}": str(value)
    for scope in ("", "LOCAL_", "CROSS_")
    for what, value in (("RANK", 0), ("SIZE", 1))
}
"""What Horovod reads about a world with a single process."""
RENDEZVOUS = ("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT")
"""Where the ranks of a world find each other."""


class WorkerOrder(TypedDict):
    """What `prepare` gets, the same on every rank.

    target: `module:function`. alone: whether the process leaves a larger world and is one of its own from now on.
    environment: variables to set. interface: the one for Gloo and NCCL; null takes the one that holds this host's
    address. addresses: Ray's address of each rank's host. bindings: by rank, the slot and the number of slots that
    share the host's cores; null does not bind. logs: folder of the ranks' output, or null.
    fences: see `cluster.liveness.fence`.
    """

    target: str
    alone: bool
    environment: dict[str, str]
    interface: str | None
    addresses: list[str]
    bindings: list[tuple[int, int]] | None
    logs: str | None
    fences: list[dict[str, str]]


def prepare(order: WorkerOrder) -> dict[str, Any]:
    """Set this process up for `order["target"]` and import its module; the report says where it runs.

    Raises nothing: a failure is a report with the key `failure`, as of `call`.
    """
    _listening().close()
    _listening().enter_context(StopRequest([signal.SIGTERM]))
    if order["alone"]:
        leave_world()
    rank = int(os.environ["HOROVOD_RANK"])
    os.environ.update(order["environment"])
    if order["bindings"]:
        bind_to_slot(*order["bindings"][rank])
    _put_project_on_path(str(PROJECT_ROOT))
    _send_output_to(Path(order["logs"]) / f"rank-{rank}.txt" if order["logs"] else None)
    # A crash in a library then leaves the Python stack in that output.
    faulthandler.enable(2)
    # The driver requests the stack of a worker that hangs.
    faulthandler.register(DUMP_SIGNAL, 2, all_threads=False)
    fences = [Fence.from_plain(fence) for fence in order["fences"]]
    _fence_watch().follow(fences, every_s=fence_s(rank, len(order["addresses"])))
    began = time.monotonic()
    # The process boundary: whatever is raised here, mostly by an import, reaches the driver as data.
    try:
        check_own_name(socket.gethostname(), several_hosts=len(set(order["addresses"])) > 1)
        if "HOROVOD_GLOO_IFACE" not in order["environment"]:
            set_interface(order["interface"] or find_interface(order["addresses"][rank]))
        _resolve(order["target"])
    except Exception as error:  # noqa: BLE001
        return _failure(error, kind="start")
    return {
        "rank": rank,
        "node": os.environ["HOROVOD_HOSTNAME"],
        "pid": os.getpid(),
        "ticks": process.ticks_of(os.getpid()) or 0,
        "machine": process.machine(),
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "import_s": round(time.monotonic() - began, 3),
    }


def leave_world() -> None:
    """Make this process a world of one, to Horovod and to what reads its variables.

    Horovod leaves when all ranks do or are gone: the first one that leaves takes the others with it, idle or in a
    world of one already. A stopped process makes this wait.
    """
    horovod = sys.modules.get("horovod.tensorflow")
    if horovod is not None and horovod.is_initialized() and horovod.size() > 1:
        horovod.shutdown()
    os.environ.update(WORLD_OF_ONE)
    for name in RENDEZVOUS:
        os.environ.pop(name, None)


def bind_to_slot(slot: int, slots: int) -> None:
    """Bind this process, with the threads that already run, to the cores of one of the host's `slots`."""
    cores = cores_of(slot, slots, cores=_cores_at_start())
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # It has ended meanwhile.
            os.sched_setaffinity(int(thread.name), cores)


@functools.cache
def _cores_at_start() -> tuple[int, ...]:
    """The cores that this process was given, before it was bound to a part of them."""
    return tuple(sorted(os.sched_getaffinity(0)))


@functools.cache
def _output_at_start() -> tuple[int, int]:
    """Copies of this process's first standard output and error."""
    return os.dup(1), os.dup(2)


@functools.cache
def _listening() -> contextlib.ExitStack:
    """Holds what records stop requests from `prepare` on, so that the target finds those that came before it started.

    Ray's own handler would end the process, and a job that has only begun to start would count as one that died.
    """
    return contextlib.ExitStack()


@functools.cache
def _fence_watch() -> FenceWatch:
    return FenceWatch()


def _put_project_on_path(root: str) -> None:
    if root not in sys.path:
        sys.path.insert(0, root)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if paths[0] != root:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, *paths]))


def call(target: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Run the target; the report holds `value` (rank 0's; null on others) or `failure`, see `RankFailure`."""
    try:
        with _listening():
            value = _resolve(target)(payload)
    # The process boundary, as above.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return _failure(error, kind="raised")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
    return {"value": value if os.environ["HOROVOD_RANK"] == "0" else None}


def _resolve(target: str) -> Any:
    module, colon, function = target.partition(":")
    if not colon:
        raise ValueError(f"target {target!r}: must have the form module:function")
    return getattr(importlib.import_module(module), function)


def check_own_name(name: str, *, several_hosts: bool) -> None:
    """Check that this host's own `name` resolves to an address that the world's ranks can use.

    Horovod 0.28.1 uses the configured interface for its first connection only; gradients go over the one of the host's
    own name, and where that does not resolve the process ends with a signal.

    Raises:
        UserError: the name does not resolve, or to an address that other hosts cannot reach.
    """
    advice = f"add it to /etc/hosts there (ADDRESS {name})"
    try:
        address = socket.gethostbyname(name)
    except OSError:
        raise UserError(f"{name}: the host's own name does not resolve, and Horovod needs that; {advice}") from None
    if several_hosts and address.startswith("127."):
        raise UserError(f"{name}: the host's own name resolves to {address}, which no other host reaches; {advice}")


def set_interface(name: str) -> None:
    """Make Gloo and NCCL use the network interface `name`."""
    os.environ["HOROVOD_GLOO_IFACE"] = name
    os.environ["NCCL_SOCKET_IFNAME"] = f"={name}"


def find_interface(address: str) -> str:
    """Name of the network interface of this host that holds the IPv4 `address`.

    Raises:
        UserError: none does.
    """
    name = interface_of(address)
    if name is None:
        raise UserError(
            f"{socket.gethostname()}: no network interface holds {address}, Ray's address of this host "
            f"(found {', '.join(interface_names())}); set cluster.interface"
        )
    return name


def _send_output_to(path: Path | None) -> None:
    """Append this process's standard output and error, of Python and of libraries, to `path`; None: as at its start."""
    sys.stdout.flush()
    sys.stderr.flush()
    first = _output_at_start()
    if path is None:
        os.dup2(first[0], 1)
        os.dup2(first[1], 2)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _failure(error: BaseException, *, kind: str) -> dict[str, Any]:
    text = str(error).strip()
    user = isinstance(error, UserError)
    if isinstance(error, Stopped):
        kind = "stopped"
    elif user:
        # A value that is not finite may come from a faulty chip; a second attempt shows whether it does.
        kind = "raised" if isinstance(error, NumericError) else "user"
    message = text if user or kind == "stopped" else f"{type(error).__name__}: {text}"
    lost_peer = kind != "stopped" and is_lost_peer(error)
    return {
        "failure": {
            "kind": kind,
            # Horovod's own text is a paragraph long, and stands in the traceback.
            "message": "another rank is gone or silent; Horovod shut down" if lost_peer else message,
            "traceback": None if user or kind == "stopped" else "".join(traceback.format_exception(error)),
            "lost_peer": lost_peer,
        }
    }
