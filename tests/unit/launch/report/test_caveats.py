"""Caveats of a report that no other test of it needs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.report.figures import figures
from launch.run.record import read_run
from tests.unit.launch.run_folder import START, RunSpec, build


def warnings(run: Path) -> list[str]:
    return figures(read_run(run), class_names={}, now=START)["warnings"]


@pytest.mark.parametrize(
    ("stages", "named"),
    [
        ({"a": {"augment": {"mixup": 0.2, "cutmix": 0.0}}, "b": {"augment": {"cutmix": 1.0}}}, "a and b"),
        ({"a": {"augment": {"mixup": 0.0, "erase": 0.5}}, "b": {}}, None),
        ({"a": None}, None),
        ([], None),
    ],
)
def test_the_training_accuracy_of_mixed_pages_is_explained(tmp_path: Path, stages: Any, named: str | None) -> None:
    run = tmp_path / "run"
    build(run, RunSpec(classes=3, pages=30))
    before = warnings(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"stages": stages}))
    added = [line for line in warnings(run) if line not in before]
    assert ["mixup" in line and f"of {named} were" in line for line in added] == ([True] if named else [])
