"""The groups of duplicates that a run keeps in one fold each: a copy of the survey's file in the run folder."""

import json
from pathlib import Path

from data_tools.errors import UserError
from data_tools.files import write_atomically

FILE = "duplicates.jsonl"

Groups = tuple[tuple[str, ...], ...]
"""Page ids by group."""


def read_groups(path: Path) -> Groups:
    """The groups in a file of one JSON list of page ids a line, as a survey writes it.

    Raises:
        UserError: the file cannot be read, or a line is anything else; the text names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the groups of duplicates cannot be read ({error})") from None
    return tuple(_group(line, f"{path}:{number}") for number, line in enumerate(text.split("\n"), start=1) if line)


def _group(line: str, where: str) -> tuple[str, ...]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(page_id, str) for page_id in found):
        raise UserError(f"{where}: not a JSON list of page ids; regionstack survey writes such a file")
    return tuple(found)


def keep_groups(run: Path, path: Path) -> None:
    """Copy the file into the run folder; a run that has this file already keeps it.

    Raises:
        UserError: the file cannot be read, or the run was made with another content, which decides its folds.
        OSError: the run folder cannot be written.
    """
    read_groups(path)
    content, kept = path.read_bytes(), run / FILE
    if not kept.is_file():
        write_atomically(kept, content)
    elif kept.read_bytes() != content:
        raise UserError(
            f"{path}: this run was made with other groups of duplicates; set run.folder to a new folder, or undo the "
            "change"
        )


def kept_groups(run: Path) -> Groups:
    """The groups that the run was made with.

    Raises:
        UserError: the copy in the run folder is missing or damaged.
    """
    if not (run / FILE).is_file():
        raise UserError(f"{run / FILE}: missing; run train-all, which copies the groups into the run folder")
    return read_groups(run / FILE)
