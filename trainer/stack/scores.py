"""All figures of a stack and its members, side by side, as plain data for the stack's result."""

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
from trainer.scoring.temperature import at_temperature, fit_temperature
from trainer.stack.fit import METHODS, FittedStack
from trainer.stack.pages import Pages

Outputs = dict[str, npt.NDArray[np.floating[Any]]]
Answers = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.floating[Any]]]
"""Labels int[n] and probabilities float[n, C] on the same pages."""


def all_scores(stack: FittedStack, pages: Pages, *, seed: int) -> dict[str, Any]:
    """Figures of every method and every member; of the test set also without its duplicates, where known."""
    val, test = _outputs(stack, pages.val), _outputs(stack, pages.test)
    scores = {name: {"val": _summary(val[name], pages.val), "test": _summary(test[name], pages.test)} for name in test}
    for name, interval in _bootstrap(test, pages.test, seed=seed).items():
        scores[name]["test"]["accuracy_bootstrap_interval"] = interval
    # The other methods were fitted to these very pages by likelihood; a temperature would only overfit them again.
    for name in (*pages.test.names, _key("average")):
        fitted = pages.val.labels[pages.fitted_on], val[name][pages.fitted_on]
        scores[name]["calibrated"] = _calibrated(fitted, (pages.test.labels, test[name]))
    methods = {method: scores.pop(_key(method)) for method in METHODS}
    result: dict[str, Any] = {
        "scores": methods[stack.method],
        "methods": methods,
        "members_scores": scores,
        "paired_test": _paired(stack, test, pages.test, against=pages.against, seed=seed),
    }
    if pages.without is not None:
        result["without_duplicates"] = _without(stack, pages, pages.without, seed=seed)
    return result


def _key(method: str) -> str:
    """A method's key among the members' names: no job has a colon in its name."""
    return f"method:{method}"


def _outputs(stack: FittedStack, pages: Joined) -> Outputs:
    """The probabilities [n, C] of every member and every method on `pages`."""
    outputs: Outputs = {name: pages.softmax[:, place] for place, name in enumerate(pages.names)}
    outputs |= {_key(method): stack.probabilities(pages.softmax, method=method) for method in METHODS}
    return outputs


def _summary(probabilities: npt.NDArray[Any], pages: Joined) -> dict[str, Any]:
    return summary(pages.labels, probabilities, class_ids=pages.class_ids.tolist())


def _bootstrap(outputs: Outputs, pages: Joined, *, seed: int) -> dict[str, list[float]]:
    """A 95 % interval of each accuracy, all from the same resamples of the pages."""
    right = np.stack([correct(pages.labels, probabilities) for probabilities in outputs.values()], axis=1)
    means = bootstrap_means(right, seed=seed)
    return {name: list(percentile_interval(means[:, place])) for place, name in enumerate(outputs)}


def _calibrated(fitted: Answers, test: Answers) -> dict[str, float]:
    """A model's temperature, fitted on validation pages, and what it does to the test figures."""
    temperature = fit_temperature(*fitted)
    labels, probabilities = test[0], at_temperature(test[1], temperature)
    return {
        "temperature": temperature,
        "loss": negative_log_likelihood(labels, probabilities),
        "calibration_error": expected_calibration_error(labels, probabilities),
    }


def _paired(stack: FittedStack, outputs: Outputs, pages: Joined, *, against: str, seed: int) -> dict[str, Any]:
    """The stack against one member on the same test pages."""
    first = correct(pages.labels, outputs[_key(stack.method)])
    second = correct(pages.labels, outputs[against])
    test = paired_test(first, second, seed=seed)
    return {
        "against": against,
        "pages": len(pages.ids),
        "only_stack_right": test.only_first,
        "only_other_right": test.only_second,
        "difference": test.difference,
        "difference_interval": list(test.difference_interval),
        "p_exact": test.p_exact,
        "p_mid": test.p_mid,
    }


def _without(stack: FittedStack, pages: Pages, without: npt.NDArray[np.bool_], *, seed: int) -> dict[str, Any]:
    """The same figures on the test pages that are not in `without`."""
    rest = pages.test.rows(~without)
    result: dict[str, Any] = {"left_out": int(without.sum()), "pages": len(rest.ids)}
    if not len(rest.ids):
        return result
    outputs = _outputs(stack, rest)
    scores = {name: _summary(probabilities, rest) for name, probabilities in outputs.items()}
    methods = {method: scores.pop(_key(method)) for method in METHODS}
    paired = _paired(stack, outputs, rest, against=pages.against, seed=seed)
    return {
        **result,
        "scores": methods[stack.method],
        "methods": methods,
        "members_scores": scores,
        "paired_test": paired,
    }
