"""A finished run with random weights, made in seconds, for tests of what comes after a training."""

import hashlib
from pathlib import Path

import numpy as np
import yaml

from data_tools.config import to_mapping
from data_tools.conversion.convert import convert
from data_tools.documents.regions import HOLISTIC
from data_tools.drawn import draw_data_set
from data_tools.files import write_json
from launch.config import Config, load_config, resolved
from launch.run.model import record_model
from trainer.config import STACK, CheckpointConfig, JobConfig, StageConfig, TrainingConfig

MODEL = ["model.backbone=SmallConvNet", "model.weights=none", "model.dense=[8]", "model.dropout=0.1"]
CLASSES = (0, 2, 4)


def make_shards(root: Path, *more: str) -> Config:
    """A few drawn pages in `root`/pages, converted to `root`/shards, and the configuration of a run `root`/run.

    more: settings, as in `--set`.
    """
    draw_data_set(root / "pages", seed=1, pages_per_class={"train": 1, "val": 1, "test": 2})
    places = {split: root / "pages" / "labels" / f"{split}.txt" for split in ("train", "val", "test")}
    settings = [
        *(f"data.{split}={place}" for split, place in places.items()),
        f"data.root={root / 'pages'}",
        f"data.class_names={root / 'pages' / 'classes.txt'}",
        f"data.classes={list(CLASSES)}",
        "regions={left: [0, 0, 0.5, 1]}",
        f"shards.folder={root / 'shards'}",
        "shards.height=32",
        "shards.width=32",
        f"run.folder={root / 'run'}",
        *MODEL,
        *more,
    ]
    config = load_config("demo", settings)
    convert(config.data, config.shards, regions=config.boxes, seed=1, workers=1)
    return config


def make_run(config: Config) -> Path:
    """The run folder of `config` as `train-all` leaves it, as far as using the models needs it."""
    from trainer.stack.fit import FittedStack, save_stack
    from trainer.stack.mlp import Mlp

    run = config.paths.run
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(resolved(config), sort_keys=False))
    members = {region if region != HOLISTIC else "holistic_px": region for region in config.boxes}
    write_json(run / "run.json", {"jobs": [*members, STACK]})
    record_model(run, config.paths.shards)
    for name, region in members.items():
        make_member(run, name, region=region, config=config)
    nothing = np.zeros((0, 0), np.float32)
    features = len(members) * len(CLASSES)
    stack = FittedStack(
        tuple(members), np.array(CLASSES), "average", np.ones(len(members)), np.zeros((features, len(CLASSES))),
        np.zeros(len(CLASSES)), Mlp(nothing, nothing, nothing, nothing),
    )  # fmt: skip
    save_stack(run / "jobs" / STACK, stack)
    digest = hashlib.sha256((run / "jobs" / STACK / "weights.safetensors").read_bytes()).hexdigest()
    write_json(run / "jobs" / STACK / "result.json", {"members": list(members), "weights_digest": digest})
    return run


def make_member(run: Path, name: str, *, region: str, config: Config) -> None:
    """A finished job with random weights."""
    import keras

    from trainer.network.classifier import Geometry, build_classifier
    from trainer.network.weights import named, save_arrays

    px = config.shards.height
    job = JobConfig(
        name=name, stage_name=name, region=region, shards=str(config.paths.shards), seed=1,
        stage=StageConfig(region=region, image_px=px), model=config.model, training=TrainingConfig(),
        checkpoint=CheckpointConfig(),
    )  # fmt: skip
    folder = run / "jobs" / name
    checkpoint = folder / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(to_mapping(job)))
    keras.utils.set_random_seed(len(name))
    model = build_classifier(config.model, Geometry(px, config.shards.width, 1, px), classes=len(CLASSES)).model
    generator = np.random.default_rng(len(name))
    arrays = {}
    for path, variable in named(model.variables).items():
        if "seed" not in path:
            values = generator.normal(0.0, 0.3, variable.shape).astype(np.float32)
            arrays[path] = np.abs(values) + 0.5 if "variance" in path else values
    save_arrays(checkpoint / "weights.safetensors", arrays)
    digest = hashlib.sha256((checkpoint / "weights.safetensors").read_bytes()).hexdigest()
    write_json(checkpoint / "manifest.json", {"step": 1, "sha256": {"weights.safetensors": digest}})
    write_json(folder / "result.json", {"region": region, "best_checkpoint": "checkpoints/step-00000001"})
