"""From a page id to the page's file, inside the data root, and to its number there.

A page id is the path of a file relative to the data root, for its first page, or `path#page=N` for page N from 1 on.
An id that ends in `#page=N` always names a page: a file whose own name ends so has its page 1 as `name#page=1`.
"""

import functools
import os
from pathlib import Path
from typing import Literal

from data_tools.errors import UserError
from data_tools.labels.page_id import document_of, join_page_id, split_page_id

__all__ = ["OutsideLinks", "document_of", "join_page_id", "page_path", "split_page_id"]

OutsideLinks = Literal["refuse", "follow"]
"""What happens to symbolic links that lead out of the data root."""


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
