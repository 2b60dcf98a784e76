"""Documents converted and surveyed in worker processes: all pages, hostile files, notes, and the same bytes."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_tools.conversion.across_hosts import ShareRunner, write_share
from data_tools.conversion.convert import ShardConfig, convert
from data_tools.conversion.page_notes import read_page_notes
from data_tools.documents import paged
from data_tools.documents.page_path import document_of, split_page_id
from data_tools.documents.pixels import fit, read_page
from data_tools.documents.regions import WHOLE_PAGE
from data_tools.errors import UserError
from data_tools.shards.reader import ShardSet
from data_tools.survey.results import results
from data_tools.survey.survey import survey
from tests.helpers import hand_pdf
from tests.helpers.conversions import REGIONS, files, rejected, run
from tests.helpers.hand_tiff import TiffPage, gray_page, tiff
from tests.helpers.page_kinds import saved
from tests.helpers.synthetic_documents import add_document, made_documents
from tests.helpers.synthetic_pages import page

COUNTS = {"train": 9, "val": 9, "test": 9}


def test_all_pages_of_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_documents(tmp_path, counts=COUNTS, each=4, pages="all")
    summary = run(data, tmp_path / "one", workers=1)
    run(data, tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert summary.rejected == 0
    # Complete shards need no count: it would take minutes for many documents.
    monkeypatch.setattr(paged, "count_documents", lambda *_, **__: pytest.fail("counted again"))
    assert run(data, tmp_path / "one").written == ()
    shards = ShardSet.open(tmp_path / "one" / "val" / "holistic")
    documents = Counter(document_of(page_id) for page_id in shards.ids.tolist())
    assert sorted(documents.values()) == [1, 1, 1, 4, 4, 4, 4, 4, 4]
    for position, page_id in enumerate(shards.ids.tolist()):
        document, number = split_page_id(page_id)
        pixels = read_page(Path(data.root, document), number=number)
        assert np.array_equal(shards.gather(np.array([position]))[0], fit(pixels, WHOLE_PAGE, 32, 24))
    classes = {document: set() for document in documents}
    for page_id, label in zip(shards.ids.tolist(), shards.labels.tolist(), strict=True):
        classes[document_of(page_id)].add(label)
    assert all(len(found) == 1 for found in classes.values())


def test_the_first_pages_and_what_is_left_out(tmp_path: Path) -> None:
    data = made_documents(tmp_path, counts=COUNTS, each=4)
    first = run(data, tmp_path / "first")
    left_out = [note for note in first.page_notes if note["kind"] == "left_out"]
    assert (len(left_out), sum(note["count"] for note in left_out)) == (18, 54)
    ids = ShardSet.open(tmp_path / "first" / "train" / "top").ids.tolist()
    assert all("#page" not in page_id for page_id in ids)
    assert results(survey(data, seed=1, workers=1))["left_out"] == {"pages": 54, "documents": 18}
    three = made_documents(tmp_path, counts=COUNTS, each=4, pages=3)
    summary = run(three, tmp_path / "three")
    assert sum(note["count"] for note in summary.page_notes) == 18
    found = survey(three, seed=1, workers=2)
    assert results(found)["left_out"] == {"pages": 18, "documents": 18}
    assert len(found.measures) == summary.pages == 63
    # Another resolution is another set of shards.
    with pytest.raises(UserError, match="pdf_dpi"):
        run(made_documents(tmp_path, counts=COUNTS, each=4, pdf_dpi=100), tmp_path / "first")


def test_hostile_documents_are_rejected_with_the_reason(tmp_path: Path) -> None:
    data = made_documents(tmp_path, counts=COUNTS, each=2, pages="all", max_rejected=20.0)
    cut = TiffPage(60, 80, [b"\x80" * 50], gray_page(page(0)).tags)
    documents = {
        "damaged.pdf": hand_pdf.damaged_page(4, 3),
        "damaged.tif": tiff([gray_page(page(50)), gray_page(page(51)), cut, gray_page(page(52))]),
        "encrypted.pdf": hand_pdf.encrypted(),
        "empty.pdf": hand_pdf.no_pages(),
        "huge.pdf": hand_pdf.drawn([b""], box=b"0 0 200000 200000"),
        "script.pdf": hand_pdf.with_javascript(),
        "endless.pdf": hand_pdf.endless(12),
        "itself.pdf": hand_pdf.recursive(),
    }
    for name, content in documents.items():
        add_document(tmp_path, name, content)
    summary = run(data, tmp_path / "s", page_timeout_s=1.0)
    reasons = rejected(tmp_path / "s")
    expected = {
        "damaged.pdf#page=3": "page 3",
        "damaged.tif#page=3": "TIFF",
        "encrypted.pdf": "encrypted",
        "empty.pdf": "no page",
        "huge.pdf": "pixels at 200 dpi",
        "endless.pdf": "took longer than 1 s",
        "itself.pdf": "took longer than 1 s",
    }
    assert reasons.keys() == expected.keys()
    assert all(part in reasons[page_id] for page_id, part in expected.items())
    assert summary.rejected == len(expected)
    ids = set(ShardSet.open(tmp_path / "s" / "train" / "top").ids.tolist())
    assert {"script.pdf", "damaged.pdf#page=4", "damaged.tif#page=4"} <= ids


def test_black_and_blank_pages_are_named(tmp_path: Path) -> None:
    data = made_documents(tmp_path, counts=COUNTS, each=1)
    white_ink = np.zeros((40, 30, 4), np.uint8)
    white_ink[10:30, 10:20] = 255
    black_ink = np.zeros((40, 30, 4), np.uint8)
    black_ink[10:30, 10:20, 3] = 255
    add_document(tmp_path, "black.png", saved(Image.fromarray(np.zeros((40, 30), np.uint8)), "PNG"))
    add_document(tmp_path, "blank.png", saved(Image.fromarray(np.full((40, 30), 250, np.uint8)), "PNG"))
    add_document(tmp_path, "white ink.png", saved(Image.fromarray(white_ink), "PNG"))
    add_document(tmp_path, "black ink.png", saved(Image.fromarray(black_ink), "PNG"))
    add_document(tmp_path, "white.pdf", hand_pdf.drawn([b"1 g 10 10 50 50 re f"]))
    add_document(tmp_path, "nothing.pdf", hand_pdf.drawn([b""]))
    summary = run(data, tmp_path / "s")
    found = {note["page"]: (note["kind"], bool(note["detail"])) for note in summary.page_notes}
    assert found == {
        "black.png": ("black", False),
        "blank.png": ("blank", False),
        "white ink.png": ("blank", True),
        "white.pdf": ("blank", True),
        "nothing.pdf": ("blank", False),
    }
    lines = [json.loads(line) for line in (tmp_path / "s" / "page_notes.jsonl").read_text().splitlines()]
    assert lines == read_page_notes(tmp_path / "s") == list(summary.page_notes)
    # A second call converts nothing, and reports the same.
    assert run(data, tmp_path / "s").page_notes == summary.page_notes


def test_other_hosts_take_the_counts_of_the_calling_one(tmp_path: Path) -> None:
    data = made_documents(tmp_path, counts=COUNTS, each=4, pages="all")
    run(data, tmp_path / "alone")
    done: list[dict[str, object]] = []

    def elsewhere(payloads: list[dict[str, object]]) -> None:
        done.extend(write_share(json.loads(json.dumps(payload))) for payload in payloads[1:])

    shards = ShardConfig(folder=str(tmp_path / "s"), height=32, width=24)
    convert(data, shards, regions=REGIONS, seed=1, workers=2, share_runner=ShareRunner(2, elsewhere))
    assert 0 < sum(int(str(share["pages"])) for share in done) < 81
    assert files(tmp_path / "s") == files(tmp_path / "alone")
