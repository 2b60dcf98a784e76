"""Labels of real pages in the spellings of other tools give the shards of the plain label files, byte for byte."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_tools.config import from_mapping
from data_tools.conversion.convert import ConversionSummary, ShardConfig, convert
from data_tools.documents.data_set import SPLITS, DataConfig

Rows = dict[str, list[tuple[str, str]]]


def excel(rows: Rows, pages: Path, folder: Path) -> dict[str, Any]:
    """One table as Excel saves "Unicode text" for a German user of Windows."""
    lines = [f'"{pages}\\{p}";{c};{s.upper()}'.replace("images/", "images\\") for s in SPLITS for p, c in rows[s]]
    text = "\r\n".join(["sep=;", "Datei;Klasse;Teil", *lines, ""])
    (folder / "all.csv").write_bytes(text.encode("utf-16"))
    columns = {"path": "datei", "label": "Klasse", "split": "Teil"}
    return {"labels": str(folder / "all.csv"), "columns": columns}


def shouted(rows: Rows, pages: Path, folder: Path) -> dict[str, Any]:
    """Label files with other case, tabs, dots, quotes, CR LF and every line twice."""
    for split in SPLITS:
        lines = [f'"./{page.upper()}"\t {label} \r\n' for page, label in rows[split]]
        plain = [f"{page} {label}\r\n" for page, label in rows[split]]
        (folder / f"{split}.txt").write_text("".join(lines + plain), newline="")
    return {split: str(folder / f"{split}.txt") for split in SPLITS}


def converted(settings: dict[str, Any], pages: Path, out: Path) -> ConversionSummary:
    data = from_mapping(DataConfig, {"root": str(pages), **settings}, where="data")
    shards = ShardConfig(folder=str(out), height=32, width=32)
    return convert(data, shards, regions={}, seed=1, workers=2)


def shard_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.tfrecord"))}


@pytest.mark.real_pages
def test_every_spelling_gives_the_same_shards(real_pages: Path, tmp_path: Path) -> None:
    plain = {split: str(real_pages / "labels" / f"{split}.txt") for split in SPLITS}
    rows = {s: [line.rsplit(" ", 1) for line in Path(file).read_text().splitlines()] for s, file in plain.items()}
    assert not converted(plain, real_pages, tmp_path / "plain").rejected
    expected = shard_bytes(tmp_path / "plain")
    assert expected
    kinds = {
        "excel": {"absolute", "backslashes", "encoding", "line_ends"},
        "shouted": {"blanks", "dots", "duplicate_line", "line_ends", "other_spelling", "quoted"},
    }
    writers: tuple[Callable[[Any, Path, Path], dict[str, Any]], ...] = (excel, shouted)
    for write in writers:
        settings = write(rows, real_pages, tmp_path)
        summary = converted(settings, real_pages, tmp_path / write.__name__)
        assert shard_bytes(tmp_path / write.__name__) == expected, write.__name__
        found = {warning.kind for warning in summary.label_warnings}
        assert found - {"class_without_pages"} == kinds[write.__name__]


@pytest.mark.real_pages
def test_a_folder_of_real_pages_is_divided_and_named(real_pages: Path, tmp_path: Path) -> None:
    """Five classes as folders with what file managers leave there; half of the pages have the suffix `.TIFF`."""
    for number, name in enumerate(("00", "02", "04", "06", "09")):
        pages = sorted((real_pages / "images" / name).glob("*.tif"))[:12]
        target = tmp_path / "tree" / f"class {number}"
        target.mkdir(parents=True)
        for place, page in enumerate(pages):
            shutil.copy(page, target / page.with_suffix(".TIFF" if place % 2 else ".tif").name)
        (target / "Thumbs.db").touch()
    settings = {"labels": str(tmp_path / "tree"), "split": {"val": 0.2, "test": 0.2}}
    summary = converted(settings, tmp_path / "tree", tmp_path / "shards")
    assert (summary.pages, summary.rejected) == (60, 0)
    (warning,) = summary.label_warnings
    assert (warning.kind, warning.count) == ("passed_over", 5)
