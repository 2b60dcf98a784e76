"""Documents of several pages: the pages' outputs combined, and the accuracy over documents."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.labels.page_id import document_of
from trainer.scoring.metrics import log_probabilities, summary, wilson_interval
from trainer.scoring.schema import DocumentFigures, SplitFigures
from trainer.scoring.temperature import softmax

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents in the order of their first pages.

    pages: int64[d], pages of each. labels: int64[d], class index; -1 if its pages have different ones.
    probabilities: float64[d, C].
    """

    names: Sequence[str]
    pages: Ints
    labels: Ints
    probabilities: Floats


def combined(probabilities: Floats) -> npt.NDArray[np.float64]:
    """float64[C]: one answer from softmax outputs float[n, C] of n pages: the softmax of their mean log-probability.

    This is the normalized geometric mean, a logarithmic opinion pool with equal weights (Genest and Zidek 1986,
    Statistical Science 1(1), section 3.1), so the result does not depend on the order of the pages.
    """
    return softmax(log_probabilities(probabilities).mean(axis=0))


def by_document(ids: Iterable[str], labels: Ints, probabilities: Floats) -> Documents:
    """Combine pages by document: ids str[n], labels int[n] and softmax float[n, C] of the pages, in any order."""
    rows = _rows_of(ids)
    groups = list(rows.values())
    classes = [np.unique(labels[group]) for group in groups]
    empty = np.zeros((0, probabilities.shape[1]))
    return Documents(
        names=list(rows),
        pages=np.array([len(group) for group in groups], np.int64),
        labels=np.array([own[0] if len(own) == 1 else -1 for own in classes], np.int64),
        probabilities=np.stack([combined(probabilities[group]) for group in groups]) if groups else empty,
    )


def _rows_of(ids: Iterable[str]) -> dict[str, list[int]]:
    """The rows of each document's pages."""
    rows: dict[str, list[int]] = {}
    for row, page_id in enumerate(ids):
        rows.setdefault(document_of(page_id), []).append(row)
    return rows


def summary_with_documents(
    ids: Sequence[str], labels: Ints, probabilities: Floats, *, class_ids: Sequence[int]
) -> SplitFigures:
    """`trainer.scoring.metrics.summary` of the pages, with `document_figures` where there are any."""
    figures = summary(labels, probabilities, class_ids=class_ids)
    documents = document_figures(ids, labels, probabilities)
    if documents is not None:
        figures["documents"] = documents
    return figures


def document_figures(ids: Sequence[str], labels: Ints, probabilities: Floats) -> DocumentFigures | None:
    """The accuracy over documents, whose class is the most probable one of `combined`; arguments as `by_document`.

    None if no document has several pages. A document whose pages have different labels does not count.
    """
    if len(_rows_of(ids)) == len(ids):
        return None
    documents = by_document(ids, labels, probabilities)
    counted = documents.labels >= 0
    count = int(counted.sum())
    figures: DocumentFigures = {
        "count": count,
        "several_pages": int((documents.pages > 1).sum()),
        "several_labels": int((~counted).sum()),
    }
    if count:
        hits = int((documents.probabilities[counted].argmax(axis=1) == documents.labels[counted]).sum())
        figures |= {"accuracy": hits / count, "accuracy_interval": list(wilson_interval(hits, count))}
    return figures
