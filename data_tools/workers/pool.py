"""Worker processes that may crash, hang or be killed without ending the job.

Workers are new interpreters that import only what their target needs: no fork, which the threads of TensorFlow and Ray
do not survive, and no re-import of the caller's main module. A task is a sequence of items. An item that kills its
process twice is skipped with the reason, and the rest of the task is done.
"""

import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from data_tools.errors import UserError
from data_tools.files import PROJECT_ROOT
from data_tools.workers.child import STATUS_BYTES, STATUS_WORDS

_POISON_AFTER = 2
"""Deaths at an item until it is skipped; a single one may be a kill from outside."""
_GIVE_UP_AFTER = 3
"""Deaths of a task outside any item until the job fails."""
_TICK_S = 0.2
_EXIT_S = 5.0
"""Time that a worker has to exit after it closed its channel."""
_ERROR_BYTES = 2**16
"""Bytes that are read from the end of the workers' stderr."""


@dataclass
class _Task:
    payload: Any
    crashes: Counter[int] = field(default_factory=Counter)
    poison_items: dict[int, str] = field(default_factory=dict)
    deaths: int = 0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    slot: int
    task: _Task | None = None
    ready: bool = False


class Pool:
    """`workers` processes that run `target` ("module:function").

    The function gets `setup` once and returns a handler `(payload, items) -> answer`. Use it as a context: no process
    remains on exit.
    """

    def __init__(self, target: str, setup: Any, *, workers: int, item_timeout_s: float) -> None:
        """Processes start with the first tasks. `item_timeout_s`: seconds for an item before its process is killed."""
        self._target, self._setup, self._timeout_s = target, setup, item_timeout_s
        self._size = workers
        self._waiting: deque[_Task] = deque()
        self._workers: dict[int, _Worker] = {}
        self._file = _scratch_file()
        self._file.truncate(workers * STATUS_BYTES)
        self._status = memoryview(mmap.mmap(self._file.fileno(), 0)).cast("q")
        self._errors = _scratch_file()

    def __enter__(self) -> "Pool":
        """The pool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all workers; they write files atomically, so no partial file remains."""
        for worker in self._workers.values():
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.wait()
        self._workers.clear()
        self._file.close()
        self._errors.close()

    def submit(self, payload: Any, *, first: bool = False) -> None:
        """Queue a task; with `first`, ahead of all others."""
        (self._waiting.appendleft if first else self._waiting.append)(_Task(payload))

    def items_at_work(self) -> int:
        """Finished items of unanswered tasks."""
        return sum(self._status[STATUS_WORDS * w.slot + 1] for w in self._workers.values() if w.task)

    def results(self) -> Iterator[tuple[Any, Any] | None]:
        """Yield (payload, answer) as tasks finish, and None every 0.2 s without a result; ends when no task is left.

        Tasks may be submitted during the iteration.

        Raises:
            UserError: a worker raised one, cannot write, cannot start, or dies repeatedly.
            RuntimeError: a handler raised another exception, which is a bug; the text is its traceback.
        """
        while True:
            self._hand_out()
            busy = [worker.connection for worker in self._workers.values()]
            if not self._waiting and not any(worker.task for worker in self._workers.values()):
                return
            ready = wait(busy, _TICK_S)
            if not ready:
                yield None
            for worker in [worker for worker in self._workers.values() if worker.connection in ready]:
                try:
                    kind, answer = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    self._reap(worker)
                    continue
                if kind == "ready":
                    worker.ready = True
                    continue
                _raise(kind, answer)
                task, worker.task = worker.task, None
                if task is not None:
                    yield task.payload, answer

    def _hand_out(self) -> None:
        for slot in range(self._size):
            if not self._waiting:
                return
            worker = self._workers.get(slot) or self._start(slot)
            if worker.task is None:
                task = self._waiting.popleft()
                # The worker is idle; its count belongs to its last task.
                self._clear(slot)
                try:
                    worker.connection.send((task.payload, task.poison_items))
                except (BrokenPipeError, ConnectionResetError):
                    # It died while idle; another worker gets the task.
                    self._waiting.appendleft(task)
                    self._reap(worker)
                    continue
                worker.task = task

    def _start(self, slot: int) -> _Worker:
        ours, theirs = socket.socketpair()
        paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        arguments = [theirs.fileno(), self._file.fileno(), slot, self._target, self._timeout_s]
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "data_tools.workers.child", *map(str, arguments)],
                pass_fds=(theirs.fileno(), self._file.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | _ENVIRONMENT,
            )
        self._clear(slot)
        worker = self._workers[slot] = _Worker(process, Connection(ours.detach()), slot)
        worker.connection.send(self._setup)
        return worker

    def _clear(self, slot: int) -> None:
        self._status[STATUS_WORDS * slot] = self._status[STATUS_WORDS * slot + 1] = 0

    def _reap(self, worker: _Worker) -> None:
        """Requeue the task of a dead worker and count the crash of its item."""
        worker.connection.close()
        del self._workers[worker.slot]
        reason = _cause(_exit_status(worker.process), self._timeout_s)
        task = worker.task
        if not worker.ready and worker.process.returncode > 0:
            raise UserError(f"a worker process cannot start: {self._last_error()}")
        if task is None:
            return
        item = self._status[STATUS_WORDS * worker.slot] - 1
        if item < 0:
            task.deaths += 1
            if task.deaths >= _GIVE_UP_AFTER:
                raise UserError(f"worker processes die repeatedly ({reason}); check that the host has enough memory")
        else:
            task.crashes[item] += 1
            if task.crashes[item] >= _POISON_AFTER:
                task.poison_items[item] = reason
        self._waiting.appendleft(task)

    def _last_error(self) -> str:
        # The workers write at the offset that they share with this file: `seek` would move it under them.
        descriptor = self._errors.fileno()
        size = os.fstat(descriptor).st_size
        raw = os.pread(descriptor, _ERROR_BYTES, max(0, size - _ERROR_BYTES))
        lines = raw.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no error output"


def _scratch_file() -> IO[bytes]:
    """A file without a name: in the folder for temporary files, or in memory where there is none to write."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return os.fdopen(os.memfd_create("regionstack-workers"), "w+b")


_ENVIRONMENT = {
    # There is one process for each core, so libraries get one thread.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # By default, glibc returns large blocks to the kernel, which has to clear them again for the next page.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}


def _exit_status(process: subprocess.Popen[bytes]) -> int:
    """Exit status of a process whose channel is closed; killed if it does not exit by itself."""
    try:
        # An interpreter closes the channel before it has written its traceback: a kill would lose both.
        return process.wait(_EXIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _raise(kind: str, answer: Any) -> None:
    if kind == "user_error":
        raise UserError(answer)
    if kind == "os_error":
        _, reason, name = answer
        raise UserError(f"{name or 'writing'}: {reason}; fix it and run the same command again to resume")
    if kind == "bug":
        raise RuntimeError(f"in a worker process:\n{answer}")


def _cause(status: int, timeout_s: float) -> str:
    """The reason why a process ended."""
    if status == -signal.SIGALRM:
        return f"took longer than {timeout_s:g} s"
    if status < 0:
        return f"the decoder died of {signal.Signals(-status).name}"
    return f"the decoder ended its process (status {status})"
