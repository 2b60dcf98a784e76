"""TensorFlow's versions of the stack and of cutting regions agree with those in NumPy and OpenCV."""

from typing import Any, get_args

import numpy as np
import pytest

from data_tools.documents.pixels import fit
from data_tools.documents.regions import PRESETS, WHOLE_PAGE
from trainer.export.saved_model import cut_region
from trainer.serving.ensemble import stack_answer
from trainer.stack.config import Input, Method, StackConfig
from trainer.stack.fit import METHODS, FittedStack
from trainer.stack.mlp import starting_mlp


@pytest.mark.parametrize("kind", get_args(Input))
@pytest.mark.parametrize("method", METHODS)
def test_tensorflow_and_numpy_agree_on_every_method_of_the_stack(method: Method, kind: Input) -> None:
    generator = np.random.default_rng(4)
    weights = generator.normal(size=3)
    mlp = starting_mlp(weights, 5, config=StackConfig(start="random"), seed=1)
    kernel, bias = generator.normal(size=(15, 5)), generator.normal(size=5)
    fitted = FittedStack(("a", "b", "c"), np.arange(5), method, weights, kernel, bias, mlp, kind)
    outputs = generator.dirichlet(np.ones(5), (7, 3)).astype(np.float32)
    assert stack_answer(fitted, outputs).numpy() == pytest.approx(fitted.probabilities(outputs), abs=1e-6)


@pytest.mark.parametrize("size", [(700, 540), (1000, 754), (641, 512), (256, 128)])
@pytest.mark.parametrize("box", [WHOLE_PAGE, *PRESETS["das2018"].values()])
def test_regions_are_cut_as_in_the_conversion(size: tuple[int, int], box: Any) -> None:
    page = np.random.default_rng(3).integers(0, 256, size).astype(np.uint8)
    cut = cut_region(page[:, :, None], box.edges, (64, 64, 1)).numpy()[0]
    difference = np.abs(cut.astype(int) - fit(page, box, 64, 64).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005


def test_a_page_of_twice_the_stored_size_is_halved_exactly() -> None:
    page = np.random.default_rng(3).integers(0, 256, (128, 128)).astype(np.uint8)
    cut = cut_region(page[:, :, None], WHOLE_PAGE.edges, (64, 64, 1)).numpy()[0]
    assert np.array_equal(cut, fit(page, WHOLE_PAGE, 64, 64))
