"""From a page id to the page's file, inside the data root, and to its number there.

A page id is the path of a file relative to the data root, for its first page, or `path#page=N` for page N from 1 on.
An id that ends in `#page=N` always names a page: a file whose own name ends so has its page 1 as `name#page=1`.
"""

import functools
import os
import re
from pathlib import Path
from typing import Literal

from data_tools.errors import UserError

OutsideLinks = Literal["refuse", "follow"]
"""What happens to symbolic links that lead out of the data root."""


_PAGE = re.compile(r"#page=([1-9][0-9]{0,8})\Z")


def split_page_id(page_id: str) -> tuple[str, int]:
    """The file's path relative to the data root, and the page's number in it, from 1 on."""
    found = _PAGE.search(page_id)
    return (page_id[: found.start()], int(found[1])) if found else (page_id, 1)


def join_page_id(path: str, number: int, *, several: bool) -> str:
    """The id of page `number` (from 1 on) of the file at `path`; `several`: the file has more pages than one."""
    return f"{path}#page={number}" if several or number > 1 or _PAGE.search(path) else path


def document_of(page_id: str) -> str:
    """The document that a page belongs to: the path of its file. All pages of a document are in one split."""
    return split_page_id(page_id)[0]


def page_path(root: str, page_id: str, *, outside_links: OutsideLinks) -> Path:
    """The file of page `page_id` below `root`. Links between places inside `root` are always followed.

    Raises:
        UserError: a symbolic link on the way leads out of `root`, and `outside_links` is `refuse`.
    """
    path = Path(root, document_of(page_id))
    if outside_links == "refuse":
        inside, target = _resolved_root(root), os.path.realpath(path)
        if not target.startswith(inside):
            raise UserError(
                f"{path}: leads out of data.root by a symbolic link, to {target}; set data.root to the folder that "
                "holds the pages, or data.outside_links: follow"
            )
    return path


@functools.lru_cache(maxsize=8)
def _resolved_root(root: str) -> str:
    """The real path of `root`, with a separator at its end."""
    return os.path.realpath(root).rstrip(os.sep) + os.sep
