"""The corrections of labels that a run was made with: a copy in the run folder, and its record."""

from pathlib import Path
from typing import NotRequired, TypedDict, cast

from data_tools.errors import UserError
from data_tools.files import read_object, sha256, write_atomically, write_json
from data_tools.labels.corrections import Corrections, read_corrections

FILE = "corrections.csv"
RECORD = "corrections.json"


class CorrectionsRecord(TypedDict):
    """The content of `corrections.json`. path: of the original file. sha256: of it and of the copy.

    rows: decisions in the file. splits: pages by decision (`relabel`, `exclude`, `keep`), by split; known once the
    shards are.
    """

    path: str
    sha256: str
    rows: int
    splits: NotRequired[dict[str, dict[str, int]]]


def corrections_record(run: Path) -> CorrectionsRecord | None:
    """The record of the run's corrections; None if it has none."""
    found = read_object(run / RECORD)
    return cast(CorrectionsRecord, found) if isinstance(found.get("sha256"), str) else None


def keep_corrections(run: Path, path: Path) -> CorrectionsRecord:
    """Copy the file of corrections into the run folder and record it; a run that has this file already keeps it.

    Raises:
        UserError: the file cannot be read, or the run was made with a file of other content.
        OSError: the run folder cannot be written.
    """
    check_same(run, path)
    before, digest = corrections_record(run), sha256(path)
    if before is not None and (run / FILE).is_file() and sha256(run / FILE) == digest:
        return before
    write_atomically(run / FILE, path.read_bytes())
    record: CorrectionsRecord = {"path": str(path), "sha256": digest, "rows": len(read_corrections(path).rows)}
    write_json(run / RECORD, record)
    return record


def check_same(run: Path, path: Path) -> None:
    """Check that `path` can be read as corrections, and that a run that has corrections was made with the same ones.

    Raises:
        UserError: it cannot, or they differ.
    """
    rows, before = len(read_corrections(path).rows), corrections_record(run)
    if before is not None and before["sha256"] != sha256(path):
        raise UserError(
            f"{run}: this run was created with other corrections: {before['path']} had {before['rows']} rows, and "
            f"{path} has {rows} rows or other ones; set run.folder to a new folder, or undo the change"
        )


def record_effect(run: Path, splits: dict[str, dict[str, int]]) -> None:
    """Add to the record what the corrections do to the pages of each split."""
    record = corrections_record(run)
    if record is not None and record.get("splits") != splits:
        write_json(run / RECORD, {**record, "splits": splits})


def kept_corrections(run: Path) -> Corrections:
    """The corrections that the run was made with.

    Raises:
        UserError: the copy in the run folder is missing or was changed.
    """
    record, path = corrections_record(run), run / FILE
    if record is None or not path.is_file():
        raise UserError(f"{path}: missing; run train-all, which copies the corrections into the run folder")
    if sha256(path) != record["sha256"]:
        raise UserError(
            f"{path}: changed since the run was created; undo the change, or set run.folder to a new folder"
        )
    return read_corrections(path)
