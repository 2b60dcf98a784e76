"""The configuration: one YAML file on top of a preset, then `--set`, read strictly into dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cluster.config import ClusterConfig
from data_tools.config import from_mapping, merge, override, read_yaml, to_mapping
from data_tools.conversion.shard_plan import MAX_PX, MIN_PX, ShardConfig
from data_tools.documents.data_set import DataConfig
from data_tools.documents.regions import HOLISTIC, WHOLE_PAGE, Box, parse_regions
from data_tools.errors import UserError
from launch.paths import Paths
from trainer.config import CheckpointConfig, ModelConfig, StageConfig, TrainingConfig
from trainer.soft_targets.config import DistillConfig
from trainer.stack.config import StackConfig

PRESET_FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run is recorded. folder: on storage that every host mounts."""

    folder: str = "runs/regionstack"


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where a run can be watched besides its folder.

    tensorboard: every job writes event files. mlflow: address of an MLflow server, or `file:/FOLDER`; None: none.
    experiment: name of the MLflow experiment that the run is recorded in.
    """

    tensorboard: bool = True
    mlflow: str | None = None
    experiment: str = "regionstack"

    def __post_init__(self) -> None:
        if self.mlflow is None:
            return
        parts = urlsplit(self.mlflow)
        if parts.password is not None or parts.username is not None:
            # The configuration is copied into the run folder.
            raise UserError(
                "mlflow: must not contain a password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN, in the environment"
            )
        if parts.scheme not in ("http", "https", "file") or (parts.scheme != "file" and not parts.hostname):
            raise UserError(f"mlflow: must be http://HOST, https://HOST or file:/FOLDER, found {self.mlflow}")
        if not self.experiment.strip():
            raise UserError("experiment: must not be empty")


@dataclass(frozen=True, kw_only=True)
class DrawnConfig:
    """How the start weights of `model.weights: drawn` are made.

    start: what they start from: `imagenet`, `none`, or a file of the backbone's weights. pages_per_class: training
    pages of each of the 16 drawn classes. image_px: height that the network works at, px.
    """

    start: str = "imagenet"
    pages_per_class: int = 300
    image_px: int = 96
    epochs: int = 4

    def __post_init__(self) -> None:
        for name, least in (("pages_per_class", 2), ("image_px", MIN_PX), ("epochs", 1)):  # 2: 16 classes fill a batch
            if getattr(self, name) < least:
                raise UserError(f"{name}: must be at least {least}, found {getattr(self, name)}")
        if self.image_px > MAX_PX:
            raise UserError(f"image_px: must be at most {MAX_PX}, found {self.image_px}")
        if self.start not in ("imagenet", "none") and not self.start.endswith(".h5"):
            raise UserError(f"start: must be imagenet, none, or a .h5 or .weights.h5 file, found {self.start}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run.

    seed: determines the order of pages, initial weights, dropout, the pages that a cap keeps, and the bootstrap.
    regions: the name of a preset (`halves`, `das2018`), or boxes by name: [left, top, right, bottom] as fractions of
    the page. The whole page, `holistic`, is always included.
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
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    drawn: DrawnConfig = field(default_factory=DrawnConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:  # the range of NumPy's global generator
            raise UserError(f"seed: must be at least 0 and less than {2**32}, found {self.seed}")

    @property
    def boxes(self) -> dict[str, Box]:
        """Box of every region, the whole page first.

        Raises:
            UserError: an unknown preset, an invalid region name or box, or a region named like the whole page.
        """
        return {HOLISTIC: WHOLE_PAGE, **parse_regions(self.regions)}

    @cached_property
    def paths(self) -> Paths:
        """The paths of this configuration, relative ones resolved against the working folder of the first access."""
        excluded, corrections = self.stack.exclude_ids_file, self.data.corrections
        duplicates = self.stack.duplicates_file
        return Paths(
            data_root=Path(self.data.root).absolute(),
            shards=Path(self.shards.folder).absolute(),
            run=Path(self.run.folder).absolute(),
            exclude_ids_file=None if excluded is None else Path(excluded).absolute(),
            corrections=None if corrections is None else Path(corrections).absolute(),
            duplicates_file=None if duplicates is None else Path(duplicates).absolute(),
        )


def preset_names() -> list[str]:
    """Names of the presets that come with the project."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


def load_config(source: str, assignments: Sequence[str] = ()) -> Config:
    """Load a YAML file, or a preset by its name, and apply `a.b=value` assignments on top.

    Raises:
        UserError: no such file or preset, an unknown key (the message names the nearest known one), or a value of the
            wrong type.
    """
    path = Path(source)
    if source in preset_names() and not path.is_file():
        path = PRESET_FOLDER / f"{source}.yaml"
    elif not path.exists():
        raise UserError(f"--config {source}: no such file, and not one of the presets {', '.join(preset_names())}")
    mapping = _layered(path)
    over = override({}, [text for text in assignments if text.startswith("data.")])
    return config_from(override(_without_replaced(mapping, over), assignments))


def _without_replaced(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` without label sources that those in `over` replace: one for all splits, or one for each."""
    given, data = over.get("data"), base.get("data")
    if not isinstance(given, Mapping) or not isinstance(data, Mapping):
        return base
    kinds = [{"labels"}, {"train", "val", "test"}]
    chosen = [kind for kind in kinds if any(given.get(name) is not None for name in kind)]
    if len(chosen) != 1:
        return base
    replaced = set().union(*kinds) - chosen[0] - set(given)
    return {**base, "data": {name: value for name, value in data.items() if name not in replaced}}


def _layered(path: Path) -> dict[str, Any]:
    """The mapping in a file, merged into the preset that its key `preset` names."""
    mapping = read_yaml(path)
    base = mapping.pop("preset", None)
    if base is None:
        return mapping
    if base not in preset_names():
        raise UserError(f"{path}: preset: {base} is not one of {', '.join(preset_names())}")
    return merge(_without_replaced(_layered(PRESET_FOLDER / f"{base}.yaml"), mapping), mapping)


def config_from(mapping: Mapping[str, Any]) -> Config:
    """Build the configuration from plain data. A stage that is null (to remove it from a preset) is left out.

    Raises:
        UserError: an unknown key, a value of the wrong type, no stage, or a region that is not valid.
    """
    stages = mapping.get("stages")
    if isinstance(stages, Mapping):
        mapping = {**mapping, "stages": {name: stage for name, stage in stages.items() if stage is not None}}
    config = from_mapping(Config, mapping, where="")
    if not config.stages:
        raise UserError("stages: at least one stage is required")
    _ = config.boxes  # reject invalid boxes before anything is done
    return config


def resolved(config: Config) -> dict[str, Any]:
    """The configuration as plain data with every default; `config_from` turns it back into the same configuration."""
    return dict(to_mapping(config))
