"""Copies shard sets from a bucket (anything that `tf.io.gfile` opens) to local disk and verifies every byte.

Training reads shards at random through memory maps, which object stores do not support. A set is copied once, as its
manifest lists it, and then read at memory speed.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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


class _File(NamedTuple):
    source: str
    target: Path
    crc32c: str
    pages: int


def fetch(url: str, folder: Path, *, progress: OnProgress | None = None) -> list[str]:
    """Copy the shard sets at `url` (`<url>/<split>/<region>`) into `folder`; returns their names.

    `url` is anything that `tf.io.gfile` opens. The manifest is written last, so a set is complete or absent; calling
    again resumes with the missing files. `progress` gets (pages copied, total pages, 0).

    Raises:
        UserError: no shard sets at `url`, no access, a file that differs from its manifest, or another set in `folder`.
    """
    url = url.rstrip("/")
    with locked(folder), _readable_errors(url):
        names = _sets(url)
        if not names:
            raise UserError(f"{url}: no shard sets found; expected {url}/<split>/<region>/{MANIFEST}")
        files = [file for name in names for file in _missing(f"{url}/{name}", folder / name)]
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


@contextmanager
def _readable_errors(url: str) -> Iterator[None]:
    """Convert TensorFlow's file system errors to UserErrors."""
    import tensorflow as tf  # Imported late: takes seconds.

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise UserError(f"{url}: not found, or incomplete ({error.message}); check the address") from None
    except tf.errors.UnimplementedError:
        scheme = url.partition("://")[0]
        raise UserError(
            f"{url}: TensorFlow cannot open {scheme}://; pip install tensorflow-io, or mount the bucket"
        ) from None
    except tf.errors.OpError as error:
        reason = str(error.message).splitlines() or [type(error).__name__]
        raise UserError(f"{url}: cannot be read: {reason[0]}") from None


def _gfile() -> Any:
    import tensorflow as tf  # Imported late: takes seconds.

    return tf.io.gfile


def _sets(url: str) -> list[str]:
    """Names of the sets at `url`, `split/region`."""
    gfile = _gfile()
    gfile.stat(url)  # Raises with the reason, where `isdir` returns False.
    splits = [name.rstrip("/") for name in gfile.listdir(url)]
    found = [
        f"{split}/{region.rstrip('/')}"
        for split in splits
        if not split.startswith(".") and gfile.isdir(f"{url}/{split}")
        for region in gfile.listdir(f"{url}/{split}")
    ]
    return sorted(name for name in found if gfile.exists(f"{url}/{name}/{MANIFEST}"))


def _missing(source: str, target: Path) -> list[_File]:
    """The missing files of one set; writes its manifest under a temporary name."""
    with _gfile().GFile(f"{source}/{MANIFEST}", "rb") as file:
        raw = file.read()
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
    wanted = [_File(f"{source}/{name}", target / name, crc32c, 0) for name, crc32c in manifest.index_files.items()]
    wanted += [_File(f"{source}/{shard.name}", target / shard.name, shard.crc32c, shard.records)
               for shard in manifest.shards]  # fmt: skip
    return [file for file in wanted if not (file.target.exists() and file_checksum(file.target) == file.crc32c)]


def _copy(file: _File) -> None:
    """Copy one file; it gets its final name if its checksum matches the manifest."""
    temporary, crc = temporary_name(file.target), 0
    try:
        with _gfile().GFile(file.source, "rb") as source, temporary.open("wb") as target:
            while chunk := source.read(_CHUNK):
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
