"""The trained models of a run, opened from its folder to score, classify or export pages; no Horovod world, no Ray."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.config import from_mapping, read_yaml
from data_tools.errors import UserError
from data_tools.files import sha256
from trainer.config import STACK, JobConfig
from trainer.device import prepare_inference
from trainer.job_folder.checkpoint import WEIGHTS, verified_sha256
from trainer.job_folder.journal import CONFIG, RESULT, job_folder, make_again, read_result
from trainer.network.classifier import Classifier, Geometry, build_classifier
from trainer.network.views import with_views
from trainer.network.weights import load_arrays, transfer
from trainer.soft_targets.config import DISTILLED
from trainer.stack.blend import EPSILON
from trainer.stack.fit import FittedStack, load_stack
from trainer.stack.out_of_fold import jobs_of_member

BATCH = 64
"""Pages that `Ensemble.predict` computes at once."""


@dataclass(frozen=True)
class RegionPages:
    """Stored pages of one region: uint8 [n, *shape], cut out of the page at `box`.

    shape: height, width, channels. box: left, top, right, bottom as shares of the page's width and height.
    """

    shape: tuple[int, int, int]
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class MeanModel:
    """Several Keras models that take the same pages, as one whose probabilities are their mean."""

    models: tuple[Any, ...]

    def __call__(self, pages: Any, *, training: bool = False) -> Any:
        """The mean probabilities, float32 [n, classes], of uint8 [n, height, width, channels]."""
        import tensorflow as tf

        return tf.add_n([model(pages, training=training) for model in self.models]) / float(len(self.models))

    @property
    def variables(self) -> list[Any]:
        """The Keras variables of all models."""
        return [variable for model in self.models for variable in model.variables]


@dataclass(frozen=True)
class Member:
    """One model with its best weights. model: Keras or `MeanModel`, uint8 [n, *pages.shape] -> float32 [n, classes].

    views: of each page, that the model computes and averages over, see `trainer.network.views`.
    """

    name: str
    region: str
    pages: RegionPages
    model: Any
    views: int = 1


@dataclass
class Ensemble:
    """All members of a run's stack, in its order, and the stack. `predict` and the export share `outputs`.

    model: what answers: the stack, or the only one of `members`; the stack then computes nothing.
    """

    members: tuple[Member, ...]
    stack: FittedStack
    model: str = STACK
    _compiled: Any = field(default=None, init=False, repr=False)

    @property
    def class_ids(self) -> list[int]:
        """Class ids in the order of the outputs' columns."""
        return [int(class_id) for class_id in self.stack.class_ids]

    @property
    def regions(self) -> dict[str, RegionPages]:
        """The regions that the members take, by name."""
        return {member.region: member.pages for member in self.members}

    def outputs(self, pages: Mapping[str, Any]) -> dict[str, Any]:
        """Softmax outputs by model, `model`'s last, in TensorFlow: uint8 [n, *shape] by region -> [n, classes]."""
        import tensorflow as tf

        outputs = {member.name: member.model(pages[member.region], training=False) for member in self.members}
        if self.model != STACK:
            return outputs
        joined = tf.stack([outputs[member.name] for member in self.members], axis=1)
        return {**outputs, STACK: stack_answer(self.stack, joined)}

    def function(self) -> Any:
        """`outputs` as one TensorFlow function for any number of pages."""
        import tensorflow as tf

        if self._compiled is None:
            signature = {
                name: tf.TensorSpec([None, *region.shape], tf.uint8, name=name) for name, region in self.regions.items()
            }
            self._compiled = tf.function(self.outputs, input_signature=[signature])
        return self._compiled

    def predict(self, pages: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, npt.NDArray[np.float32]]:
        """`outputs` for arrays of any length: uint8 [n, *shape] by region -> float32 [n, classes] by model."""
        import tensorflow as tf

        function, used = self.function(), {name: pages[name] for name in self.regions}
        count = len(next(iter(used.values())))
        size = max(1, BATCH // max(member.views for member in self.members))
        # No page at all is one empty batch, so that the outputs still have their columns.
        batches = [
            function({name: tf.constant(rows[first : first + size]) for name, rows in used.items()})
            for first in range(0, max(count, 1), size)
        ]
        return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}


