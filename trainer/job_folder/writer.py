"""Writing checkpoints beside the training: a thread of its own, one checkpoint at a time."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from trainer.job_folder.checkpoint import CheckpointFolder, Snapshot

logger = logging.getLogger(__name__)


class BackgroundWriter:
    """Writes snapshots in a thread, so that training waits only where the disk is slower than it.

    Left as a context, it has written what it was given, also where an error is the reason for leaving: the attempt
    that comes next, in this process or another, finds the checkpoint whole and nobody writing.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, snapshot: Snapshot, *, best: int | None) -> None:
        """Begin to write `snapshot`, after the one before it; its arrays must stay as they are until `wait`.

        Raises:
            UserError: the one before it could not be written.
        """
        self.begin(lambda: self._folder.write(snapshot, best=best))

    def begin(self, task: Callable[[], object]) -> None:
        """Run `task` in the thread, after what it does now; raises what that raised."""
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
            UserError: one could not be written.
        """
        if self._thread is not None and self._thread.is_alive():
            return True
        self.wait()
        return False

    def wait(self) -> None:
        """Return when nothing is being written any more; raise what the last write raised."""
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
        # The error that ends the job is the one to tell; the writer's own stands in the log.
        try:
            self.wait()
        except BaseException as unwritten:  # noqa: BLE001 - the first error goes on to the caller
            logger.warning("and the last checkpoint was not written: %s", unwritten)
