"""A blank test page gets the same decision from `predict`, `evaluate` and the report."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.convert import convert
from data_tools.documents.opencv import cv2
from data_tools.shards.reader import ShardSet
from launch.api import Run, open_run
from launch.commands.score import ensemble_for_shards
from launch.report.report import write_report
from tests.helpers.commands import regionstack
from tests.helpers.untrained_run import make_run, make_shards
from trainer.scoring.predictions import Predictions, write_predictions
from trainer.stack.job import run as run_stack


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a blank page in its test set, and a stack that the stack's own job has fitted."""
    root = tmp_path_factory.mktemp("blank")
    drawn = make_shards(root)
    test = ShardSet.open(root / "shards" / "test" / "holistic").ids.tolist()
    cv2.imwrite(str(root / "pages" / test[0]), np.full((800, 600), 255, np.uint8))
    config = replace(drawn, shards=replace(drawn.shards, folder=str(root / "with_blank")))
    convert(config.data, config.shards, regions=config.boxes, seed=1, workers=1)
    folder = make_run(config)
    members = score_members(folder, config.paths.shards)
    (folder / "jobs" / "stack" / "result.json").unlink()
    run_stack({"run": str(folder), "members": members, "config": {"method": "average", "epochs": 1}, "seed": 1})
    return open_run(folder)


def score_members(folder: Path, shards: Path) -> list[str]:
    """Write the members' outputs as their jobs do; their names."""
    ensemble, names = None, []
    for split in ("val", "test"):
        sets = {region: ShardSet.open(shards / split / region) for region in ("holistic", "left")}
        ensemble = ensemble or ensemble_for_shards(folder, sets)
        rows = {region: {page_id: row for row, page_id in enumerate(one.ids)} for region, one in sets.items()}
        ids, first = sets["holistic"].ids, sets["holistic"]
        pages = {r: one.gather(np.array([rows[r][page_id] for page_id in ids])) for r, one in sets.items()}
        outputs = ensemble.predict(pages)
        names = [name for name in outputs if name != "stack"]
        class_ids = np.array(first.manifest.class_ids, np.int64)
        for name in names:
            table = Predictions(ids, np.asarray(first.labels), outputs[name], class_ids)
            write_predictions(folder / "jobs" / name / "predictions" / f"{split}.npz", table)
    return names


def test_the_decision_of_each_test_page(run: Run, tmp_path: Path) -> None:
    shards = ShardSet.open(run.config.paths.shards / "test" / "holistic")
    ids = shards.ids.tolist()
    decisions = [one.decision for one in run.predict([Path(run.config.data.root) / page_id for page_id in ids])]
    assert decisions.count("unknown") == 1
    write_report(run.folder, tmp_path)
    rows = json.loads((tmp_path / "metrics.json").read_text())["confidence"]["decisions"]
    assert {name: row["pages"] for name, row in rows.items()} == {
        name: decisions.count(name) for name in ("accepted", "review", "unknown")
    }
    table = regionstack("evaluate", str(run.folder))
    for name in ("accepted", "review", "unknown"):
        assert re.search(rf"{name} +│ +{decisions.count(name)} ", table)
