"""The contrast of the test pages, kept in the run: decisions on stored outputs need it where no shards are at hand."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.files import write_atomically
from trainer.config import STACK
from trainer.job_folder.journal import PREDICTIONS, job_folder

Floats = npt.NDArray[np.floating[Any]]


def contrast_file(run: Path, split: str) -> Path:
    """Path of the file with the contrast of a split's pages."""
    return job_folder(run, STACK) / PREDICTIONS / f"{split}_contrast.npz"


def write_contrasts(path: Path, contrasts: Mapping[str, float]) -> None:
    """Write the contrasts (`trainer.scoring.unknown.contrast` of the page as stored) by page id, atomically."""
    ids = sorted(contrasts)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        ids=np.array([page_id.encode() for page_id in ids], np.bytes_),
        contrast=np.array([contrasts[page_id] for page_id in ids], np.float64),
    )
    write_atomically(path, buffer.getvalue())


def read_contrasts(path: Path) -> dict[str, float]:
    """The contrasts by page id; empty for a run of an earlier version, which has no such file.

    Raises:
        UserError: the file is corrupt.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, values = [raw.decode() for raw in file["ids"].tolist()], file["contrast"].astype(np.float64).tolist()
        return dict(zip(ids, values, strict=True))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a complete file of contrasts ({' '.join(str(error).split())})") from None


def in_order(contrasts: Mapping[str, float], ids: Sequence[str]) -> npt.NDArray[np.float64] | None:
    """The contrasts of the pages `ids`, float64[n]; None if one of them is not known."""
    if not all(page_id in contrasts for page_id in ids):
        return None
    return np.array([contrasts[page_id] for page_id in ids], np.float64)
