"""What to do with a page: calibrated probabilities and a decision, from the models' outputs and the run's policy.

    policy = read_policy(run)
    judged = judge(policy, ensemble.predict(pages))
    judged.probabilities["stack"], judged.decisions

The stack's job fits the policy (`trainer.stack.policy`) and writes it to `jobs/stack/calibration.json`. Whatever shows
a probability or a decision takes it from here, so the report, `evaluate`, `predict`, `serve` and the export agree.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data_tools.config import read_record, to_mapping
from data_tools.errors import UserError
from data_tools.files import read_object, write_json
from trainer.config import STACK
from trainer.job_folder.journal import STACK_DESCRIPTION, job_folder, make_again
from trainer.scoring.temperature import at_temperature
from trainer.scoring.thresholds import Threshold
from trainer.scoring.unknown import SCORES

CALIBRATION = "calibration.json"
FORMAT = 1

BLANK = 0.5
"""Share of the contrast of the faintest validation page below which a page counts as blank."""

Decision = Literal["accepted", "review", "unknown"]
"""Use the answer; let a person check it; the page seems to be of no class that was trained."""

Outputs = Mapping[str, npt.NDArray[np.floating[Any]]]
"""Softmax float32[n, C] by model: every member of the stack, and the stack."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the stack's job learned from validation pages, as in `calibration.json`.

    class_ids: of the outputs' columns. members: names of the stack's inputs, in order. temperatures: by model.
    pages, folds: validation pages that all of this was fitted on, and the parts of the cross-fit (0: too few pages).
    precision: the wanted share of right answers among accepted pages. risk: probability that a threshold misses it.
    threshold_per: which thresholds decide, the run's (`run`) or the predicted class's (`class`).
    unknown_score: a key of `trainer.scoring.unknown.SCORES`; unknown_threshold: a higher score makes a page unknown,
    None: no page; false_alarms: share of pages of the trained classes that exceed it. faintest: the smallest contrast
    of a validation page (`trainer.scoring.unknown.contrast` of the whole page as stored); None: not known. model: whose
    answers these are: the stack, or a single model, which is then its only member.
    """

    format: int
    class_ids: tuple[int, ...]
    members: tuple[str, ...]
    temperatures: dict[str, float]
    pages: int
    folds: int
    precision: float
    risk: float
    threshold_per: Literal["run", "class"]
    threshold: Threshold
    class_thresholds: tuple[Threshold, ...]
    unknown_score: str
    unknown_threshold: float | None
    false_alarms: float
    versions: dict[str, str]
    faintest: float | None = None
    model: str = STACK

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise UserError(f"format: {self.format} is not {FORMAT}; another version of regionstack wrote it")
        for key in ("class_ids", "members"):
            values = getattr(self, key)
            if not values or len(set(values)) != len(values):
                raise UserError(f"{key}: {list(values)} is empty or names one twice")
        if self.unknown_score not in SCORES:
            raise UserError(f"unknown_score: {self.unknown_score!r} is not one of {', '.join(SCORES)}")
        if len(self.class_thresholds) != len(self.class_ids):
            raise UserError(f"class_thresholds: {len(self.class_thresholds)} for {len(self.class_ids)} classes")
        for name in (*self.members, self.model, *self.temperatures):
            if not 0 < self.temperatures.get(name, 0) < math.inf:
                raise UserError(f"temperatures: {name} has no finite one above 0")
        for key in ("precision", "risk", "false_alarms"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"{key}: {getattr(self, key)} is not between 0 and 1")
        for key in ("unknown_threshold", "faintest"):
            value = getattr(self, key)
            if value is not None and not math.isfinite(value):
                raise UserError(f"{key}: {value} is not finite")


@dataclass(frozen=True, eq=False)
class Judged:
    """Outputs under a policy. probabilities: as the outputs, calibrated. decisions: one a page, None without a policy.

    unknown_scores: float64[n], None without a policy. calibrated: whether there was a policy.
    """

    probabilities: dict[str, npt.NDArray[np.float32]]
    decisions: list[Decision] | list[None]
    unknown_scores: npt.NDArray[np.float64] | None
    calibrated: bool


def judge(
    policy: Policy | None, outputs: Outputs, *, contrast: Sequence[float] | npt.NDArray[np.float64] | None = None
) -> Judged:
    """Calibrate softmax outputs and decide on each page; each page alone, so batches of any size give the same.

    Pass what `Ensemble.predict` returns (all members and `stack`, float32[n, C] each), show `probabilities` of the
    result in place of the outputs, and write `decisions`. Without a policy (a run of an earlier version) the outputs
    are unchanged and every decision is None; say that they are not calibrated.

    contrast: float[n], of the whole pages (`trainer.scoring.unknown.contrast`). A page with less than half that of the
    faintest validation page is blank, or all black, and unknown whatever the models say; None: no page is.

    Raises:
        ValueError: the outputs of a model of the policy are missing.
    """
    if policy is None:
        unchanged = {name: softmax.astype(np.float32) for name, softmax in outputs.items()}
        return Judged(unchanged, [None] * len(next(iter(outputs.values()))), None, calibrated=False)
    probabilities = calibrate(policy, outputs)
    missing = [name for name in (*policy.members, policy.model) if name not in probabilities]
    if missing:
        raise ValueError(f"a decision needs the outputs of {', '.join(missing)}")
    scores = unknown_scores(policy.unknown_score, probabilities, members=policy.members, model=policy.model)
    unknown = is_unknown(policy, scores) | is_blank(policy, contrast, pages=len(scores))
    decisions = [*map(_decision, accepted(policy, probabilities[policy.model]), unknown)]
    return Judged(probabilities, decisions, scores, calibrated=True)


def calibrate(policy: Policy, outputs: Outputs) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs float[n, C] at their models' temperatures; those of a model without one (no member) are unchanged."""
    return {
        name: at_temperature(softmax, policy.temperatures.get(name, 1.0)).astype(np.float32)
        for name, softmax in outputs.items()
    }


