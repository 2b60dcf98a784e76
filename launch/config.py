"""The whole configuration: one YAML file on a preset, `--set` on top, read strictly into dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.config import ClusterConfig
from data_tools.config import from_mapping, merge, override, read_yaml, to_mapping
from data_tools.conversion.shard_plan import ShardConfig
from data_tools.documents.data_set import DataConfig
from data_tools.documents.regions import HOLISTIC, WHOLE_PAGE, Box, parse_regions
from data_tools.errors import UserError
from trainer.config import CheckpointConfig, ModelConfig, StageConfig, TrainingConfig
from trainer.stack.config import StackConfig

PRESET_FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run is recorded. folder: on storage that every host sees."""

    folder: str = "runs/regionstack"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run is told.

    seed: decides the order of pages, initial weights, dropout, which pages a cap keeps, and the bootstrap.
    regions: the name of a preset (`halves`, `das2018`) or boxes by name, [left, top, right, bottom] in shares of
    the page; the whole page, `holistic`, is always there.
    """

    seed: int = 1
    data: DataConfig
    regions: str | dict[str, tuple[float, float, float, float]] = "halves"
    shards: ShardConfig = field(default_factory=ShardConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    stages: dict[str, StageConfig]
    stack: StackConfig = field(default_factory=StackConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def boxes(self) -> dict[str, Box]:
        """Every region's box, the whole page first.

        Raises:
            UserError: an unknown preset, an invalid region name or box, or a region named like the whole page.
        """
        return {HOLISTIC: WHOLE_PAGE, **parse_regions(self.regions)}


def preset_names() -> list[str]:
    """Names of the presets that come with the project."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


def _layered(path: Path) -> dict[str, Any]:
    """The mapping in a file, laid on the preset that it names under `preset`."""
    mapping = read_yaml(path)
    base = mapping.pop("preset", None)
    if base is None:
        return mapping
    if base not in preset_names():
        raise UserError(f"{path}: preset: {base} is not one of {', '.join(preset_names())}")
    return merge(_layered(PRESET_FOLDER / f"{base}.yaml"), mapping)


def load_config(source: str, assignments: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file, or a preset by its name, with `a.b=value` assignments on top.

    Raises:
        UserError: no such file or preset, an unknown key (with the nearest known one), a value of another type.
    """
    path = Path(source)
    if source in preset_names() and not path.is_file():
        path = PRESET_FOLDER / f"{source}.yaml"
    elif not path.exists():
        raise UserError(f"--config {source}: no such file, and not one of the presets {', '.join(preset_names())}")
    return config_from(override(_layered(path), assignments))


def config_from(mapping: Mapping[str, Any]) -> Config:
    """The configuration from plain data; stages that are null (a preset's, taken out) are left out."""
    stages = mapping.get("stages")
    if isinstance(stages, Mapping):
        mapping = {**mapping, "stages": {name: stage for name, stage in stages.items() if stage is not None}}
    config = from_mapping(Config, mapping, where="")
    if not config.stages:
        raise UserError("stages: at least one stage is needed")
    _ = config.boxes  # refuse bad boxes before anything is done
    return config


def resolved(config: Config) -> dict[str, Any]:
    """The configuration as plain data, every default written out; loading it gives the same configuration."""
    return dict(to_mapping(config))
