"""Background checkpoint writer: one thread, one checkpoint at a time."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from trainer.job_folder.checkpoint import CheckpointFolder, Snapshot

logger = logging.getLogger(__name__)


class BackgroundWriter:
    """Writes snapshots in a thread; training waits only if the disk is slower than the checkpoint interval.

    On exit, also after an error, everything submitted is on disk and nothing is being written: the next attempt, in
    this process or another one, finds a complete checkpoint.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, snapshot: Snapshot, *, best: int | None) -> None:
        """Start writing `snapshot` once the previous one is written; its arrays must not change until `wait` returns.

        best: step of the best epoch's checkpoint, which is kept.

        Raises:
            UserError: the previous one could not be written.
        """
        self.begin(lambda: self._folder.write(snapshot, best=best))

    def begin(self, task: Callable[[], object]) -> None:
        """Run `task` in the thread once the current task is done; re-raises what that one raised."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(task,), name="checkpoint")
        self._thread.start()

    def _run(self, task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error

    def busy(self) -> bool:
        """Whether a checkpoint is being written.

        Raises:
            UserError: the last one could not be written.
        """
        if self._thread is not None and self._thread.is_alive():
            return True
        self.wait()
        return False

    def wait(self) -> None:
        """Wait until nothing is being written; re-raises what the last task raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
            return
        # The error that ends the job is the one to report; the writer's own goes to the log.
        try:
            self.wait()
        except BaseException as unwritten:  # noqa: BLE001 - the first error propagates to the caller
            logger.warning("the last checkpoint was not written either: %s", unwritten)
