"""What runs inside a worker process, before and around the target; plain data in, plain data out.

Nothing heavy is imported here: the target's module brings what it needs.
"""

import contextlib
import faulthandler
import fcntl
import importlib
import os
import signal
import socket
import struct
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from cluster.liveness import process
from cluster.liveness.fence import Fence, keep_inside
from cluster.schedule.slots import cores_of
from data_tools.errors import NumericError, Stopped, UserError, is_lost_peer
from data_tools.files import PROJECT_ROOT

SIOCGIFADDR = 0x8915
DUMP_SIGNAL = signal.SIGUSR1
"""On this signal a worker writes its Python stack to its output, and goes on."""


def prepare(order: dict[str, Any]) -> dict[str, Any]:
    """Set this process up for `order["target"]` and import its module; the report says where it runs.

    Keys of `order`: `target`; `environment`, variables to set; `interface`, for Gloo and NCCL, or null for
    the one that holds this host's address among `addresses`, which are by rank; `bindings`, by rank the slot and
    the number of slots that share the host's cores, or null; `logs`, folder of the ranks' output, or null;
    `fences`, by which a worker that was replaced learns of it (see `cluster.liveness.fence`).
    """
    rank = int(os.environ["HOROVOD_RANK"])
    os.environ.update(order["environment"])
    if order["bindings"]:
        bind_to_slot(*order["bindings"][rank])
    root = str(PROJECT_ROOT)
    if root not in sys.path:
        sys.path.insert(0, root)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    if order["logs"]:
        _send_output_to(Path(order["logs"]) / f"rank-{rank}.txt")
    # A crash in a library then leaves its Python stack in that output.
    faulthandler.enable(2)
    # The driver asks for the stack of a worker that hangs.
    faulthandler.register(DUMP_SIGNAL, 2, all_threads=False)
    keep_inside([Fence.of(fence) for fence in order["fences"]])
    began = time.monotonic()
    # The process boundary: whatever is raised here, by an import above all, has to reach the driver as data.
    try:
        check_own_name(socket.gethostname(), several_hosts=len(set(order["addresses"])) > 1)
        if "HOROVOD_GLOO_IFACE" not in order["environment"]:
            set_interface(order["interface"] or interface_of(order["addresses"][rank]))
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


def bind_to_slot(slot: int, slots: int) -> None:
    """Keep this process, threads that run already included, on the cores of one of the host's `slots`."""
    cores = cores_of(slot, slots, sorted(os.sched_getaffinity(0)))
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # It has ended meanwhile.
            os.sched_setaffinity(int(thread.name), cores)


def call(target: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Run the target; the report holds `value` (of rank 0 only) or `failure`."""
    try:
        value = _resolve(target)(payload)
    # The process boundary again.
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
        raise ValueError(f"target {target!r}: write it as module:function")
    return getattr(importlib.import_module(module), function)


def check_own_name(name: str, *, several_hosts: bool) -> None:
    """See to it that this host's own `name` leads to an address that the world's ranks can use.

    Horovod 0.28.1 takes the interface that it is told for its first connection only; the one over which
    gradients go is that of the host's own name, and where that has no address the process ends with a signal.

    Raises:
        UserError: the name has no address, or one that other hosts cannot reach.
    """
    mend = f"give it one in /etc/hosts there (ADDRESS {name})"
    try:
        address = socket.gethostbyname(name)
    except OSError:
        raise UserError(f"{name}: the host's own name has no address, and Horovod needs one; {mend}") from None
    if several_hosts and address.startswith("127."):
        raise UserError(f"{name}: the host's own name leads to {address}, where no other host reaches it; {mend}")


def set_interface(name: str) -> None:
    """Let Gloo and NCCL talk over the network interface `name`."""
    os.environ["HOROVOD_GLOO_IFACE"] = name
    os.environ["NCCL_SOCKET_IFNAME"] = f"={name}"


def interface_of(address: str) -> str:
    """Name of the network interface of this machine that holds the IPv4 `address`.

    Raises:
        UserError: none does.
    """
    names = [name for _, name in socket.if_nameindex()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for name in names:
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(any_socket.fileno(), SIOCGIFADDR, request)
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    raise UserError(
        f"{socket.gethostname()}: no network interface holds {address}, Ray's address of this host "
        f"(there are {', '.join(names)}); name one with cluster.interface"
    )


def _send_output_to(path: Path) -> None:
    """Append this process's standard output and error, of Python and of libraries, to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _failure(error: BaseException, *, kind: str) -> dict[str, Any]:
    text = str(error).strip()
    user = isinstance(error, UserError)
    if isinstance(error, Stopped):
        kind = "stopped"
    elif user:
        # A number that is not finite may come from a broken chip: that is found out by a second try.
        kind = "raised" if isinstance(error, NumericError) else "user"
    message = text if user or kind == "stopped" else f"{type(error).__name__}: {text}"
    lost_peer = kind != "stopped" and is_lost_peer(error)
    return {
        "failure": {
            "kind": kind,
            # Horovod's own words are a paragraph, and stand in the traceback.
            "message": "another rank is gone or silent, and Horovod shut down" if lost_peer else message,
            "traceback": None if user or kind == "stopped" else "".join(traceback.format_exception(error)),
            "lost_peer": lost_peer,
        }
    }