def unknown_scores(
    score: str, probabilities: Outputs, *, members: Sequence[str], model: str = STACK
) -> npt.NDArray[np.float64]:
    """float64[n]: how strange each page is, from calibrated probabilities of the members and of what answers."""
    return SCORES[score](np.stack([probabilities[name] for name in members], axis=1), probabilities[model])


def answering(models: Iterable[str]) -> str:
    """The model of `models` whose answers count: the stack, or without one the last, as of a single model."""
    names = list(models)
    return STACK if STACK in names else names[-1]


def accepted(policy: Policy, stack: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """bool[n]: whether the stack's calibrated confidence, of float32[n, C], reaches the threshold."""
    chosen = policy.class_thresholds if policy.threshold_per == "class" else [policy.threshold] * len(policy.class_ids)
    limits = np.array([np.inf if threshold.value is None else threshold.value for threshold in chosen])
    return np.asarray(stack.max(axis=1) >= limits[stack.argmax(axis=1)])


def is_unknown(policy: Policy, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """bool[n]: whether each score exceeds the threshold."""
    limit = np.inf if policy.unknown_threshold is None else policy.unknown_threshold
    return np.asarray(scores > limit)


def is_blank(
    policy: Policy, contrast: Sequence[float] | npt.NDArray[np.float64] | None, *, pages: int
) -> npt.NDArray[np.bool_]:
    """bool[pages]: whether each page has too little contrast to show anything."""
    if contrast is None or policy.faintest is None:
        return np.zeros(pages, np.bool_)
    return np.asarray(contrast, np.float64) < BLANK * policy.faintest


def _decision(is_accepted: bool, unknown: bool) -> Decision:
    return "unknown" if unknown else "accepted" if is_accepted else "review"


def write_policy(run: Path, policy: Policy) -> None:
    """Write the policy into the folder of the job whose answers it is about, atomically."""
    write_json(policy_file(run, policy.model), to_mapping(policy))


def read_policy(run: Path, model: str = STACK) -> Policy | None:
    """The policy of a run's stack or of its job `model`; None without one, as of a run of an earlier version.

    Raises:
        UserError: its file is damaged, was written by another version, or is of other models than the run's.
    """
    path = policy_file(run, model)
    if not path.exists():
        return None
    advice = make_again(path.parent)
    policy = read_record(Policy, path, advice=advice)
    for key, wanted in _expected(run, model).items():
        found = to_mapping(getattr(policy, key))
        if found != wanted:
            raise UserError(f"{path}.{key}: {found}, and the run's models need {wanted}; {advice}")
    return policy


def _expected(run: Path, model: str) -> dict[str, Any]:
    """What the policy of `model` holds by key, as far as the run's stack is finished."""
    stack = read_object(job_folder(run, STACK) / STACK_DESCRIPTION)
    members = stack.get("members") if model == STACK else [model]
    expected = {"model": model, "members": members, "class_ids": stack.get("class_ids")}
    return {key: value for key, value in expected.items() if value is not None}


def policy_file(run: Path, model: str = STACK) -> Path:
    """Path of a `calibration.json`."""
    return job_folder(run, model) / CALIBRATION
