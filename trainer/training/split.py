"""The leak-free split of the validation set: pages that pick the best epoch, pages that train the stack."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.shards.reader import ShardSet
from trainer.config import JobConfig


def selection_mask(ids: Iterable[str], *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """bool[n]: whether each page is of the `share` that picks the best epoch; the rest is the stack's.

    Decided by a hash of the seed and the page id, so every job finds the same split on its own, in whatever
    order it meets the pages, and a page keeps its side when others are added.
    """
    limit = round(share * 2**64)
    return np.array([_hash(page_id, seed) < limit for page_id in ids], dtype=np.bool_)


def selected_pages(val: ShardSet, config: JobConfig) -> npt.NDArray[np.bool_]:
    """bool [validation pages]: which of them pick the best epoch.

    Raises:
        UserError: none do.
    """
    if config.selection_share is None:
        return np.ones(len(val), np.bool_)
    mask = selection_mask(val.ids, share=config.selection_share, seed=config.seed)
    if not mask.any() or mask.all():
        raise UserError(
            f"stack.selection_share: {config.selection_share} of {len(val)} validation pages leaves none for picking "
            "the best epoch or none for the stack; set stack.leak_free: false or give more validation pages"
        )
    return mask


def _hash(page_id: str, seed: int) -> int:
    """A number in [0, 2**64), as good as uniform."""
    digest = hashlib.blake2b(f"{seed}:{page_id}".encode(), digest_size=8, person=b"val split").digest()
    return int.from_bytes(digest, "big")
