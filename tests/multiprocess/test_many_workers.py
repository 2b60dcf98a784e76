"""N workers compute what one computes, with every setting of the step: real worlds of 1, 2 and 4."""

from pathlib import Path

import numpy as np
import pytest

from tests.multiprocess.conftest import SIZES
from tests.multiprocess.programs.steps import CASES

FIGURES = ("losses", "moved")
Arrays = dict[str, np.ndarray]
Runs = dict[int, dict[str, Arrays]]


@pytest.fixture(scope="module")
def runs(compared_worlds: dict[int, Path]) -> Runs:
    """By number of workers and case: weights and losses after the same global batches."""
    return {size: {name: load(folder / f"{name}.npz") for name in CASES} for size, folder in compared_worlds.items()}


def load(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file}


def distance(one: Arrays, other: Arrays) -> float:
    """Norm of the difference of all weights, relative to how far training moved those of `other`."""
    names = [name for name in other if name not in FIGURES]
    assert set(one) == set(other)
    difference = sum(np.square(np.float64(one[name]) - other[name]).sum() for name in names)
    return float(np.sqrt(difference) / other["moved"])


def same_bits(one: Arrays, other: Arrays) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in other if name not in FIGURES)


# Tolerances of weights (relative to how far training moved them) and of losses. Adding floats in another order changes
# the last of seven digits, and Adam divides small gradients by themselves; 16-bit formats round at the third digit.
# Without synchronization each worker's BatchNorm normalizes by the moments of its own 12 or 6 pages, which is another
# function of the batch.
@pytest.mark.parametrize(
    ("case", "weights", "losses"),
    [
        ("plain", 1e-5, 1e-6),
        ("overlapped", 1e-5, 1e-6),
        ("clipped", 1e-5, 1e-6),
        ("adam", 1e-3, 1e-5),
        ("smoothed", 1e-5, 1e-6),
        ("micro", 1e-5, 1e-6),
        ("weighted", 1e-5, 1e-6),
        ("weighted_micro", 1e-5, 1e-6),
        ("mixed", 1e-5, 1e-6),
        ("mixed_weighted_micro", 1e-5, 1e-6),
        ("averaged", 1e-5, 1e-6),
        ("compiled", 1e-5, 1e-6),
        ("compressed", 3e-3, 1e-5),
        ("float16", 1e-2, 1e-5),
        ("bfloat16", 2e-2, 1e-4),
        ("statistics", 0.1, 0.2),
        ("everything", 0.1, 0.2),
    ],
)
def test_n_workers_compute_what_one_computes(runs: Runs, case: str, weights: float, losses: float) -> None:
    for workers in SIZES[1:]:
        ours, alone = runs[workers][case], runs[1][case]
        assert distance(ours, alone) < weights, f"{workers} workers"
        np.testing.assert_allclose(ours["losses"], alone["losses"], rtol=losses, err_msg=f"{workers} workers")


@pytest.mark.parametrize("workers", SIZES)
def test_every_setting_has_an_effect(runs: Runs, workers: int) -> None:
    """Otherwise the test above would also pass for settings that are ignored."""
    ran = runs[workers]
    for case in ("clipped", "adam", "smoothed", "averaged", "weighted", "mixed", "bfloat16", "float16"):
        assert distance(ran[case], ran["plain"]) > 3e-3, case
    if workers > 1:
        assert not same_bits(ran["compressed"], ran["plain"])


@pytest.mark.parametrize("workers", SIZES)
def test_the_same_again_gives_the_same_bits(runs: Runs, workers: int) -> None:
    """From three ranks on, the order in which gradients are added up could depend on timing."""
    assert same_bits(runs[workers]["again"], runs[workers]["plain"])


@pytest.mark.parametrize("workers", SIZES)
def test_micro_batches_add_up_to_the_batch(runs: Runs, workers: int) -> None:
    assert distance(runs[workers]["micro"], runs[workers]["plain"]) < 1e-5
    assert distance(runs[workers]["weighted_micro"], runs[workers]["weighted"]) < 1e-5


@pytest.mark.parametrize("workers", SIZES)
def test_a_step_compiled_by_xla_agrees(runs: Runs, workers: int) -> None:
    assert distance(runs[workers]["compiled"], runs[workers]["plain"]) < 1e-5


def test_synchronized_batch_norm_removes_the_error_of_local_statistics(runs: Runs) -> None:
    """On some CPUs one unit's input lies within rounding of ReLU's kink: hence the median of three sets of pages."""
    cases = [name for name in CASES if name.startswith("synchronized")]
    # One worker has nothing to synchronize, but only the other case uses the fused kernel: they differ by rounding.
    assert distance(runs[1]["synchronized_3"], runs[1]["statistics"]) < 1e-4
    for workers in SIZES[1:]:
        local = distance(runs[workers]["statistics"], runs[1]["statistics"])
        moved = {case: distance(runs[workers][case], runs[1][case]) for case in cases}
        best, median, _ = sorted(cases, key=moved.__getitem__)
        assert moved[median] < 1e-5
        assert moved[median] < local / 1000
        for case in (best, median):
            np.testing.assert_allclose(runs[workers][case]["losses"], runs[1][case]["losses"], rtol=1e-6)
