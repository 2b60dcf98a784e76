"""Outputs to answers: pages in order, then the document."""

import numpy as np
import pytest

from launch.predict.answers import Judgement, document_outputs
from trainer.scoring.decision import Policy
from trainer.scoring.thresholds import Threshold
from trainer.serving.classify import FileOutputs

NAMES = ["letter", "memo"]
PAGES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32)


def policy(faintest: float | None = None) -> Policy:
    threshold = Threshold(value=0.9, pages=100, accepted=60, errors=1)
    return Policy(
        format=1, class_ids=(3, 5), members=("a",), temperatures={"a": 1.0, "stack": 0.5}, pages=100, folds=5,
        precision=0.95, risk=0.1, threshold_per="run", threshold=threshold, class_thresholds=(threshold, threshold),
        unknown_score="max_softmax", unknown_threshold=None, false_alarms=0.05, versions={}, faintest=faintest,
    )  # fmt: skip


def described(file: FileOutputs, *, source: str = "a.tif") -> list[tuple[int | None, str | None, str | None]]:
    found = Judgement(NAMES, None).answers(source, file)
    return [(one.place.page, one.best.name if one.best else None, one.error) for one in found]


def test_a_page_a_document_and_what_cannot_be_read() -> None:
    one = FileOutputs(of=1, pages=[(1, None)], outputs={"stack": PAGES[:1]})
    assert described(one) == [(1, "letter", None)]
    assert described(one, source="a.PDF") == [(1, "letter", None), (None, "letter", None)]
    several = FileOutputs(of=4, pages=[(1, None), (2, "damaged"), (3, None), (4, None)], outputs={"stack": PAGES})
    expected = [
        (1, "letter", None),
        (2, None, "damaged"),
        (3, "letter", None),
        (4, "memo", None),
        (None, "letter", None),
    ]
    assert described(several) == expected
    assert described(FileOutputs(error="empty file")) == [(None, None, "empty file")]
    (first, whole) = described(FileOutputs(of=1, pages=[(1, "damaged")]), source="a.pdf")
    assert first == (1, None, "damaged")
    assert whole[:2] == (None, None)
    assert whole[2]


def test_a_document_is_the_mean_of_its_log_probabilities() -> None:
    (mean,) = document_outputs({"stack": PAGES})["stack"]
    product = PAGES.astype(float).prod(axis=0) ** (1 / 3)
    assert mean == pytest.approx(product / product.sum(), abs=1e-6)


def test_one_page_does_not_rule_a_class_out() -> None:
    (mean,) = document_outputs({"stack": np.array([[1, 0]] + [[0.1, 0.9]] * 40, np.float32)})["stack"]
    assert mean[1] > 0.5


def test_confidence_is_calibrated_and_decided_for_pages_and_documents() -> None:
    file = FileOutputs(of=2, pages=[(1, None), (2, None)], outputs={"a": PAGES[:2], "stack": PAGES[:2]})
    first, second, whole = Judgement(NAMES, policy()).answers("a.pdf", file)
    assert [one.decision for one in (first, second, whole)] == ["accepted", "review", "accepted"]
    expected = {"first": 0.81 / 0.82, "second": 0.36 / 0.52, "whole": 0.54 / 0.58}
    for one, share in zip((first, second, whole), expected.values(), strict=True):
        assert one.best is not None
        assert one.best.probability == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize(
    ("contrast", "decisions"),
    [
        ([60.0, 60.0], ["accepted", "review", "accepted"]),
        ([1.0, 60.0], ["unknown", "review", "accepted"]),
        ([1.0, 2.0], ["unknown", "unknown", "unknown"]),
        ([], ["accepted", "review", "accepted"]),
    ],
)
def test_blank_pages_are_unknown_and_so_is_a_document_of_blank_pages(
    contrast: list[float], decisions: list[str]
) -> None:
    outputs = {"a": PAGES[:2], "stack": PAGES[:2]}
    file = FileOutputs(of=2, pages=[(1, None), (2, None)], outputs=outputs, contrast=contrast)
    assert [one.decision for one in Judgement(NAMES, policy(40.0)).answers("a.pdf", file)] == decisions
