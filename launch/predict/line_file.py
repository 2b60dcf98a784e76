"""An output file of `predict`: written as it goes, cut and continued by `--resume`."""

import contextlib
import copy
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from data_tools.errors import UserError
from data_tools.files import temporary_name
from data_tools.targets import make_folder, target_of
from launch.predict.forms import Counts, Form, Key
from trainer.serving.answer import Answer


class LineFile:
    """A file of a `Form`. Lines of one call of `write` reach it in one piece; nothing is written before the first.

    A link's target is written. A FIFO, a device and an open descriptor are written to and cannot be resumed.
    counts: the answers that it holds, one a line, also after a write that an error or an interrupt has ended.
    """

    def __init__(self, path: Path, form: Form) -> None:
        self.path, self.form = path, form
        self.counts = Counts()
        self._start: int | None = None
        """Where a resumed file is continued, in bytes; None: it is written from its beginning."""
        self._descriptor: int | None = None
        self._temporary: Path | None = None

    def held(self) -> Iterator[Key | None]:
        """What the complete lines of an earlier command's file are about; nothing if there is no such file.

        Raises:
            UserError: the file is of another form, run or command, and cannot be resumed.
        """
        for number, line in enumerate(self._lines(), start=1):
            try:
                yield self.form.key(line)
            except ValueError:
                raise UserError(
                    f"{self.path}: answer {number} is not what predict writes; without --resume the file is replaced"
                ) from None

    def resume(self, counts: Counts) -> None:
        """Continue after the lines of the first answers, `counts`; what follows is cut off with the first write."""
        start = len(self.form.head().encode())
        for number, line in enumerate(self._lines()):
            if number == counts.total:
                break
            start += len(line.encode("utf-8", "surrogateescape")) + 1
            self.form.resume(line)
        self.counts, self._start = counts.plus([]), start if counts.total else None

    def _lines(self) -> Iterator[str]:
        """The complete lines between head and tail."""
        target = target_of(self.path)
        if not target.replaceable or not target.path.exists():
            return
        head = self.form.head().encode()
        with target.path.open("rb") as file:
            if file.read(len(head)) != head:
                if target.path.stat().st_size < len(head):
                    return
                raise UserError(
                    f"{self.path}: written by another version, run or options; without --resume the file is replaced"
                )
            for raw in file:
                line = raw.decode("utf-8", "surrogateescape")
                if not line.endswith("\n") or line[:-1] == self.form.end:
                    return
                yield line[:-1]

    def write(self, answers: Sequence[Answer]) -> None:
        """Append a line for each answer."""
        if not answers:
            return
        form = copy.copy(self.form)  # A form may count its lines; this one counts those that are written.
        lines = [form.line(answer, row) for row, answer in enumerate(answers, start=self.counts.total)]
        self._append("".join(f"{line}\n" for line in lines), form, self.counts.plus(answers))

    def close(self, *, complete: bool) -> None:
        """Write the tail, so that the file is usable; an interrupted file without a line is not touched."""
        if complete or self.counts.total:
            self._append(self.form.tail(self.counts), self.form, self.counts)
        if self._descriptor is not None:
            if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, text: str, form: Form, counts: Counts) -> None:
        """Append all of `text`, after which `form` continues the file, and `counts` are its answers."""
        raw = text.encode()
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
                raw = raw if self._start is not None else self.form.head().encode() + raw
            _write(self._descriptor, raw)
            # An interrupt from here on leaves a new file to `close`, which ends it and gives it its name.
            self.form, self.counts = form, counts
            if self._temporary is not None:
                self._temporary.replace(target_of(self.path).path)
                self._temporary = None
        except OSError as error:
            error.filename, error.filename2 = str(self.path), None
            raise

    def _open(self) -> int:
        """Open what is written to: a new file under a temporary name until its first lines are in it."""
        target = target_of(self.path)
        if target.descriptor is not None:
            return os.dup(target.descriptor)
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY
        if target.stream:
            return os.open(target.path, flags)
        if self._start is None:
            make_folder(target.path.parent)
            self._temporary = temporary_name(target.path)
            return os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, 0o666)
        descriptor = os.open(target.path, flags)
        os.ftruncate(descriptor, self._start)
        os.lseek(descriptor, 0, os.SEEK_END)
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _write(descriptor: int, raw: bytes) -> None:
    """Write all of `raw`; a regular file that has no room for it, or whose writing is interrupted, stays as it was."""
    start: int | None = None
    with contextlib.suppress(OSError):  # a pipe has no position
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
    written = 0
    try:
        while written < len(raw):
            written += os.write(descriptor, raw[written:])
    except (OSError, KeyboardInterrupt):
        if start is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, start)
                os.lseek(descriptor, start, os.SEEK_SET)
        raise
