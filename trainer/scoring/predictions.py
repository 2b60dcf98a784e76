"""Softmax outputs by page id: their file, and the join of several models' outputs."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.files import write_atomically

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Texts = npt.NDArray[np.str_]

_KEYS = ("ids", "labels", "softmax", "class_ids")


@dataclass(frozen=True, eq=False)
class Predictions:
    """One model's outputs on one split: ids str[n], labels int32[n] (class index), softmax float32[n, C],
    class_ids int64[C] (class id of each index).

    Raises:
        ValueError: the shapes are inconsistent.
    """

    ids: Texts
    labels: Ints
    softmax: Floats
    class_ids: Ints

    def __post_init__(self) -> None:
        count, classes = len(self.ids), len(self.class_ids)
        if self.labels.shape != (count,) or self.softmax.shape != (count, classes):
            found = f"labels {self.labels.shape}, softmax {self.softmax.shape}"
            raise ValueError(f"{count} ids and {classes} classes with {found}")

    def sorted(self) -> "Predictions":
        """The same rows, sorted by id."""
        return self.rows(np.argsort(self.ids, kind="stable"))

    def rows(self, choice: npt.NDArray[Any]) -> "Predictions":
        """The rows that `choice`, positions int [k] or a mask bool [n], selects."""
        return Predictions(self.ids[choice], self.labels[choice], self.softmax[choice], self.class_ids)


@dataclass(frozen=True, eq=False)
class Joined:
    """Several models' outputs on the same pages, sorted by id: softmax float32[n, members, C], the rest as in
    `Predictions`; names: of the members. weights: float64[n] of the pages in a fit, None: all alike."""

    ids: Texts
    labels: Ints
    softmax: Floats
    class_ids: Ints
    names: tuple[str, ...]
    weights: npt.NDArray[np.float64] | None = None

    def rows(self, choice: npt.NDArray[Any]) -> "Joined":
        """The pages that `choice`, positions int [k] or a mask bool [n], selects."""
        weights = None if self.weights is None else self.weights[choice]
        return Joined(self.ids[choice], self.labels[choice], self.softmax[choice], self.class_ids, self.names, weights)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write `predictions` sorted by id, atomically; the same rows in any order give the same bytes.

    Raises:
        UserError: an id is repeated.
    """
    rows = predictions.sorted()
    _reject_repeated(str(path), rows.ids)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        ids=np.array([page_id.encode() for page_id in rows.ids.tolist()], dtype=np.bytes_),
        labels=rows.labels.astype(np.int32),
        softmax=rows.softmax.astype(np.float32),
        class_ids=rows.class_ids.astype(np.int64),
    )
    write_atomically(path, buffer.getvalue())


def read_predictions(path: Path) -> Predictions:
    """The predictions in `path`, sorted by id.

    Raises:
        UserError: the file is missing, corrupt or not a predictions file, or has an invalid label or probability.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in _KEYS}
        ids = np.array([raw.decode() for raw in arrays["ids"].tolist()], dtype=np.str_)
        predictions = Predictions(ids, arrays["labels"], arrays["softmax"], arrays["class_ids"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such predictions; has this job finished?") from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a complete predictions file ({' '.join(str(error).split())})") from None
    _reject_invalid(path, predictions)
    return predictions.sorted()


def _reject_invalid(path: Path, rows: Predictions) -> None:
    bad = ~np.isfinite(rows.softmax).all(axis=1)
    if bad.any():
        raise UserError(f"{path}: page {rows.ids[bad][0]} has a probability that is not a finite number")
    bad = (rows.labels < 0) | (rows.labels >= len(rows.class_ids))
    if bad.any():
        label, classes = rows.labels[bad][0], len(rows.class_ids)
        raise UserError(f"{path}: page {rows.ids[bad][0]} has class index {label}, of {classes} classes")


def join(members: Sequence[tuple[str, Predictions]]) -> Joined:
    """The outputs of `members` (name, predictions) side by side, joined by page id only.

    Raises:
        UserError: there is no member; an id is repeated, or missing from a member; two members differ in a label or
            in their classes. The text names the id and the members.
    """
    if not members:
        raise UserError("stack: no member to join; give at least one trained model")
    first_name, first = members[0][0], members[0][1].sorted()
    _reject_repeated(first_name, first.ids)
    columns = [first.softmax]
    for name, predictions in members[1:]:
        rows = predictions.sorted()
        _reject_repeated(name, rows.ids)
        _reject_other_classes(first_name, first, name, rows)
        _reject_other_ids(first_name, first, name, rows)
        _reject_other_labels(first_name, first, name, rows)
        columns.append(rows.softmax)
    names = tuple(name for name, _ in members)
    return Joined(first.ids, first.labels, np.stack(columns, axis=1), first.class_ids, names)


def _reject_repeated(where: str, sorted_ids: Texts) -> None:
    repeated = sorted_ids[1:][sorted_ids[1:] == sorted_ids[:-1]]
    if len(repeated):
        raise UserError(f"{where}: page {repeated[0]} is repeated in its predictions")


def _reject_other_classes(first_name: str, first: Predictions, name: str, rows: Predictions) -> None:
    if not np.array_equal(first.class_ids, rows.class_ids):
        differing = np.setxor1d(first.class_ids, rows.class_ids)
        which = "their order differs"
        if len(differing):
            which = f"class id {differing[0]} is in only one of them"
        raise UserError(f"{first_name} and {name} were trained on different classes: {which}")


def _reject_other_ids(first_name: str, first: Predictions, name: str, rows: Predictions) -> None:
    for here, there, present, absent in ((first, rows, first_name, name), (rows, first, name, first_name)):
        only = np.setdiff1d(here.ids, there.ids, assume_unique=True)
        if len(only):
            more = f" (and {len(only) - 1} more)" if len(only) > 1 else ""
            raise UserError(f"page {only[0]}{more} is in the predictions of {present} but not in those of {absent}")


def _reject_other_labels(first_name: str, first: Predictions, name: str, rows: Predictions) -> None:
    differ = np.flatnonzero(first.labels != rows.labels)
    if len(differ):
        at = differ[0]
        ours, theirs = first.class_ids[first.labels[at]], rows.class_ids[rows.labels[at]]
        raise UserError(
            f"page {first.ids[at]} has class id {ours} in the predictions of {first_name} "
            f"but {theirs} in those of {name}"
        )
