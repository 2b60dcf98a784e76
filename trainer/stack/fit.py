"""Fitting, saving and loading the stacked classifier: every method on the same members' outputs, in one file."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from data_tools.config import read_record, to_mapping
from data_tools.errors import UserError
from data_tools.files import write_atomically, write_json
from trainer.job_folder.journal import STACK_DESCRIPTION, make_again
from trainer.scoring.predictions import Joined
from trainer.stack import blend
from trainer.stack.config import Input, Method, StackConfig
from trainer.stack.folds import fold_of
from trainer.stack.mlp import Mlp, MlpTrainer, starting_mlp

METHODS: tuple[Method, ...] = get_args(Method)

WEIGHTS = "weights.safetensors"

CHOICE_PAGES = 4000
"""Pages, at most, on which cross-validation chooses the strength of the regression's L2."""

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class StackDescription:
    """What a stack takes and answers, as in `stack.json`; the fields are those of `FittedStack`."""

    members: tuple[str, ...]
    class_ids: tuple[int, ...]
    method: Method
    input: Input = "probabilities"
    logistic_l2: float | None = None

    def __post_init__(self) -> None:
        for key, values in (("members", self.members), ("class_ids", self.class_ids)):
            if not values or len(set(values)) != len(values):
                raise UserError(f"{key}: {list(values)} is empty or names one twice")


