"""Shard sets from a bucket to local disk: whatever `tf.io.gfile` opens, every byte checked on arrival.

Training reads shards at random through maps of local files, which object stores do not offer; so a set is brought
near once, by its manifest, and read at memory speed from then on.
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
"""Files that are copied at the same time: a single stream of an object store is slow."""
_INCOMING = ".unfinished-manifest.json"

OnProgress = Callable[[int, int, int], None]


class _File(NamedTuple):
    source: str
    target: Path
    crc32c: str
    pages: int


def fetch(url: str, folder: Path, *, progress: OnProgress | None = None) -> list[str]:
    """Copy the shard sets at `url` (`<url>/<split>/<region>`) into `folder`; returns their names.

    `url`: anything that `tf.io.gfile` opens. A set's manifest comes last, so that a set is whole or absent; the same
    call again goes on with the files that are missing. `progress` is called with pages copied, pages in all, 0.

    Raises:
        UserError: nothing there, no access, a file that is not what its manifest says, or another set in `folder`.
    """
    url = url.rstrip("/")
    with locked(folder), _told(url):
        names = _sets(url)
        if not names:
            raise UserError(f"{url}: no shard set there; expected {url}/<split>/<region>/{MANIFEST}")
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
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for name in names:
            _finish(folder / name)
    return names


@contextmanager
def _told(url: str) -> Iterator[None]:
    """TensorFlow's errors of file systems as the person's."""
    import tensorflow as tf  # Here, since it takes seconds.

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise UserError(f"{url}: nothing there, or not all of it ({error.message})") from None
    except tf.errors.UnimplementedError:
        scheme = url.partition("://")[0]
        raise UserError(
            f"{url}: TensorFlow opens no {scheme}:// here; pip install tensorflow-io, or mount the bucket"
        ) from None
    except tf.errors.OpError as error:
        reason = str(error.message).splitlines() or [type(error).__name__]
        raise UserError(f"{url}: cannot be read: {reason[0]}") from None


def _gfile() -> Any:
    import tensorflow as tf  # Here, since it takes seconds.

    return tf.io.gfile


def _sets(url: str) -> list[str]:
    """Names of the sets at `url`, `split/region`."""
    gfile = _gfile()
    gfile.stat(url)  # Says why it cannot, where `isdir` says no.
    splits = [name.rstrip("/") for name in gfile.listdir(url)]
    found = [
        f"{split}/{region.rstrip('/')}"
        for split in splits
        if not split.startswith(".") and gfile.isdir(f"{url}/{split}")
        for region in gfile.listdir(f"{url}/{split}")
    ]
    return sorted(name for name in found if gfile.exists(f"{url}/{name}/{MANIFEST}"))


def _missing(source: str, target: Path) -> list[_File]:
    """The files of one set that are not here yet; its manifest waits under an unfinished name."""
    with _gfile().GFile(f"{source}/{MANIFEST}", "rb") as file:
        raw = file.read()
    if (target / MANIFEST).exists():
        if (target / MANIFEST).read_bytes() != raw:
            raise UserError(f"{target}: holds another set than {source}; choose another folder, or delete this one")
        return []
    target.mkdir(parents=True, exist_ok=True)
    # Copies of a call that was killed; nobody writes here now, the lock is ours.
    for leftover in target.glob(f"{UNFINISHED}*"):
        leftover.unlink()
    # Names of files come out of the manifest: it is read strictly before any is used.
    incoming = target / _INCOMING
    write_atomically(incoming, raw)
    manifest = read_manifest(target, name=_INCOMING)
    for shard in manifest.shards:
        if Path(shard.name).name != shard.name or shard.name in (MANIFEST, *manifest.index_files, ".."):
            raise UserError(f"{source}/{MANIFEST}: names a shard {shard.name!r}; refused")
    wanted = [_File(f"{source}/{name}", target / name, crc32c, 0) for name, crc32c in manifest.index_files.items()]
    wanted += [_File(f"{source}/{shard.name}", target / shard.name, shard.crc32c, shard.records)
               for shard in manifest.shards]  # fmt: skip
    return [file for file in wanted if not (file.target.exists() and file_checksum(file.target) == file.crc32c)]


def _copy(file: _File) -> None:
    """Copy one file under its final name if it arrives as the manifest says."""
    temporary, crc = temporary_name(file.target), 0
    try:
        with _gfile().GFile(file.source, "rb") as source, temporary.open("wb") as target:
            while chunk := source.read(_CHUNK):
                crc = checksum(chunk, before=crc)
                target.write(chunk)
            # Before the manifest gets its name: a set that has one is whole on disk, too.
            target.flush()
            os.fsync(target.fileno())
        if written_checksum(crc) != file.crc32c:
            raise UserError(f"{file.source}: is not what its manifest says (checksum); verify the set at its source")
        temporary.replace(file.target)
    except OSError as error:
        raise UserError(f"{file.target}: {error.strerror}; mend it and run the same command again") from None
    finally:
        temporary.unlink(missing_ok=True)


def _finish(target: Path) -> None:
    """Give the manifest its final name where the set is whole."""
    if (target / _INCOMING).exists():
        (target / _INCOMING).rename(target / MANIFEST)
        fsync_folder(target)
    problems = check(target)
    if problems:
        raise UserError(problems[0])
