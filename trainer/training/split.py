"""The leak-free split of the validation set: pages that select the best epoch, pages that train the stack."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.labels.page_id import document_of
from data_tools.shards.reader import ShardSet
from trainer.config import JobConfig


def selection_mask(ids: Iterable[str], *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """bool [n]: whether each page is in the `share`, 0 to 1, that selects the best epoch; the stack trains on the rest.

    The hash of seed and document decides, so every job computes the same split in any order of pages, a page keeps its
    side when others are added, and the pages of a document are on one side.
    """
    limit = round(share * 2**64)
    return np.array([_hash(document_of(page_id), seed) < limit for page_id in ids], dtype=np.bool_)


def selected_pages(val: ShardSet, config: JobConfig) -> npt.NDArray[np.bool_]:
    """bool [validation pages]: which of them select the best epoch.

    Raises:
        UserError: all or none of them do.
    """
    if config.selection_share is None:
        return np.ones(len(val), np.bool_)
    mask = selection_mask(val.ids, share=config.selection_share, seed=config.seed)
    if not mask.any() or mask.all():
        raise UserError(
            f"stack.selection_share: {config.selection_share} of {len(val)} validation pages leaves none to select the "
            "best epoch or none to train the stack; set stack.leak_free: false or add validation pages"
        )
    return mask


def _hash(document: str, seed: int) -> int:
    """A pseudo-random integer in [0, 2**64)."""
    digest = hashlib.blake2b(f"{seed}:{document}".encode(), digest_size=8, person=b"val split").digest()
    return int.from_bytes(digest, "big")