@dataclass(frozen=True, eq=False)
class FittedStack:
    """The fitted weights of every method. method: the one that gives the stack's predictions.

    members: names in the order of the inputs. class_ids: int[C]. member_weights: float64[members], of `weighted`.
    kernel, bias: float64[members · C, C] and float64[C], of `logistic`. logistic_l2: the strength that it was fitted
    with. input: what `mlp`, `logistic` and `weighted` take.
    """

    members: tuple[str, ...]
    class_ids: npt.NDArray[np.integer[Any]]
    method: Method
    member_weights: npt.NDArray[np.float64]
    kernel: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    mlp: Mlp
    input: Input = "probabilities"
    logistic_l2: float | None = None

    def probabilities(self, outputs: Floats, *, method: Method | None = None) -> npt.NDArray[np.float32]:
        """The stack's probabilities for the members' softmax outputs: float[n, members, C] -> float32[n, C]."""
        method = method or self.method
        inputs = inputs_of(outputs, self.input)
        flat = concatenated(inputs)
        answers: dict[Method, Callable[[], npt.NDArray[np.float64]]] = {
            "mlp": lambda: self.mlp.probabilities(flat),
            "logistic": lambda: blend.logistic(flat, self.kernel, self.bias),
            "weighted": lambda: blend.weighted(inputs, self.member_weights),
            "average": lambda: blend.average(outputs),
        }
        return answers[method]().astype(np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All weights by name, float32 or float64, as in the weights file."""
        return {
            "weighted/members": self.member_weights,
            "logistic/kernel": self.kernel,
            "logistic/bias": self.bias,
            **{f"mlp/{name}": array for name, array in vars(self.mlp).items()},
        }

    @property
    def parameters(self) -> int:
        """Number of fitted parameters of the stack's method."""
        return sum(array.size for name, array in self.arrays().items() if name.startswith(f"{self.method}/"))


def inputs_of(outputs: Floats, kind: Input) -> Floats:
    """What all methods but the plain mean combine: from softmax outputs float[n, members, C], of the same shape."""
    return blend.log_ratios(outputs) if kind == "log" else outputs


def concatenated(outputs: Floats) -> npt.NDArray[np.float32]:
    """float[n, members, C] -> float32[n, members · C]: all classes of the first member, then those of the next."""
    return outputs.reshape(len(outputs), -1).astype(np.float32)


def fit_stack(
    pages: Joined,
    config: StackConfig,
    *,
    seed: int,
    on_epoch: Callable[[int, FittedStack], None] = lambda *_: None,
    methods: Collection[Method] = METHODS,
    trainer: MlpTrainer | None = None,
) -> FittedStack:
    """Fit `methods` on `pages`; the others stay at their start, the weighted average.

    on_epoch: called after each epoch of the MLP with its number (from 1) and the stack at that point. trainer: of this
    configuration; fits with as many members that share one compile its epoch once. The same pages, configuration and
    seed give the same weights.

    Raises:
        UserError: see `starting_mlp`.
    """
    trainer = trainer or MlpTrainer(config)
    classes = len(pages.class_ids)
    inputs = inputs_of(pages.softmax, config.input)
    scale = blend.LOG_SCALE if config.input == "log" else blend.TYPICAL_SCALE
    weights = blend.fit_member_weights(inputs, pages.labels, pages.weights, scale=scale)
    flat = concatenated(inputs)
    kernel, bias, l2 = blend.as_kernel(weights, classes), np.zeros(classes), config.logistic_l2
    if "logistic" in methods:
        l2 = _chosen_l2(pages, flat, start=kernel) if l2 is None else l2
        kernel, bias = blend.fit_logistic(flat, pages.labels, start=kernel, l2=l2, page_weights=pages.weights)
    mlp = starting_mlp(weights, classes, config=config, seed=seed)

    def stack_of(network: Mlp) -> FittedStack:
        return FittedStack(
            pages.names, pages.class_ids, config.method, weights, kernel, bias, network, config.input, l2
        )

    if "mlp" in methods:
        labels = pages.labels.astype(np.int32)
        trained_mlps = trainer.train(flat, labels, start=mlp, seed=seed, page_weights=pages.weights)
        for epoch, trained in enumerate(trained_mlps, start=1):
            mlp = trained
            on_epoch(epoch, stack_of(mlp))
    return stack_of(mlp)


def _chosen_l2(pages: Joined, flat: Floats, *, start: npt.NDArray[np.float64]) -> float:
    folds = fold_of(pages.ids.tolist(), pages.labels)
    # Neighbors in the order of the ids are often alike, so every k-th page stands for the others.
    rows = slice(None, None, -(-len(folds) // CHOICE_PAGES))
    weights = None if pages.weights is None else pages.weights[rows]
    return blend.choose_l2(flat[rows], pages.labels[rows], folds=folds[rows], start=start, page_weights=weights)


def save_stack(folder: Path, stack: FittedStack) -> None:
    """Write `weights.safetensors`, then `stack.json` (members, classes, method), each atomically."""
    from safetensors.numpy import save

    arrays = stack.arrays()
    content = save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})
    write_atomically(folder / WEIGHTS, content)
    description = StackDescription(
        members=stack.members, class_ids=tuple(stack.class_ids.tolist()), method=stack.method, input=stack.input,
        logistic_l2=stack.logistic_l2,
    )  # fmt: skip
    write_json(folder / STACK_DESCRIPTION, to_mapping(description))


def load_stack(folder: Path) -> FittedStack:
    """The stack that `save_stack` wrote.

    Raises:
        UserError: a file of it is missing or damaged, or the two do not fit together.
    """
    from trainer.network.weights import load_arrays

    description = read_record(StackDescription, folder / STACK_DESCRIPTION, advice=make_again(folder))
    arrays = load_arrays(folder / WEIGHTS)
    _check_arrays(arrays, description, folder)
    return FittedStack(
        members=description.members,
        class_ids=np.array(description.class_ids, np.int64),
        method=description.method,
        member_weights=arrays["weighted/members"],
        kernel=arrays["logistic/kernel"],
        bias=arrays["logistic/bias"],
        mlp=Mlp(**{field.name: arrays[f"mlp/{field.name}"] for field in fields(Mlp)}),
        input=description.input,
        logistic_l2=description.logistic_l2,
    )


def _check_arrays(arrays: Mapping[str, npt.NDArray[Any]], description: StackDescription, folder: Path) -> None:
    """Check that all arrays are there, and those of the stack's method as its members and classes need them."""
    classes, inputs = len(description.class_ids), len(description.members) * len(description.class_ids)
    hidden = arrays["mlp/hidden_bias"].size if "mlp/hidden_bias" in arrays else 0
    shapes = {
        "weighted/members": (len(description.members),),
        "logistic/kernel": (inputs, classes),
        "logistic/bias": (classes,),
        "mlp/hidden_kernel": (inputs, hidden),
        "mlp/hidden_bias": (hidden,),
        "mlp/output_kernel": (hidden, classes),
        "mlp/output_bias": (classes,),
    }
    path = folder / WEIGHTS
    for name, shape in shapes.items():
        if name not in arrays:
            raise UserError(f"{path}: has no {name}; {make_again(folder)}")
        if name.startswith(f"{description.method}/") and arrays[name].shape != shape:
            raise UserError(
                f"{path}: {name} is {list(arrays[name].shape)}, and members and classes in {STACK_DESCRIPTION} need "
                f"{list(shape)}; {make_again(folder)}"
            )
