"""Writing checkpoints beside the training: a thread of its own, one checkpoint at a time."""

import threading
from collections.abc import Callable

from trainer.checkpoint import CheckpointFolder, Snapshot


class BackgroundWriter:
    """Writes snapshots in a thread, so that training waits only where the disk is slower than it."""

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
