"""What the search for duplicates must see through, and what it must not, on drawn pages."""

import numpy as np
import pytest
from numpy.typing import NDArray

from data_tools.documents.pixels import fit
from data_tools.documents.regions import WHOLE_PAGE
from data_tools.drawn import CLASS_NAMES
from data_tools.drawn.classes import draw_page
from data_tools.survey.duplicates import near_pairs
from data_tools.survey.fingerprint import (
    DETAIL_HEIGHT,
    DETAIL_WIDTH,
    HASH_WORDS,
    NEAR_AGREEMENT,
    NEAR_BITS,
    THUMB_PX,
    agreement,
    hash_text,
    hash_value,
    paper_level,
    perceptual_hash,
)
from tests.helpers.perturbed_pages import CHANGES, filled_in

Pixels = NDArray[np.uint8]
HEIGHT = 700
CLASSES = ("letter", "form", "email", "scientific publication", "invoice", "memo")


def hash_of(page: Pixels) -> NDArray[np.uint64]:
    return perceptual_hash(fit(page, WHOLE_PAGE, THUMB_PX, THUMB_PX)[:, :, 0])


def detail(page: Pixels) -> Pixels:
    return fit(page, WHOLE_PAGE, DETAIL_HEIGHT, DETAIL_WIDTH)[:, :, 0]


def is_duplicate(first: Pixels, second: Pixels) -> bool:
    hashes = np.stack([hash_of(first), hash_of(second)])
    found = len(near_pairs(hashes, limit=NEAR_BITS).pages) == 1
    return found and agreement(detail(first), detail(second)) >= NEAR_AGREEMENT


@pytest.fixture(scope="module")
def pages() -> dict[str, Pixels]:
    return {
        name: np.asarray(draw_page(name, np.random.default_rng(place), height=HEIGHT))
        for place, name in enumerate(CLASSES)
    }


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_page_is_the_same_page(pages: dict[str, Pixels], change: str) -> None:
    random = np.random.default_rng(1)
    missed = [name for name, page in pages.items() if not is_duplicate(page, CHANGES[change](page, random))]
    # The figures by which the limits were chosen are the bench's.
    assert len(missed) <= 1, missed


def test_no_two_drawn_pages_are_the_same(pages: dict[str, Pixels]) -> None:
    more = [
        np.asarray(draw_page(name, np.random.default_rng(100 + place), height=HEIGHT))
        for place, name in enumerate(CLASS_NAMES)
    ]
    every = [*pages.values(), *more]
    found = near_pairs(np.stack([hash_of(page) for page in every]), limit=NEAR_BITS).pages.tolist()
    assert [pair for pair in found if is_duplicate(*(every[place] for place in pair))] == []


def test_forms_of_one_template_are_not_the_same_page(pages: dict[str, Pixels]) -> None:
    random = np.random.default_rng(2)
    other = pages["scientific publication"]
    templates = ["form", "invoice", "letter", "memo"]
    taken = [name for name in templates if is_duplicate(pages[name], filled_in(pages[name], other, 0.35, random))]
    assert taken == []


def test_pages_with_next_to_nothing_on_them_are_never_the_same() -> None:
    empty = np.full((DETAIL_HEIGHT, DETAIL_WIDTH), 255, np.uint8)
    dotted = empty.copy()
    dotted[100:104, 100:104] = 0
    assert agreement(empty, empty) == 0.0
    assert agreement(dotted, dotted) == 0.0


def test_agreement_counts_what_either_page_has_alone(pages: dict[str, Pixels]) -> None:
    page = detail(pages["letter"])
    more = page.copy()
    more[140:220] = detail(pages["scientific publication"])[140:220]
    assert agreement(page, more) == agreement(more, page) < NEAR_AGREEMENT
    assert agreement(page, page) == 1.0


def test_the_hash_does_not_know_the_paper(pages: dict[str, Pixels]) -> None:
    page = pages["letter"]
    darker = (page * 0.5).astype(np.uint8)
    differing = np.bitwise_count(hash_of(page) ^ hash_of(darker)).sum()
    assert differing <= 16
    assert paper_level(fit(darker, WHOLE_PAGE, 64, 64)[:, :, 0]) < 130


def test_a_hash_as_text() -> None:
    value = hash_of(np.random.default_rng(3).integers(0, 256, (90, 70), np.uint8))
    assert value.shape == (HASH_WORDS,)
    assert len(hash_text(value)) == 64
    assert np.array_equal(hash_value(hash_text(value)), value)
