"""Figures of a stack and its members side by side, as plain data for the stack's result."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.config import STACK
from trainer.scoring.decision import Policy
from trainer.scoring.documents import summary_with_documents
from trainer.scoring.metrics import (
    bootstrap_means,
    correct,
    expected_calibration_error,
    negative_log_likelihood,
    paired_test,
    percentile_interval,
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


def all_scores(stack: FittedStack, pages: MemberOutputs, policy: Policy, *, seed: int) -> StackFigures:
    """Figures of every method and every member; on the test set also without duplicates, if they are known.

    policy: has the temperatures of the members and of the stack's method. seed: of the bootstrap resamples.
    """
    val, test = _outputs(stack, pages.val), _outputs(stack, pages.test)
    scores: dict[str, ModelScores] = {
        name: {"val": _summary(val[name], pages.val), "test": _summary(test[name], pages.test)} for name in test
    }
    for name, interval in _bootstrap(test, pages.test, seed=seed).items():
        scores[name]["test"]["accuracy_bootstrap_interval"] = interval
    for name, temperature in _temperatures(stack, pages, policy).items():
        scores[name]["calibrated"] = _calibrated(temperature, pages.test.labels, test[name])
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
    return summary_with_documents(pages.ids.tolist(), pages.labels, probabilities, class_ids=pages.class_ids.tolist())


def _bootstrap(outputs: Outputs, pages: Joined, *, seed: int) -> dict[str, list[float]]:
    """A 95 % interval of each accuracy, all from the same resamples of the pages."""
    right = np.stack([correct(pages.labels, probabilities) for probabilities in outputs.values()], axis=1)
    means = bootstrap_means(right, seed=seed)
    return {name: list(percentile_interval(means[:, column])) for column, name in enumerate(outputs)}


def _temperatures(stack: FittedStack, pages: MemberOutputs, policy: Policy) -> dict[str, float]:
    """The temperatures of the policy, and that of the plain average, which no page has fitted, by key of the scores.

    The methods that were fitted on the validation pages need a cross-fit, which only the stack's own method gets.
    """
    fitted = pages.val.rows(pages.fitted_on)
    average = fit_temperature(fitted.labels, stack.probabilities(fitted.softmax, method="average"))
    own = {name: policy.temperatures[name] for name in pages.test.names}
    return own | {_key("average"): average, _key(stack.method): policy.temperatures[STACK]}


def _calibrated(
    temperature: float, labels: npt.NDArray[np.integer[Any]], probabilities: npt.NDArray[np.floating[Any]]
) -> CalibratedFigures:
    """Figures of a model, float[n, C], on test pages at a temperature."""
    probabilities = at_temperature(probabilities, temperature).astype(np.float32)
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
