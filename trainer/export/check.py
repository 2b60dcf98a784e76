"""Compares a written model with what the run recorded, or with the Keras models where the run's shards are not here."""

from collections.abc import Callable
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from trainer.export.artifact import Runner
from trainer.export.source import SYNTHETIC_PAGES, Source, recorded_batches, synthetic_batch


class Checked(TypedDict):
    """Result of the comparison, in `export.json`.

    against: what was compared with. pages: how many. top1_equal: pages with the same most probable class, by output.
    tolerance, largest_difference: of a probability, the latter by output.
    """

    against: str
    pages: int
    top1_equal: dict[str, int]
    tolerance: float
    largest_difference: dict[str, float]


def check_exported(
    source: Source, form: str, runner: Runner, *, on_pages: Callable[[int, int], None] = lambda done, total: None
) -> Checked:
    """Run a written model on every test page of the run, or on synthetic pages, and compare all probabilities.

    on_pages: called with the pages compared so far and in total.

    Raises:
        UserError: a probability differs by more than the tolerance; the text names the page and the model. Where none
            does, another most probable class is a tie within the tolerance; it is counted.
    """
    shards = source.pages.shards
    against = "the recorded test predictions" if shards else "the Keras models on synthetic pages"
    total, batches = recorded_batches(source, shards) if shards else (SYNTHETIC_PAGES, iter([synthetic_batch(source)]))
    checked: Checked = {
        "against": against,
        "pages": 0,
        "top1_equal": dict.fromkeys(source.artifact.outputs, 0),
        "tolerance": source.tolerance(form),
        "largest_difference": dict.fromkeys(source.artifact.outputs, 0.0),
    }
    for batch in batches:
        checked["pages"] += len(batch.ids)
        outputs = runner(batch.pages)
        for name, expected in batch.expected.items():
            difference, page = largest_difference(outputs[name], expected, batch.ids)
            if not difference <= checked["tolerance"]:
                raise UserError(
                    f"{source.run}: the exported {name} gives page {page} probabilities that differ by "
                    f"{difference:.2g} from {against}; check whether the shards or the checkpoint changed"
                )
            checked["largest_difference"][name] = max(checked["largest_difference"][name], difference)
            checked["top1_equal"][name] += int((outputs[name].argmax(axis=1) == expected.argmax(axis=1)).sum())
        on_pages(checked["pages"], total)
    return checked


def largest_difference(
    found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], ids: list[str]
) -> tuple[float, str]:
    """The largest difference of a probability in float32 [n, classes], NaN if there is one, and the id of its page."""
    differences = np.abs(found - expected).max(axis=1)
    worst = int(differences.argmax())
    return float(differences[worst]), ids[worst]
