"""Copies pages from a bucket to the shared folder, as the first part of a Ray job; what is there is not copied again.

python -m cluster.remote.pull s3://bucket/scans pages/scans
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from cluster.remote.head import SHARED
from data_tools.errors import UserError

UNFINISHED = ".unfinished"
NOTICE_EVERY_S = 10.0
KINDS = "s3:// needs s3fs in the head's environment, gs:// needs gcsfs"


def pull(url: str, folder: Path) -> int:
    """Copy all files below `url`, at any URL that fsspec opens, into `folder`; returns how many were copied.

    A file that exists with the same size is not copied again, and none has its own name before it is complete.

    Raises:
        UserError: no such place, no access, or the file system's package is missing.
    """
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(url)
        found = system.find(root, detail=True)
    except (OSError, ImportError, ValueError) as error:
        raise UserError(f"--pages {url}: {error}; {KINDS}") from None
    if not found:
        raise UserError(f"--pages {url}: no file there")
    copied, noticed = 0, time.monotonic()
    for number, (path, details) in enumerate(sorted(found.items()), start=1):
        copied += _copy(system, path, folder / os.path.relpath(path, root), size=details["size"])
        if time.monotonic() - noticed > NOTICE_EVERY_S:
            noticed = time.monotonic()
            sys.stdout.write(f"pages: {number} of {len(found)}\n")
            sys.stdout.flush()
    return copied


def _copy(system: Any, path: str, target: Path, *, size: int) -> int:
    if target.is_file() and target.stat().st_size == size:
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + UNFINISHED)
    try:
        system.get_file(path, str(unfinished))
    except OSError as error:
        raise UserError(f"--pages: {path}: {error}") from None
    unfinished.replace(target)
    return 1


def main(url: str, folder: str) -> int:
    """Entry point; the exit status."""
    try:
        copied = pull(url, Path(os.environ.get(SHARED, "")) / folder)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{folder}: {copied} pages copied from {url}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
