"""Atomic writes, checksums, JSON and JSON lines: a file is complete or absent."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from data_tools.errors import UserError, is_of_writing
from data_tools.targets import Target, make_folder, open_stream, target_of

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the four packages; worker processes need it on their PYTHONPATH."""

UNFINISHED = ".unfinished-"
"""Prefix of temporary names; files and folders with it may be deleted when no process writes."""

_LONGEST_NAME = 255
"""Bytes of a file name on Linux' file systems."""

_JSON_TYPES: Mapping[type, str] = {str: "text", list: "a list", dict: "an object"}


def temporary_name(path: Path) -> Path:
    """A new name beside `path`, on the same file system, that readers ignore."""
    suffix = f"-{uuid.uuid4().hex[:8]}"
    room = _LONGEST_NAME - len(UNFINISHED) - len(suffix)
    # Of a name that the file system itself refuses, the temporary one is refused, too.
    name = os.fsencode(path.name)
    kept = name if len(name) > _LONGEST_NAME else name[:room]
    return path.with_name(f"{UNFINISHED}{os.fsdecode(kept)}{suffix}")


def fsync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk; a rename is durable only after this.

    A folder that may be written and not listed, or whose file system has no such call, is left to the kernel.
    """
    try:
        _fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL):
            raise


def _fsync(path: Path) -> None:
    """Flush a file's content, or a folder's names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_writable(path: Path, *, folder: bool = False) -> None:
    """Check that `path` can be written, before work whose result it is to hold; with `folder`, files inside it.

    Folders that are missing are made. A FIFO, a device or an open descriptor is not touched.

    Raises:
        OSError: it cannot; `filename` is the path that is in the way.
    """
    target = target_of(path)
    if not folder and not target.replaceable:
        return
    if not folder:
        _refuse_folder(target, path)
    place = target.path / "output" if folder else target.path
    make_folder(place.parent)
    temporary = temporary_name(place)
    with _naming(path):
        temporary.touch(exist_ok=False)
        temporary.unlink()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`, as `open_output` does: a regular file atomically."""
    raw = _encoded(content) if isinstance(content, str) else content
    with open_output(path) as file:
        file.write(raw)


@contextlib.contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file for the content of `path`, which has the mode that the umask gives.

    A regular file appears, or is replaced, when the block succeeds: at any moment `path` is the old file or the
    complete new one. A link stays a link, and its target is written. A FIFO, a device and an open descriptor
    (`/dev/stdout`, `/dev/fd/N`) are written to and never replaced.

    Raises:
        OSError: it cannot be written; `filename` is `path`, or the folder above it that cannot be made.
    """
    target = target_of(path)
    if not target.replaceable:
        with _naming(path), open_stream(target) as stream:
            yield stream
            stream.flush()
        return
    _refuse_folder(target, path)
    make_folder(target.path.parent)
    temporary = temporary_name(target.path)
    try:
        with _naming(path):
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target.path)
    finally:
        # Exists only after a failure.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    fsync_folder(target.path.parent)


def _refuse_folder(target: Target, path: Path) -> None:
    if target.path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put `path` into an OSError of the file system that names no file, or a temporary one."""
    try:
        yield
    except OSError as error:
        if UNFINISHED in str(error.filename) or (error.filename is None and is_of_writing(error)):
            error.filename, error.filename2 = str(path), None
        raise


def _encoded(text: str) -> bytes:
    """UTF-8; a file name that is not UTF-8 keeps its bytes."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="replace")


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `path` when the block succeeds and deleted when it raises.

    Where `path` is a link to a folder that does not exist, the folder is made there.

    Raises:
        FileExistsError: `path` exists.
    """
    if path.exists():
        raise FileExistsError(path)
    path = target_of(path).path
    make_folder(path.parent)
    temporary = temporary_name(path)
    try:
        with _naming(path):
            temporary.mkdir()
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
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None


def read_json_object(path: Path, keys: Mapping[str, type] | None = None, *, advice: str) -> dict[str, Any]:
    """The JSON object in `path`, which has `keys` with values of these types.

    Raises:
        UserError: it is missing, unreadable, another value, or lacks a key; the text ends with `advice`.
    """
    try:
        value = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, found {_short_json(value)}; {advice}")
    for key, kind in (keys or {}).items():
        if key not in value:
            raise UserError(f"{path}: has no {key}; {advice}")
        if not isinstance(value[key], kind):
            found = _short_json(value[key])
            raise UserError(f"{path}.{key}: expected {_JSON_TYPES[kind]}, found {found}; {advice}")
    return value


def _short_json(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def append_line(path: Path, value: Any, *, sync: bool = False) -> None:
    """Append `value` as one JSON line in a single write; readers see complete lines and at most one partial line.

    A partial line that a killed writer or a full disk left is terminated first. With `sync`, the line is on disk when
    the function returns.
    """
    make_folder(path.parent)
    with _naming(path), path.open("a+b") as file:
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
