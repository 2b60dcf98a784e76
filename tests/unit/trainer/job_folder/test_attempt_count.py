"""Earlier attempts and their configuration, as a job finds them in its folder."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from data_tools.config import to_mapping
from data_tools.errors import UserError
from data_tools.protocol import heartbeat_path
from trainer.config import CheckpointConfig, JobConfig, ModelConfig, StageConfig, TrainingConfig
from trainer.job_folder.attempt_count import attempts_before, keep_config
from trainer.job_folder.checkpoint import CheckpointFolder, Snapshot
from trainer.job_folder.heartbeat import Heartbeat

CONFIG = JobConfig(
    name="job", stage_name="job", region="holistic", shards="shards", seed=1, stage=StageConfig(), model=ModelConfig(),
    training=TrainingConfig(), checkpoint=CheckpointConfig(),
)  # fmt: skip


def test_another_configuration_is_rejected(tmp_path: Path) -> None:
    keep_config(tmp_path, CONFIG)
    keep_config(tmp_path, replace(CONFIG, checkpoint=CheckpointConfig(keep=9)))  # does not change the result
    with pytest.raises(UserError, match=r"started with another configuration.*seed: 1 -> 2"):
        keep_config(tmp_path, replace(CONFIG, seed=2))


def test_a_run_with_start_weights_may_be_moved_or_copied(tmp_path: Path) -> None:
    """They lie in its folder, so another path means another place of the folder."""
    started = replace(CONFIG, weights_file="/runs/here/weights/start.weights.h5")
    keep_config(tmp_path, started)
    keep_config(tmp_path, replace(started, weights_file="/runs/there/weights/start.weights.h5"))
    with pytest.raises(UserError, match="weights_file: 'a file' -> None"):
        keep_config(tmp_path, CONFIG)


def test_a_configuration_of_a_version_without_a_setting_has_its_default(tmp_path: Path) -> None:
    recorded = to_mapping(CONFIG)
    del recorded["class_weights"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(recorded))
    with pytest.raises(UserError, match="class_weights: None -> 'balanced'"):
        keep_config(tmp_path, replace(CONFIG, class_weights="balanced"))
    keep_config(tmp_path, CONFIG)


def test_class_weights_survive_a_checkpoint(tmp_path: Path) -> None:
    weighted = replace(CONFIG, class_weights={"3": 2.0, "memo": 1.0})
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", keep=2, config=to_mapping(weighted))
    checkpoints.write(Snapshot(3, {}, {}, {}), best=None)
    keep_config(tmp_path, weighted)


def test_a_deleted_configuration_is_read_from_the_checkpoint(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", keep=2, config=to_mapping(CONFIG))
    checkpoints.write(Snapshot(3, {}, {}, {}), best=None)
    with pytest.raises(UserError, match="seed: 1 -> 2"):
        keep_config(tmp_path, replace(CONFIG, seed=2))
    keep_config(tmp_path, CONFIG)
    assert (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("rank_0", "rank_1", "before"),
    [
        (None, None, 0),
        ('{"attempt": 3}', None, 3),
        ("", '{"attempt": 2}', 2),  # not synced, and truncated when its host went down
        ('{"attempt": "x"}', "[]", 0),
        (None, '{"attempt": 4}', 4),  # deleted
    ],
)
def test_attempts_are_counted_from_the_remaining_heartbeats(
    tmp_path: Path, rank_0: str | None, rank_1: str | None, before: int
) -> None:
    for rank, text in enumerate((rank_0, rank_1)):
        if text is not None:
            heartbeat_path(tmp_path, rank).write_text(text)
    assert attempts_before(tmp_path) == before


def test_a_process_that_dies_before_the_ranks_agree_keeps_the_count(tmp_path: Path) -> None:
    heartbeat_path(tmp_path, 0).write_text('{"attempt": 3}')
    with Heartbeat(tmp_path, rank=0):
        assert attempts_before(tmp_path) == 3
