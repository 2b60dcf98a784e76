"""The pages of a job of a fold: what it trains on and what it holds out, from the same shards."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.errors import UserError
from data_tools.labels.classes.weights import weight_of_each
from tests.helpers.synthetic_pages import made_data
from trainer.config import CheckpointConfig, Fold, JobConfig, JobPayload, ModelConfig, StageConfig, TrainingConfig
from trainer.job_data import class_weights_of, open_job_data
from trainer.job_folder.duplicates import FILE


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training pages of three classes."""
    folder = tmp_path_factory.mktemp("shards")
    config = ShardConfig(folder=str(folder / "sets"), height=8, width=8)
    convert(made_data(folder), config, regions={}, seed=1, workers=1)
    return folder / "sets"


def job(shards: Path, run: Path, fold: Fold | None) -> JobPayload:
    config = JobConfig(
        name="job", stage_name="stage", region="holistic", shards=str(shards), seed=3, stage=StageConfig(),
        model=ModelConfig(), training=TrainingConfig(), checkpoint=CheckpointConfig(), fold=fold,
        class_weights="balanced",
    )  # fmt: skip
    return JobPayload(config=config, run=str(run))


def test_the_folds_hold_out_every_page_once(shards: Path, tmp_path: Path) -> None:
    whole = open_job_data(job(shards, tmp_path, None))
    assert set(whole.to_predict) == {"val", "test"}
    held: list[str] = []
    for number in (1, 2, 3):
        data = open_job_data(job(shards, tmp_path, Fold(number=number, of=3)))
        assert data.held_out is not None
        assert set(data.to_predict) == {"train", "val", "test"}
        train, own = set(data.train.ids.tolist()), data.held_out.ids.tolist()
        assert not train & set(own)
        assert train | set(own) == set(whole.train.ids.tolist())
        held += own
    assert sorted(held) == sorted(whole.train.ids.tolist())


def test_balanced_weights_are_those_of_the_pages_that_the_job_trains_on(shards: Path, tmp_path: Path) -> None:
    payload = job(shards, tmp_path, Fold(number=1, of=3))
    data = open_job_data(payload)
    counts = np.bincount(data.train.labels, minlength=3).tolist()
    expected = weight_of_each("balanced", data.manifest.class_ids, data.manifest.class_names, counts)
    assert class_weights_of(payload.config, data.manifest) == expected


def test_duplicates_of_the_run_are_held_out_together(shards: Path, tmp_path: Path) -> None:
    ids = sorted(open_job_data(job(shards, tmp_path, None)).train.ids.tolist())
    (tmp_path / FILE).write_text(json.dumps(ids[:8]))
    for number in (1, 2, 3):
        data = open_job_data(job(shards, tmp_path, Fold(number=number, of=3, grouped=True)))
        assert len(set(ids[:8]) & set(data.train.ids.tolist())) in (0, 8)
    (tmp_path / FILE).unlink()
    with pytest.raises(UserError, match=r"duplicates\.jsonl: missing; run train-all"):
        open_job_data(job(shards, tmp_path, Fold(number=1, of=3, grouped=True)))


def test_a_fold_without_a_page(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stack\.folds: 50 folds of 40 training pages leave fold"):
        for number in range(1, 51):
            open_job_data(job(shards, tmp_path, Fold(number=number, of=50)))
