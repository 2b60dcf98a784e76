"""Copies of a finished run for other views: what is refused, and what the copy holds."""

from pathlib import Path

import pytest
import yaml

from data_tools.errors import UserError
from data_tools.files import write_json
from launch.cli import main
from launch.config import load_config, resolved
from launch.recipe.stages import plan_recipe
from launch.run.views import copy_with_views
from trainer.config import ViewsConfig

VIEWS = ViewsConfig(shift=0.02)


def finished(folder: Path, *, without: str = "") -> Path:
    """A run whose jobs have a checkpoint and a result, but for one."""
    config = load_config("demo", [f"run.folder={folder}"])
    for job in plan_recipe(config).jobs:
        checkpoint = folder / "jobs" / job.name / "checkpoints" / "step-00000008"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights.safetensors").write_bytes(job.name.encode())
        if job.name != without:
            write_json(folder / "jobs" / job.name / "result.json", {})
    (folder / "config.yaml").write_text(yaml.safe_dump(resolved(config)))
    (folder / "weights").mkdir()
    (folder / "weights" / "start.weights.h5").write_bytes(b"start")
    return folder


def test_the_copy_has_checkpoints_and_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path / "run")
    assert main(["views", str(run), "--shift", "0.02", "--to", str(tmp_path / "copy")]) == 0
    assert f"train-all --config {tmp_path / 'copy' / 'config.yaml'}" in " ".join(capsys.readouterr().out.split())
    files = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    jobs = [job.name for job in plan_recipe(load_config("demo")).jobs]
    assert files == {
        "config.yaml", "weights/start.weights.h5",
        *(f"jobs/{name}/checkpoints/step-00000008/weights.safetensors" for name in jobs),
    }  # fmt: skip
    copied, before = load_config(str(tmp_path / "copy" / "config.yaml")), load_config(str(run / "config.yaml"))
    assert copied.training.views == VIEWS
    assert copied.paths.run == tmp_path / "copy"
    assert (copied.stages, copied.data, copied.stack) == (before.stages, before.data, before.stack)


def test_what_is_refused(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    with pytest.raises(UserError, match=r"run: has these views already"):
        copy_with_views(run, tmp_path / "copy", ViewsConfig())
    with pytest.raises(UserError, match=r"run: exists already"):
        copy_with_views(run, run, VIEWS)
    with pytest.raises(UserError, match=r"nothing: is not a run folder"):
        copy_with_views(tmp_path / "nothing", tmp_path / "copy", VIEWS)
    with pytest.raises(UserError, match=r"half: top is not finished"):
        copy_with_views(finished(tmp_path / "half", without="top"), tmp_path / "copy", VIEWS)
    assert main(["views", str(run), "--shift", "0.5", "--to", str(tmp_path / "copy")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half", "run"]
