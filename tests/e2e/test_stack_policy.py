"""The policy of a stack's job: out-of-sample, in the run folder, reproducible, and honest with few pages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.stacked_run import MEMBERS, make_run, stack
from trainer.scoring.decision import Policy, judge, read_policy
from trainer.scoring.metrics import correct, expected_calibration_error, negative_log_likelihood
from trainer.scoring.predictions import read_predictions
from trainer.stack.folds import fold_of


def run_policy(run: Path) -> Policy:
    policy = read_policy(run)
    assert policy is not None
    return policy


def outputs_of(run: Path, split: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rows = {n: read_predictions(run / "jobs" / n / "predictions" / f"{split}.npz") for n in (*MEMBERS, "stack")}
    return rows["stack"].labels, {name: row.softmax for name, row in rows.items()}


def test_a_policy_is_written_and_improves_the_members(tmp_path: Path) -> None:
    run = make_run(tmp_path, val=400)
    result = stack(run, config={"method": "weighted"})
    policy = run_policy(run)
    assert (policy.pages, policy.folds, policy.members) == (400, 5, tuple(MEMBERS))
    labels, outputs = outputs_of(run, "test")
    judged = judge(policy, outputs)
    for name in MEMBERS:
        before, after = outputs[name], judged.probabilities[name]
        assert expected_calibration_error(labels, after) < expected_calibration_error(labels, before)
        recorded = result["members_scores"][name]["calibrated"]
        assert recorded["temperature"] == policy.temperatures[name]
        assert recorded["calibration_error"] == expected_calibration_error(labels, after)
    assert result["scores"]["calibrated"]["loss"] == negative_log_likelihood(labels, judged.probabilities["stack"])
    accepted = np.array([decision == "accepted" for decision in judged.decisions])
    assert accepted.mean() > 0.3
    assert correct(labels, outputs["stack"])[accepted].mean() > 0.93
    unknown = np.mean([decision == "unknown" for decision in judged.decisions])
    assert unknown < 0.1


def test_overfitting_of_the_stack_does_not_reach_the_policy(tmp_path: Path) -> None:
    """Without a penalty, the stack fits all validation pages perfectly; only the cross-fit shows what it is worth."""
    run = make_run(tmp_path, val=120)
    stack(run, config={"method": "logistic", "logistic_l2": 1e-6})
    in_sample = read_predictions(run / "jobs" / "stack" / "predictions" / "val.npz")
    assert correct(in_sample.labels, in_sample.softmax).all()
    held_out = read_predictions(run / "jobs" / "stack" / "predictions" / "cross_fitted.npz")
    assert not correct(held_out.labels, held_out.softmax).all()
    policy = run_policy(run)
    assert policy.temperatures["stack"] > 1.1
    labels, outputs = outputs_of(run, "test")
    after = judge(policy, outputs).probabilities["stack"]
    assert negative_log_likelihood(labels, after) < negative_log_likelihood(labels, outputs["stack"])


def test_the_same_pages_in_any_order_give_the_same_policy(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "a", seed=1), make_run(tmp_path / "b", seed=2)
    for run in (first, second):
        stack(run, config={"method": "logistic"})
    assert run_policy(first) == run_policy(second)


@pytest.mark.parametrize("val", [1, 2, 7])
def test_few_pages_accept_none_and_stay_near_one(tmp_path: Path, val: int) -> None:
    run = make_run(tmp_path, val=val)
    stack(run, config={"method": "logistic"})
    policy = run_policy(run)
    assert policy.folds == (0 if val == 1 else min(val, 5))
    assert policy.threshold.value is None and policy.unknown_threshold is None
    assert all(0.3 < temperature < 3 for temperature in policy.temperatures.values())
    assert set(judge(policy, outputs_of(run, "test")[1]).decisions) == {"review"}


def test_the_selection_pages_stay_out_of_a_leak_free_policy(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name in MEMBERS:
        (run / "jobs" / name / "result.json").write_text('{"selection_share": 0.5}')
    result = stack(run, config={"method": "weighted", "leak_free": True})
    assert run_policy(run).pages == result["leak_free"]["fitted_on"] < 90


def test_folds_are_even_in_every_class() -> None:
    labels = np.repeat([0, 1, 2], [10, 7, 3])
    folds = fold_of([f"p{i}" for i in range(20)], labels)
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(folds).tolist() == [4] * 5


def test_a_document_is_in_one_fold() -> None:
    ids = [f"{number}.pdf#page={page}" for page in (1, 2, 3) for number in range(20)]
    folds = fold_of(ids, np.tile(np.arange(20) % 4, 3))
    assert np.array_equal(folds[:20], folds[20:40])
    assert np.array_equal(folds[:20], fold_of([f"{number}.pdf" for number in range(20)], np.arange(20) % 4))
    assert np.bincount(folds).tolist() == [12] * 5
    assert set(fold_of(["a.pdf#page=1", "a.pdf#page=2"], np.array([0, 1])).tolist()) == {0}


@pytest.mark.parametrize("config", [{"precision": 1.0}, {"false_alarms": 0}, {"threshold_per": "page"}])
def test_an_invalid_setting_is_rejected(tmp_path: Path, config: dict[str, Any]) -> None:
    from data_tools.errors import UserError

    with pytest.raises(UserError, match=next(iter(config))):
        stack(make_run(tmp_path), config=config)


def test_class_weights_calibrate_for_the_weighted_classes_and_leave_promises_about_pages(tmp_path: Path) -> None:
    """Temperatures are fitted with the weights of the stack; thresholds count each page that comes once."""
    from trainer.scoring.temperature import fit_temperature

    weights, config = {"9": 5.0, "2": 0.2}, {"method": "average"}  # an average is the same with and without weights
    plain, weighted = make_run(tmp_path / "plain", val=400), make_run(tmp_path / "weighted", val=400)
    stack(plain, config=config)
    stack(weighted, config=config, class_weights=weights)
    without, policy = run_policy(plain), run_policy(weighted)
    for name in MEMBERS:
        rows = read_predictions(weighted / "jobs" / name / "predictions" / "val.npz")
        of_class = np.array([weights.get(str(class_id), 1.0) for class_id in rows.class_ids])
        pages = of_class[rows.labels] / of_class[rows.labels].mean()
        expected = fit_temperature(rows.labels, rows.softmax, page_weights=pages)
        assert policy.temperatures[name] == pytest.approx(expected, rel=1e-6)
        assert policy.temperatures[name] != without.temperatures[name]
    labels, outputs = outputs_of(weighted, "test")
    decisions = np.array(judge(policy, outputs).decisions)
    assert correct(labels, outputs["stack"])[decisions == "accepted"].mean() > 0.93
    assert (decisions == "unknown").mean() < 0.1
