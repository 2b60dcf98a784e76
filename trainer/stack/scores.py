"""Figures of a stack and its members side by side, as plain data for the stack's result."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.scoring.metrics import (
    bootstrap_means,
    correct,
    expected_calibration_error,
    negative_log_likelihood,
    paired_test,
    percentile_interval,
    summary,
)
from trainer.scoring.predictions import Joined
from trainer.scoring.schema import (
    CalibratedFigures,
    DeduplicatedFigures,
    ModelScores,
    PairedFigures,
    SplitFigures,
    StackFigures,
)
from trainer.scoring.temperature import at_temperature, fit_temperature
from trainer.stack.fit import METHODS, FittedStack
from trainer.stack.pages import MemberOutputs

Outputs = dict[str, npt.NDArray[np.floating[Any]]]
"""Probabilities float[n, C] by member name or method key."""

LabelledOutputs = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.floating[Any]]]
"""Labels int[n] and probabilities float[n, C] of the same pages."""


def all_scores(stack: FittedStack, pages: MemberOutputs, *, seed: int) -> StackFigures:
    """Figures of every method and every member; on the test set also without duplicates, if they are known.

    seed: of the bootstrap resamples.
    """
    val, test = _outputs(stack, pages.val), _outputs(stack, pages.test)
    scores: dict[str, ModelScores] = {
        name: {"val": _summary(val[name], pages.val), "test": _summary(test[name], pages.test)} for name in test
    }
    for name, interval in _bootstrap(test, pages.test, seed=seed).items():
        scores[name]["test"]["accuracy_bootstrap_interval"] = interval
    # The other methods were fitted on these pages by likelihood; a temperature would overfit them a second time.
    for name in (*pages.test.names, _key("average")):
        fitted = pages.val.labels[pages.fitted_on], val[name][pages.fitted_on]
        scores[name]["calibrated"] = _calibrated(fitted, (pages.test.labels, test[name]))
    methods: dict[str, ModelScores] = {method: scores.pop(_key(method)) for method in METHODS}
    result: StackFigures = {
        "scores": methods[stack.method],
        "methods": methods,
        "members_scores": scores,
        "paired_test": _paired(stack, test, pages.test, baseline=pages.baseline, seed=seed),
    }
    if pages.duplicates_of_train is not None:
        result["without_duplicates"] = _deduplicated(stack, pages, pages.duplicates_of_train, seed=seed)
    return result


def _key(method: str) -> str:
    """A method's key among the members' names; no job name contains a colon."""
    return f"method:{method}"


def _outputs(stack: FittedStack, pages: Joined) -> Outputs:
    """The probabilities [n, C] of every member and every method on `pages`."""
    outputs: Outputs = {name: pages.softmax[:, column] for column, name in enumerate(pages.names)}
    outputs |= {_key(method): stack.probabilities(pages.softmax, method=method) for method in METHODS}
    return outputs


def _summary(probabilities: npt.NDArray[Any], pages: Joined) -> SplitFigures:
    return summary(pages.labels, probabilities, class_ids=pages.class_ids.tolist())


def _bootstrap(outputs: Outputs, pages: Joined, *, seed: int) -> dict[str, list[float]]:
    """A 95 % interval of each accuracy, all from the same resamples of the pages."""
    right = np.stack([correct(pages.labels, probabilities) for probabilities in outputs.values()], axis=1)
    means = bootstrap_means(right, seed=seed)
    return {name: list(percentile_interval(means[:, column])) for column, name in enumerate(outputs)}


def _calibrated(fitted: LabelledOutputs, test: LabelledOutputs) -> CalibratedFigures:
    """A model's temperature, fitted on validation pages, and the test figures at that temperature."""
    temperature = fit_temperature(*fitted)
    labels, probabilities = test[0], at_temperature(test[1], temperature)
    return {
        "temperature": temperature,
        "loss": negative_log_likelihood(labels, probabilities),
        "calibration_error": expected_calibration_error(labels, probabilities),
    }


def _paired(stack: FittedStack, outputs: Outputs, pages: Joined, *, baseline: str, seed: int) -> PairedFigures:
    """The stack against one member on the same test pages."""
    first = correct(pages.labels, outputs[_key(stack.method)])
    second = correct(pages.labels, outputs[baseline])
    test = paired_test(first, second, seed=seed)
    return {
        "against": baseline,
        "pages": len(pages.ids),
        "only_stack_right": test.only_first,
        "only_other_right": test.only_second,
        "difference": test.difference,
        "difference_interval": list(test.difference_interval),
        "p_exact": test.p_exact,
        "p_mid": test.p_mid,
    }


def _deduplicated(
    stack: FittedStack, pages: MemberOutputs, duplicates: npt.NDArray[np.bool_], *, seed: int
) -> DeduplicatedFigures:
    """The same figures on the test pages that are not in the mask `duplicates` bool[n]."""
    rest = pages.test.rows(~duplicates)
    result: DeduplicatedFigures = {"left_out": int(duplicates.sum()), "pages": len(rest.ids)}
    if not len(rest.ids):
        return result
    outputs = _outputs(stack, rest)
    scores = {name: _summary(probabilities, rest) for name, probabilities in outputs.items()}
    methods: dict[str, SplitFigures] = {method: scores.pop(_key(method)) for method in METHODS}
    return {
        **result,
        "scores": methods[stack.method],
        "methods": methods,
        "members_scores": scores,
        "paired_test": _paired(stack, outputs, rest, baseline=pages.baseline, seed=seed),
    }
