"""Large files written past the page cache, in a background thread.

Complete shard sets do not fit in memory, so caching their pages helps no reader; filling the cache and writing it back
costs the kernel more of a core than the copy itself: 0.7 ms for the 327 KB of a page in five regions, against 0.06 ms
(`os.fsync` included; ext4, Linux 6.18).
"""

import errno
import fcntl
import mmap
import os
from concurrent.futures import Executor, Future
from pathlib import Path

BLOCK_BYTES = 4 * 2**20
"""Size of one write: a multiple of every device's sectors, and large enough for network file systems to split."""
_ALIGNMENT = 4096
"""Direct writes start and end at multiples of this."""
_DIRECT = getattr(os, "O_DIRECT", 0)


class DirectFile:
    """A file that is written once, from its beginning.

    One block is filled while `background`, an executor of one thread, writes the one before it. Bytes that do not fill
    a block reach the disk with `close` only.
    """

    def __init__(self, path: Path, *, background: Executor) -> None:
        """Create the file, or empty an existing one.

        Raises:
            OSError: it cannot be created.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            self._file = os.open(path, flags | _DIRECT, 0o666)
        except OSError as error:
            # This file system cannot bypass the cache.
            if error.errno != errno.EINVAL:
                raise
            self._file = os.open(path, flags, 0o666)
        self._path, self._background = path, background
        # Direct writes need aligned memory, which a map is.
        self._block, self._spare = mmap.mmap(-1, BLOCK_BYTES), mmap.mmap(-1, BLOCK_BYTES)
        self._filled = 0
        self._writing: Future[None] | None = None
        self.closed = False

    def write(self, content: bytes) -> None:
        """Append `content`.

        Raises:
            OSError: the disk is full, or the device fails; also for an earlier block.
        """
        view = memoryview(content)
        while view:
            part = view[: BLOCK_BYTES - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == BLOCK_BYTES:
                self._wait()
                self._writing = self._background.submit(self._write_block, self._block, 0, BLOCK_BYTES)
                self._block, self._spare, self._filled = self._spare, self._block, 0

    def close(self) -> bool:
        """Sync everything to disk and close; returns False if the file was deleted in the meantime.

        Raises:
            OSError: the disk is full, or the device fails; the file is then still open.
        """
        self._wait()
        aligned = self._filled - self._filled % _ALIGNMENT
        self._write_block(self._block, 0, aligned)
        if aligned < self._filled:
            self._use_cache()
            self._write_block(self._block, aligned, self._filled)
        self._filled = 0
        try:
            os.fsync(self._file)
        except OSError as error:
            error.filename = str(self._path)
            raise
        exists = os.fstat(self._file).st_nlink > 0
        self.discard()
        return exists

    def discard(self) -> None:
        """Close without writing the last block."""
        if not self.closed:
            self.closed = True
            if self._writing is not None:
                self._writing.exception()
            os.close(self._file)
            self._block.close()
            self._spare.close()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _write_block(self, block: mmap.mmap, start: int, end: int) -> None:
        with memoryview(block)[start:end] as content:
            done = 0
            while done < end - start:
                try:
                    done += os.write(self._file, content[done:])
                except OSError as error:
                    # The file system accepts the flag but not the write, or less than a sector is free.
                    if error.errno != errno.EINVAL or not self._direct():
                        error.filename = str(self._path)
                        raise
                    self._use_cache()

    def _direct(self) -> bool:
        return bool(fcntl.fcntl(self._file, fcntl.F_GETFL) & _DIRECT)

    def _use_cache(self) -> None:
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) & ~_DIRECT)
