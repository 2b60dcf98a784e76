"""Fitting, saving and loading the stacked classifier: every method on the same members' outputs, in one file."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from data_tools.files import read_json, write_atomically, write_json
from trainer.scoring.predictions import Joined
from trainer.stack import blend
from trainer.stack.config import Input, Method, StackConfig
from trainer.stack.folds import fold_of
from trainer.stack.mlp import Mlp, MlpTrainer, starting_mlp

METHODS: tuple[Method, ...] = get_args(Method)

WEIGHTS = "weights.safetensors"
DESCRIPTION = "stack.json"

CHOICE_PAGES = 4000
"""Pages, at most, on which cross-validation chooses the strength of the regression's L2."""

Floats = npt.NDArray[np.floating[Any]]


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
    description = {"members": stack.members, "class_ids": stack.class_ids.tolist(), "method": stack.method,
                   "input": stack.input, "logistic_l2": stack.logistic_l2}  # fmt: skip
    write_json(folder / DESCRIPTION, description)


def load_stack(folder: Path) -> FittedStack:
    """The stack that `save_stack` wrote.

    Raises:
        UserError: a file of it is missing or corrupt.
    """
    from trainer.network.weights import load_arrays

    description: Mapping[str, Any] = read_json(folder / DESCRIPTION)
    arrays = load_arrays(folder / WEIGHTS)
    return FittedStack(
        members=tuple(description["members"]),
        class_ids=np.array(description["class_ids"], np.int64),
        method=description["method"],
        member_weights=arrays["weighted/members"],
        kernel=arrays["logistic/kernel"],
        bias=arrays["logistic/bias"],
        mlp=Mlp(**{name.removeprefix("mlp/"): arrays[name] for name in arrays if name.startswith("mlp/")}),
        input=description.get("input", "probabilities"),
        logistic_l2=description.get("logistic_l2"),
    )