def stack_answer(stack: FittedStack, outputs: Any, *, dtype: str = "float64") -> Any:
    """`FittedStack.probabilities` in TensorFlow: float32 [n, members, C] -> float32 [n, C], computed in `dtype`."""
    import tensorflow as tf

    outputs = tf.cast(outputs, dtype)
    if stack.method == "average":
        return tf.cast(tf.reduce_mean(outputs, axis=1), tf.float32)
    if stack.input == "log":
        outputs = tf.math.log(outputs / EPSILON + 1.0)  # LiteRT has no log1p
    if stack.method == "weighted":
        logits = tf.einsum("nmc,m->nc", outputs, tf.constant(stack.member_weights, dtype))
    else:
        flat = tf.reshape(outputs, [tf.shape(outputs)[0], outputs.shape[1] * outputs.shape[2]])
        logits = _logits(stack, flat, dtype)
    return tf.cast(tf.nn.softmax(logits), tf.float32)


def _logits(stack: FittedStack, flat: Any, dtype: str) -> Any:
    import tensorflow as tf

    if stack.method == "logistic":
        return flat @ tf.constant(stack.kernel, dtype) + tf.constant(stack.bias, dtype)
    hidden_kernel, hidden_bias, kernel, bias = (tf.constant(a, dtype) for a in stack.mlp.arrays())
    return tf.nn.relu(flat @ hidden_kernel + hidden_bias) @ kernel + bias


def open_stack(run: Path) -> FittedStack:
    """The stack of a finished run.

    Raises:
        UserError: the run is not finished, or a file of the stack is damaged.
    """
    folder = _finished(run, STACK)
    digest = read_result(folder, {"weights_digest": str})["weights_digest"]
    stack = load_stack(folder)
    if sha256(folder / WEIGHTS) != digest:
        raise UserError(f"{folder / WEIGHTS}: changed since it was written (checksum); {make_again(folder)}")
    return stack


def check_model(run: Path, model: str) -> None:
    """Check that the answers of `model` can be given: of the run's stack, or of its student.

    Raises:
        UserError: the run or the student is not finished, or `model` is neither.
    """
    open_stack(run)
    if model not in (STACK, DISTILLED):
        raise UserError(f"--model {model}: answers come from {STACK} or {DISTILLED}; export takes any job's model")
    if model == DISTILLED and not (job_folder(run, DISTILLED) / RESULT).exists():
        raise UserError(f"{run}: has no finished student; train one with regionstack distill {run}")


def open_ensemble(run: Path, regions: Mapping[str, RegionPages], *, model: str = STACK) -> Ensemble:
    """Open the finished models of `run` for pages that are stored as `regions` says, by region name.

    model: what is to answer, see `check_model`.

    Sets up TensorFlow's devices for inference; see `trainer.device.prepare_inference`.

    Raises:
        UserError: the run or one of its models is not finished, a file of it is damaged, or `regions` lacks a
            member's region or has pages that its model cannot reduce to the height that it works at.
    """
    stack = open_stack(run)
    prepare_inference()
    check_model(run, model)
    names = stack.members if model == STACK else (model,)
    members = (open_member(run, name, regions, classes=len(stack.class_ids)) for name in names)
    return Ensemble(tuple(members), stack, model)


def open_member(run: Path, name: str, regions: Mapping[str, RegionPages], *, classes: int) -> Member:
    """Open the model of one finished job of `run`, or a member that is the average of several; see `open_ensemble`.

    Raises:
        UserError: as `open_ensemble`.
    """
    config = member_config(run, name)
    if config.region not in regions:
        raise UserError(f"{run}: {name} takes the region {config.region}, and there are no pages of it")
    pages = regions[config.region]
    views, geometry = config.training.views, Geometry(*pages.shape, config.stage.image_px)
    _finished(run, name)
    jobs = jobs_of_member(run, name)
    models = [with_views(_load_classifier(run, job, geometry, classes=classes), views).model for job in jobs]
    model = models[0] if len(models) == 1 else MeanModel(tuple(models))
    return Member(name, config.region, pages, model, views.count)


def member_config(run: Path, name: str) -> JobConfig:
    """The configuration of a job of `run`.

    Raises:
        UserError: its file is absent or damaged.
    """
    path = job_folder(run, name) / CONFIG
    return from_mapping(JobConfig, read_yaml(path), where=str(path))


def _load_classifier(run: Path, name: str, geometry: Geometry, *, classes: int) -> Classifier:
    """A finished job's network with its best weights."""
    folder = _finished(run, name)
    weights = folder / read_result(folder, {"best_checkpoint": str})["best_checkpoint"] / WEIGHTS
    verified_sha256(weights)
    arrays = load_arrays(weights)
    classifier = build_classifier(member_config(run, name).model, geometry, classes=classes)
    transfer(classifier.model.variables, arrays, source=name)
    return classifier


def _finished(run: Path, job: str) -> Path:
    """The folder of a job of `run` that has a result."""
    folder = job_folder(run, job)
    if not (folder / RESULT).exists():
        raise UserError(f"{run}: {job} is not finished ({folder / RESULT} is missing); run train-all to the end first")
    return folder
