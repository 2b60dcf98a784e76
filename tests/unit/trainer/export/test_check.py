"""Comparison of outputs, default folders, and which job a name means."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from data_tools.config import to_mapping
from data_tools.errors import UserError
from trainer.config import CheckpointConfig, JobConfig, ModelConfig, StageConfig, TrainingConfig
from trainer.export.check import largest_difference
from trainer.export.export import ExportRequest, default_folder
from trainer.export.source import job_named
from trainer.export.speed import size_of


def test_the_largest_difference_names_its_page() -> None:
    expected = np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)
    found = expected + np.array([[0.01, -0.01], [0.2, -0.2]], np.float32)
    difference, page = largest_difference(found, expected, ["a", "b"])
    assert (round(difference, 6), page) == (0.2, "b")
    found[0, 0] = np.nan
    difference, page = largest_difference(found, expected, ["a", "b"])
    assert np.isnan(difference) and page == "a"


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (ExportRequest(), "export"),
        (ExportRequest(form="onnx"), "export-onnx"),
        (ExportRequest(model="holistic"), "export-holistic"),
        (ExportRequest(form="litert", model="left"), "export-left-litert"),
        (ExportRequest(model="../../left"), "export-..-..-left"),
    ],
)
def test_default_folders_differ(request_: ExportRequest, name: str) -> None:
    assert default_folder(Path("run"), request_) == Path("run", name)


@pytest.mark.parametrize(
    ("model", "job"),
    [("holistic_128", "holistic_128"), ("holistic", "holistic_256"), ("top", "top"), ("left", None), ("stack", None)],
)
def test_a_job_by_its_name_or_its_region(tmp_path: Path, model: str, job: str | None) -> None:
    """`left` is not finished; the stack is no training job."""
    regions = {"holistic_128": "holistic", "holistic_256": "holistic", "top": "top", "stack": "stack"}
    for name, region in regions.items():
        folder = tmp_path / "jobs" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
        config = JobConfig(
            name=name, stage_name=name, region=region, shards="shards", seed=1, stage=StageConfig(image_px=64),
            model=ModelConfig(), training=TrainingConfig(), checkpoint=CheckpointConfig(),
        )  # fmt: skip
        (folder / "config.yaml").write_text(yaml.safe_dump(to_mapping(config)))
    if job is None:
        with pytest.raises(UserError, match=f"--model {model}: .* holistic_128, holistic_256, top"):
            job_named(tmp_path, model, ("holistic_256", "top"))
    else:
        assert job_named(tmp_path, model, ("holistic_256", "top")) == job


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(5))
    (tmp_path / "inner" / "b").write_bytes(bytes(7))
    assert size_of(tmp_path) == 12 and size_of(tmp_path / "a") == 5
