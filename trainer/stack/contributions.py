"""What each member is worth to the stack: the same stack without it, fitted anew and scored on the test pages."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from trainer.scoring.metrics import accuracy, correct, negative_log_likelihood, paired_test
from trainer.scoring.predictions import Joined
from trainer.scoring.schema import ContributionFigures
from trainer.stack.config import StackConfig
from trainer.stack.fit import FittedStack, fit_stack
from trainer.stack.mlp import MlpTrainer
from trainer.stack.pages import MemberOutputs


def contributions(
    stack: FittedStack,
    pages: MemberOutputs,
    config: StackConfig,
    *,
    seed: int,
    on_member: Callable[[int], None] = lambda _: None,
) -> dict[str, ContributionFigures]:
    """By member, the stack against itself without that member; empty for a stack of one member.

    The stack without a member is fitted by the stack's method on the same pages, with the same strength of L2.
    on_member: called after each fit with the number of members done.
    """
    if len(pages.test.names) < 2:
        return {}
    right = correct(pages.test.labels, stack.probabilities(pages.test.softmax))
    chosen, trainer = replace(config, logistic_l2=stack.logistic_l2), MlpTrainer(config)
    found: dict[str, ContributionFigures] = {}
    for column, name in enumerate(pages.test.names):
        rest = fit_stack(without(pages.fitted, column), chosen, seed=seed, methods=[config.method], trainer=trainer)
        test = without(pages.test, column)
        softmax = rest.probabilities(test.softmax)
        paired = paired_test(right, correct(test.labels, softmax), seed=seed)
        found[name] = {
            "pages": len(test.ids),
            "accuracy_without": accuracy(test.labels, softmax),
            "loss_without": negative_log_likelihood(test.labels, softmax),
            "difference": paired.difference,
            "difference_interval": list(paired.difference_interval),
            "p_mid": paired.p_mid,
        }
        on_member(column + 1)
    return found


def without(pages: Joined, column: int) -> Joined:
    """The same pages without the outputs of one member."""
    names = pages.names[:column] + pages.names[column + 1 :]
    return replace(pages, softmax=np.delete(pages.softmax, column, axis=1), names=names)
