"""The one place where a path as written becomes a page id.

A page id is the path of a file relative to the data root, for its first page, or `path#page=N` for page N from 1 on.
An id that ends in `#page=N` always names a page: a file whose own name ends so has its page 1 as `name#page=1`.
"""

import os
import re
from pathlib import Path, PurePosixPath

from data_tools.errors import UserError

_LONGEST_PATH = 4096
_UNUSUAL = re.compile(r"""^/|//|/$|\\|[\0\n\r]|(?:^|/)\.\.?(?:/|$)|^["'\s]|["'\s]$|^[A-Za-z]:""")
"""Whatever a plain relative path does not have."""
_PAGE = re.compile(r"#page=([1-9][0-9]{0,8})\Z")


def canonical(path: str, root: str, where: str) -> tuple[str, tuple[str, ...]]:
    """The page id that `path` stands for, and the kinds of `Notes` for an unusual spelling.

    A file that has exactly the name as written, quotes and backslashes included, keeps it. `where` begins errors.

    Raises:
        UserError: the path is empty or too long, or leaves the folder `root`.
    """
    if len(path) > _LONGEST_PATH:
        raise UserError(f"{where}: a page path of {len(path)} characters; the limit is {_LONGEST_PATH}")
    if not _UNUSUAL.search(path):
        if not path:
            raise UserError(f"{where}: the page path is empty")
        return path, ()
    _refuse(path, path, where)
    kinds: list[str] = []
    page_id = path if _is_file(root, path) else _unwrapped(path, kinds)
    if page_id.startswith("/"):
        page_id = _inside(page_id, root, where)
        kinds.append("absolute")
    _refuse(page_id, path, where)
    plain = str(PurePosixPath(page_id)) if page_id else ""
    if plain in ("", "."):
        raise UserError(f"{where}: {path!r} is not the path of a page")
    if plain != page_id:
        kinds.append("dots")
    return plain, tuple(kinds)


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


def _is_file(root: str, path: str) -> bool:
    return not path.startswith("/") and not path.endswith("/") and os.path.lexists(f"{root}/{path}")


def _unwrapped(path: str, kinds: list[str]) -> str:
    """`path` without blanks and quotes around it and without backslashes; appends to `kinds` what it changed."""
    plain = path.strip()
    if plain != path:
        kinds.append("blanks")
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
        kinds.append("quoted")
        plain = plain[1:-1].strip()
    if "\\" in plain:
        kinds.append("backslashes")
        plain = plain.replace("\\", "/")
    return plain


def _inside(path: str, root: str, where: str) -> str:
    """An absolute path relative to `root`, which may be spelled with or without its symbolic links."""
    for start in (Path(root).absolute(), Path(root).resolve()):
        prefix = str(start).rstrip("/") + "/"
        plain = "/" + path.lstrip("/")
        if plain.startswith(prefix):
            return plain[len(prefix) :]
    raise UserError(
        f"{where}: {path!r} leaves the data root {root}; set data.root to a folder that holds all pages, "
        "or give paths relative to it"
    )


def _refuse(page_id: str, path: str, where: str) -> None:
    if "\n" in page_id or "\r" in page_id:
        raise UserError(f"{where}: the path {path!r} holds a line break; check the quotes, or rename the file")
    if ".." in PurePosixPath(page_id).parts or "\0" in page_id:
        raise UserError(f"{where}: {path!r} leaves the data root; give page paths relative to it, without `..`")
    if re.match(r"[A-Za-z]:/", page_id):
        raise UserError(
            f"{where}: {path!r} is a path of another computer and leaves the data root; make it relative to data.root"
        )
