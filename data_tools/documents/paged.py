"""From documents to examples: one label for each page that `data.pages` takes from a document.

All pages of a document carry its label and stay in its split.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from data_tools.documents.data_set import SPLITS, DataConfig, DataSet, capped, read_data_set
from data_tools.documents.formats import pdfium
from data_tools.documents.page_counts import CountSetup, OnProgress, count_documents
from data_tools.documents.pages import page_limit
from data_tools.errors import UserError
from data_tools.labels.label import Label
from data_tools.labels.page_id import document_of, join_page_id, split_page_id

_COUNT_TIMEOUT_S = 60.0


class Listed(NamedTuple):
    """What one label names: a document, or with `number` one page of it."""

    document: str
    number: int | None
    class_id: int


@dataclass(frozen=True)
class PagedDataSet:
    """A data set whose labels name pages; counts: pages of the documents that have several, if they were counted."""

    data_set: DataSet
    counts: Mapping[str, int]


def read_paged_data_set(
    data: DataConfig, *, seed: int, workers: int, progress: OnProgress | None = None
) -> PagedDataSet:
    """Read the labels, count the pages of their documents if `data.pages` asks for more than the first, and list them.

    Of first pages alone, only the documents in several splits are counted, since several pages make that an error.

    Raises:
        UserError: invalid labels (see `read_data_set`), or a PDF and no pypdfium2.
    """
    data_set = read_data_set(data, seed=seed)
    require_pdf_reader(data_set)
    listed = listed_documents(data_set, exists=lambda path: Path(data.root, path).exists())
    several_pages = page_limit(data.pages) > 1
    every = list(dict.fromkeys(one.document for split in SPLITS for one in listed[split]))
    documents = every if several_pages else list(_numbers_of_shared(listed))
    counts: dict[str, int] = {}
    if documents:
        setup = CountSetup(data.root, data.outside_links)
        found = count_documents(setup, documents, workers=workers, timeout_s=_COUNT_TIMEOUT_S, progress=progress)
        counts = {document: found[document] for document in documents if found[document] > 1}
    _refuse_shared(listed, counts)
    counts = counts if several_pages else {}
    return PagedDataSet(with_pages(data_set, listed, data, counts=counts, seed=seed), counts)


def known_paged_data_set(data: DataConfig, *, seed: int, counts: Mapping[str, int]) -> DataSet:
    """The data set of `read_paged_data_set` with counts that another process has made.

    Raises:
        UserError: as there.
    """
    data_set = read_data_set(data, seed=seed)
    require_pdf_reader(data_set)
    listed = listed_documents(data_set, exists=lambda path: Path(data.root, path).exists())
    return with_pages(data_set, listed, data, counts=counts, seed=seed)


def require_pdf_reader(data_set: DataSet) -> None:
    """Check that PDFs can be read if the labels name one.

    Raises:
        UserError: they name one, and pypdfium2 is not installed.
    """
    for split in SPLITS:
        for label in data_set.labels[split]:
            if document_of(label.page_id)[-4:].lower() == ".pdf":
                pdfium.require(f"data.{split}: {label.page_id}")
                return


def listed_documents(data_set: DataSet, *, exists: Callable[[str], bool]) -> dict[str, list[Listed]]:
    """The documents and pages that the labels of each split name.

    exists: whether there is a file at a path relative to the root; asked only for paths that end in `#page=N`, which
    name the page N of a document unless there is a file of exactly that name.
    """
    return {split: [_listed(label, exists) for label in data_set.labels[split]] for split in SPLITS}


def _listed(label: Label, exists: Callable[[str], bool]) -> Listed:
    document, number = split_page_id(label.page_id)
    if document == label.page_id or exists(label.page_id):
        return Listed(label.page_id, None, label.class_id)
    return Listed(document, number, label.class_id)


def with_pages(
    data_set: DataSet,
    listed: Mapping[str, Sequence[Listed]],
    data: DataConfig,
    *,
    counts: Mapping[str, int],
    seed: int,
) -> DataSet:
    """`data_set` with a label for each page; counts: pages of documents, 1 where it has none. Pure.

    `data.max_per_class` limits pages: documents in an order by hash, and the pages of each in theirs.

    Raises:
        UserError: a page has two classes, or a document is in two splits.
    """
    _refuse_shared(listed, counts)
    limit = page_limit(data.pages)
    labels = {split: _pages_of(split, listed[split], counts=counts, limit=limit) for split in SPLITS}
    if data.max_per_class is not None:
        labels["train"] = capped(labels["train"], data.max_per_class, seed)
    return replace(data_set, labels=labels)


def _pages_of(split: str, listed: Iterable[Listed], *, counts: Mapping[str, int], limit: int) -> list[Label]:
    classes: dict[str, int] = {}
    for document, number, class_id in listed:
        pages = counts.get(document, 1)
        numbers = range(1, min(pages, limit) + 1) if number is None else (number,)
        for one in numbers:
            page_id = join_page_id(document, one, several=pages > 1)
            before = classes.setdefault(page_id, class_id)
            if before != class_id:
                raise UserError(
                    f"data.{split}: {page_id} has two classes, {before} and {class_id}; keep one of the lines"
                )
    return [Label(page_id, class_id) for page_id, class_id in classes.items()]


def _numbers_of_shared(listed: Mapping[str, Iterable[Listed]]) -> dict[str, dict[str, set[int | None]]]:
    """Of each document in several splits, by split, the numbers of the pages that labels name; None: the document."""
    first: dict[str, str] = {}
    shared = {
        one.document for split in SPLITS for one in listed[split] if first.setdefault(one.document, split) != split
    }
    numbers: dict[str, dict[str, set[int | None]]] = {}
    for split in SPLITS if shared else ():
        for one in listed[split]:
            if one.document in shared:
                numbers.setdefault(one.document, {}).setdefault(split, set()).add(one.number)
    return numbers


def _refuse_shared(listed: Mapping[str, Iterable[Listed]], counts: Mapping[str, int]) -> None:
    """Check that no document is in two splits: no file of several pages, and none of which a label names a page.

    A plain image that is listed in two splits has a label warning instead.
    """
    for document, by_split in _numbers_of_shared(listed).items():
        splits = list(by_split)
        if counts.get(document, 1) > 1 or any(map(any, by_split.values())):
            other = next((split for split in splits if by_split[split] != by_split[splits[0]]), None)
            raise UserError(
                f"data.{other or splits[1]}: {document} has {'other' if other else 'the same'} pages in {splits[0]}; "
                "list all pages of a document in one split"
            )
