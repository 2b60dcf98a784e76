"""A report of a run with corrections: pages that are left out do not count, and other test labels are a caveat."""

import json
from pathlib import Path

import pytest

from launch.report.caveats import caveats
from launch.report.figures import figures
from launch.report.shard_pages import data_set
from launch.run.record import read_run
from tests.unit.launch.run_folder import RunSpec, build


@pytest.mark.parametrize(
    ("decisions", "pages", "lines"), [({"relabel": 2, "exclude": 3}, 97, 1), ({"keep": 4}, 100, 0)]
)
def test_corrected_test_labels(tmp_path: Path, decisions: dict[str, int], pages: int, lines: int) -> None:
    run = build(tmp_path / "run", RunSpec(classes=4, pages=60, shards=str(tmp_path / "shards")))
    shards = tmp_path / "shards" / "test" / "holistic"
    shards.mkdir(parents=True)
    (shards / "manifest.json").write_text(json.dumps({"count": 100, "rejected": 1}))
    record = {"path": "/c.csv", "sha256": "0" * 64, "rows": 5, "splits": {"test": decisions}}
    (run / "corrections.json").write_text(json.dumps(record))
    found = read_run(run)
    assert data_set(found) == {"test": {"pages": pages, "rejected": 1}}
    said = [line for line in caveats(found, figures(found, class_names={}, now=0)) if "orrections" in line]
    assert len(said) == lines
    assert all("2 test pages" in line and "3 test pages" in line for line in said)
