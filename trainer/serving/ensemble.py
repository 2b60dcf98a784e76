"""The trained models of a run, opened from its folder to score or predict pages; no Horovod world, no Ray."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.config import from_mapping, read_yaml
from data_tools.errors import UserError
from data_tools.files import read_json
from trainer.config import STACK, JobConfig
from trainer.job_folder.checkpoint import WEIGHTS
from trainer.job_folder.journal import CONFIG, RESULT, job_folder
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.weights import load_arrays, transfer
from trainer.stack.fit import FittedStack, load_stack

Softmax = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Member:
    """One model with its best weights. softmax: uint8 [n, height, width, channels] -> float32 [n, classes]."""

    name: str
    region: str
    geometry: Geometry
    softmax: Softmax


@dataclass(frozen=True)
class Ensemble:
    """All members of a run's stack, in its order, and the stack."""

    members: tuple[Member, ...]
    stack: FittedStack

    @property
    def class_ids(self) -> list[int]:
        """Class ids in the order of the outputs' columns."""
        return [int(class_id) for class_id in self.stack.class_ids]

    def predict(self, regions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Softmax outputs by model, the stack's last, for pages given as one uint8 array a region."""
        outputs = {member.name: member.softmax(regions[member.region]) for member in self.members}
        joined = np.stack([outputs[member.name] for member in self.members], axis=1)
        return {**outputs, STACK: self.stack.probabilities(joined)}


def open_ensemble(run: Path, *, channels: int, height: int, width: int, batch: int = 64) -> Ensemble:
    """Open the finished models of `run` for pages stored as height x width x channels.

    Raises:
        UserError: the run or one of its models is not finished, or a file of it is damaged.
    """
    _result(run, STACK)
    stack = load_stack(job_folder(run, STACK))
    members = []
    for name in stack.members:
        config = member_config(run, name)
        geometry = Geometry(height, width, channels, config.stage.image_px)
        model = load_member(run, name, geometry=geometry, classes=len(stack.class_ids))
        members.append(Member(name, config.region, geometry, _batched(model, batch)))
    return Ensemble(tuple(members), stack)


def member_config(run: Path, name: str) -> JobConfig:
    """The configuration that a job of `run` was begun with.

    Raises:
        UserError: its file is absent or damaged.
    """
    path = job_folder(run, name) / CONFIG
    return from_mapping(JobConfig, read_yaml(path), where=str(path))


def load_member(run: Path, name: str, *, geometry: Geometry, classes: int) -> Any:
    """A finished job's Keras model with its best weights: uint8 pages of `geometry` -> float32 [n, classes].

    Raises:
        UserError: the job is not finished, or a file of it is absent or damaged.
    """
    arrays = load_arrays(job_folder(run, name) / _result(run, name)["best_checkpoint"] / WEIGHTS)
    classifier = build_classifier(member_config(run, name).model, geometry, classes=classes)
    transfer(classifier.model.variables, arrays, source=name)
    return classifier.model


def _result(run: Path, job: str) -> dict[str, Any]:
    path = job_folder(run, job) / RESULT
    if not path.exists():
        raise UserError(f"{run}: {job} is not finished ({path} is missing); run train-all to the end first")
    return dict(read_json(path))


def _batched(model: Any, batch: int) -> Softmax:
    import tensorflow as tf

    forward = tf.function(lambda pages: model(pages, training=False), reduce_retracing=True)

    def softmax(pages: np.ndarray) -> np.ndarray:
        parts = [forward(tf.convert_to_tensor(pages[i : i + batch])).numpy() for i in range(0, len(pages), batch)]
        return np.concatenate(parts) if parts else np.zeros((0, model.output_shape[-1]), np.float32)

    return softmax
