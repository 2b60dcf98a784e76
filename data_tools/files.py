"""Atomic writes, checksums, JSON and JSON lines: a file is complete or absent."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_tools.errors import UserError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the four packages; worker processes need it on their PYTHONPATH."""

UNFINISHED = ".unfinished-"
"""Prefix of temporary names; files and folders with it may be deleted when no process writes."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def storage_problem(error: OSError) -> UserError | None:
    """The user's line for a file system that is full, read-only or broken; None for any other `error`."""
    if error.errno in NO_ROOM:
        advice = "make room, then run the same command again"
    elif error.errno in NOT_WRITABLE:
        advice = "make it writable, then run the same command again"
    elif error.errno in (errno.EIO, errno.ESTALE, errno.ENOTDIR, errno.EISDIR, errno.ENOENT) and error.filename:
        advice = "fix it, then run the same command again"
    else:
        return None
    where = error.filename2 or error.filename or "a file"
    return UserError(f"{where}: {(error.strerror or str(error)).lower()}; what is saved is untouched: {advice}")


def temporary_name(path: Path) -> Path:
    """A new name beside `path`, on the same file system, that readers ignore."""
    return path.with_name(f"{UNFINISHED}{path.name}-{uuid.uuid4().hex[:8]}")


def fsync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk; a rename is durable only after this."""
    _fsync(folder)


def _fsync(path: Path) -> None:
    """Flush a file's content, or a folder's names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) atomically: at any moment `path` is the old file or the complete new one."""
    raw = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # A failed write names no file.
        error.filename2 = None
        raise
    finally:
        # Exists only after a failure.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `path` when the block succeeds and deleted when it raises.

    Raises:
        FileExistsError: `path` exists.
    """
    if path.exists():
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        for path_inside in temporary.rglob("*"):
            _fsync(path_inside)
        _fsync(temporary)
        temporary.rename(path)
    finally:
        # Exists only after a failure.
        shutil.rmtree(temporary, ignore_errors=True)
    fsync_folder(path.parent)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        UserError: the file is missing, unreadable or not valid JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None


def append_line(path: Path, value: Any, *, sync: bool = False) -> None:
    """Append `value` as one JSON line in a single write; readers see complete lines and at most one partial line.

    A partial line that a killed writer or a full disk left is terminated first. With `sync`, the line is on disk when
    the function returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        line = json.dumps(value).encode() + b"\n"
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def read_text(path: Path, problems: list[str] | None = None) -> str:
    """The text of a UTF-8 file; empty if the file is absent or unreadable.

    problems: receives a line about a file that exists and cannot be read. None: the caller does not want to know.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        _add(problems, f"{_short(path)}: cannot be read ({error})")
        return ""


def read_object(path: Path, problems: list[str] | None = None) -> dict[str, Any]:
    """The JSON object in `path`; empty if the file is absent, unreadable, corrupt or holds another value.

    For files that another process may be writing, or that a crash may have left corrupt. `read_json` is the strict
    reader. problems: receives a line about a file that is unreadable or corrupt.
    """
    text = read_text(path, problems)
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        _add(problems, f"{_short(path)}: not valid JSON")
        return {}
    return value if isinstance(value, dict) else {}


def read_lines(path: Path, problems: list[str] | None = None) -> list[Any]:
    """The JSON values of a JSON-lines file, oldest first; empty if there is no such file.

    An unfinished last line, as a killed writer leaves, is skipped. So is any other line that is not valid JSON.

    problems: receives a line about an unreadable file or skipped lines; an unfinished last line is not a problem.

    Raises:
        OSError: the file exists and cannot be read, and `problems` is None.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        if problems is None:
            raise
        _add(problems, f"{_short(path)}: cannot be read ({error})")
        return []
    values, corrupt = [], 0
    for line in raw[: raw.rfind(b"\n") + 1].splitlines():
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except ValueError:
            corrupt += 1
    if corrupt:
        _add(problems, f"{_short(path)}: skipped {corrupt} corrupt line{'' if corrupt == 1 else 's'}")
    return values


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _add(problems: list[str] | None, line: str) -> None:
    if problems is not None:
        problems.append(line)
