"""Copies shard sets from a bucket (anything that fsspec opens) to local disk and verifies every byte.

Training reads shards at random through memory maps, which object stores do not support. A set is copied once, as its
manifest lists it, and then read at memory speed.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from data_tools.errors import UserError
from data_tools.files import UNFINISHED, fsync_folder, temporary_name, write_atomically
from data_tools.shards.lock import locked
from data_tools.shards.manifest import MANIFEST, read_manifest
from data_tools.shards.records import checksum, file_checksum, written_checksum
from data_tools.shards.verify import check

_CHUNK = 8 * 2**20
_AT_ONCE = 8
"""Files that are copied at a time; one stream from an object store is slow."""
_INCOMING = ".unfinished-manifest.json"

OnProgress = Callable[[int, int, int], None]


_PACKAGES = {"s3": "CLOUD=aws make env", "gs": "CLOUD=gcp make env", "gcs": "CLOUD=gcp make env"}
"""How to get the package that opens an address of that kind."""


class _File(NamedTuple):
    files: Any
    source: str
    target: Path
    crc32c: str
    pages: int


def fetch(url: str, folder: Path, *, progress: OnProgress | None = None) -> list[str]:
    """Copy the shard sets at `url` (`<url>/<split>/<region>`) into `folder`; returns their names.

    `url` is anything that fsspec opens: s3://, gs://, https://, a path. The manifest is written last, so a set is
    complete or absent; calling again resumes with the missing files. `progress` gets (pages copied, total pages, 0).

    Raises:
        UserError: no shard sets at `url`, no access, a file that differs from its manifest, or another set in `folder`.
    """
    url = url.rstrip("/")
    with locked(folder):
        files_there, root = _opened(url)
        names = _sets(files_there, root, url)
        if not names:
            raise UserError(f"{url}: no shard sets found; expected {url}/<split>/<region>/{MANIFEST}")
        files = [file for name in names for file in _missing(files_there, f"{root}/{name}", folder / name)]
        total, done = sum(file.pages for file in files), 0
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            copies = {pool.submit(_copy, file): file for file in files}
            try:
                for copy in as_completed(copies):
                    copy.result()
                    done += copies[copy].pages
                    if progress is not None:
                        progress(done, total, 0)
            finally:
                # After an error, the files that wait are not copied.
                pool.shutdown(wait=False, cancel_futures=True)
        for name in names:
            _finish(folder / name)
    return names


def _opened(url: str) -> tuple[Any, str]:
    """The file system of `url`, and the path in it."""
    scheme = url.partition("://")[0] if "://" in url else "file"
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        advice = _PACKAGES.get(scheme, "install the package that fsspec names, or mount the bucket")
        raise UserError(f"{url}: {scheme}:// cannot be opened here ({_first_line(error)}); {advice}") from None
    # A listing from before would hide what has been added since.
    files.invalidate_cache()
    return files, str(root).rstrip("/")


@contextmanager
def _remote(source: str) -> Iterator[None]:
    """Convert the errors of a file system to UserErrors."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{source}: not found, or incomplete; check the address") from None
    except PermissionError as error:
        raise UserError(f"{source}: no access ({_first_line(error)}); check the credentials and the role") from None
    # Each file system raises the errors of its own library (botocore, google.auth, aiohttp), without a common class.
    except Exception as error:  # noqa: BLE001
        raise UserError(f"{source}: cannot be read: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _sets(files: Any, root: str, url: str) -> list[str]:
    """Names of the sets at `url`, `split/region`."""
    with _remote(url):
        found = [
            f"{split}/{region}"
            for split in _folders(files, root)
            for region in _folders(files, f"{root}/{split}")
            if files.exists(f"{root}/{split}/{region}/{MANIFEST}")
        ]
    return sorted(found)


def _folders(files: Any, path: str) -> list[str]:
    """Names of the folders in a folder, without hidden ones."""
    entries = files.ls(path, detail=True)
    names = [str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"]
    return [name for name in names if name and not name.startswith(".")]


def _chunks(files: Any, source: str) -> Iterator[bytes]:
    with _remote(source), files.open(source, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _missing(files: Any, source: str, target: Path) -> list[_File]:
    """The missing files of one set; writes its manifest under a temporary name."""
    raw = b"".join(_chunks(files, f"{source}/{MANIFEST}"))
    if (target / MANIFEST).exists():
        if (target / MANIFEST).read_bytes() != raw:
            raise UserError(f"{target}: holds a different set than {source}; choose another folder, or delete this one")
        return []
    target.mkdir(parents=True, exist_ok=True)
    # Left by a killed call; no other process writes here, since this one holds the lock.
    for leftover in target.glob(f"{UNFINISHED}*"):
        leftover.unlink()
    # File names come from the manifest, so it is validated before use.
    incoming = target / _INCOMING
    write_atomically(incoming, raw)
    manifest = read_manifest(target, name=_INCOMING)
    for shard in manifest.shards:
        if Path(shard.name).name != shard.name or shard.name in (MANIFEST, *manifest.index_files, ".."):
            raise UserError(f"{source}/{MANIFEST}: lists a shard {shard.name!r} outside its folder; refused")
    listed = [(name, crc32c, 0) for name, crc32c in manifest.index_files.items()]
    listed += [(shard.name, shard.crc32c, shard.records) for shard in manifest.shards]
    wanted = [_File(files, f"{source}/{name}", target / name, crc32c, pages) for name, crc32c, pages in listed]
    return [file for file in wanted if not (file.target.exists() and file_checksum(file.target) == file.crc32c)]


def _copy(file: _File) -> None:
    """Copy one file; it gets its final name if its checksum matches the manifest."""
    temporary, crc = temporary_name(file.target), 0
    try:
        with temporary.open("wb") as target:
            for chunk in _chunks(file.files, file.source):
                crc = checksum(chunk, before=crc)
                target.write(chunk)
            # A set with a manifest has to be complete on disk, too.
            target.flush()
            os.fsync(target.fileno())
        if written_checksum(crc) != file.crc32c:
            raise UserError(f"{file.source}: differs from its manifest (checksum); verify the set at its source")
        temporary.replace(file.target)
    except OSError as error:
        raise UserError(f"{file.target}: {error.strerror}; fix it and run the same command again") from None
    finally:
        temporary.unlink(missing_ok=True)


def _finish(target: Path) -> None:
    """Rename the manifest to its final name, then check the set."""
    if (target / _INCOMING).exists():
        (target / _INCOMING).rename(target / MANIFEST)
        fsync_folder(target)
    problems = check(target)
    if problems:
        raise UserError(problems[0])
