"""Several runs beside the first of them, as plain data: settings, accuracies with paired tests, confusions, times."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.config import differences
from data_tools.errors import UserError
from launch.run.folder import result_settings
from launch.run.record import RunRecord, read_run
from trainer.job_folder.corrections import corrections_record
from trainer.job_folder.journal import PREDICTIONS, job_folder
from trainer.scoring.metrics import PairedTest, paired_test, wilson_interval
from trainer.scoring.predictions import Predictions, read_predictions
from trainer.stack.out_of_fold import AVERAGED

SPLIT = "test"
CONFUSIONS = 10
"""Confusions, at most, that are listed for a pair of runs."""


@dataclass(frozen=True)
class ModelFigures:
    """One model of one run on its own test pages. seconds: of training it; None if unknown.

    against: the paired test against the same model of the first run, on `common` pages with the same label in both;
    None for the first run, and where the pages have nothing in common.
    """

    accuracy: float
    interval: tuple[float, float]
    pages: int
    seconds: float | None
    common: int = 0
    against: PairedTest | None = None


@dataclass(frozen=True)
class Confusion:
    """How often pages of class `true` were taken for `predicted`, of the common pages: in the first run and in this."""

    true: str
    predicted: str
    first: int
    this: int


@dataclass(frozen=True)
class ComparedRun:
    """One run. settings: a line for each setting that affects results and differs from the first run's. seconds: of
    training all of its jobs, those of folds included; None if unknown.
    """

    run: str
    settings: tuple[str, ...]
    models: dict[str, ModelFigures]
    confusions: tuple[Confusion, ...]
    relabeled: int
    """Pages that are in both test sets with different labels; they are left out of the paired tests."""
    seconds: float | None = None

    def as_data(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def compare(folders: Sequence[Path], *, seed: int = 1) -> list[ComparedRun]:
    """The runs in `folders`, each compared with the first. seed: of the bootstrap intervals.

    Raises:
        UserError: a folder is no run folder, or none of its models has been scored on the test pages.
    """
    records = [read_run(folder) for folder in folders]
    outputs = [_outputs(record) for record in records]
    names = [_class_names(record) for record in records]
    compared = []
    for position, record in enumerate(records):
        pair = _Pair(outputs[0], outputs[position], names[0] | names[position], seed) if position else None
        models = {name: _figures(record, name, rows, pair) for name, rows in outputs[position].items()}
        compared.append(
            ComparedRun(
                run=str(record.folder),
                settings=tuple(differences(_settings(records[0]), _settings(record))),
                models=models,
                confusions=pair.confusions() if pair else (),
                relabeled=pair.relabeled() if pair else 0,
                seconds=_seconds(record),
            )
        )
    return compared


def _settings(record: RunRecord) -> dict[str, Any]:
    """The settings that affect the run's results; of corrections their content, which a path does not show."""
    settings = result_settings(record.config)
    kept = corrections_record(record.folder)
    if kept is not None:
        pages = Counter[str]()
        for counts in kept.get("splits", {}).values():
            pages.update(counts)
        effect = f": {', '.join(f'{count} {kind}' for kind, count in sorted(pages.items()))}" if pages else ""
        settings["data"]["corrections"] = f"{kept['path']} (sha256 {kept['sha256'][:12]}, {kept['rows']} rows{effect})"
    return settings


def _outputs(record: RunRecord) -> dict[str, Predictions]:
    """The test outputs of the run's finished models, by name; a fold's job is part of one."""
    names = [name for name in record.jobs if record.member_of(name) is None]
    files = {name: job_folder(record.folder, name) / PREDICTIONS / f"{SPLIT}.npz" for name in names}
    found = {name: read_predictions(path) for name, path in files.items() if path.exists()}
    if not found:
        raise UserError(f"{record.folder}: no model of this run has been scored on the {SPLIT} pages yet")
    return found


def _seconds(record: RunRecord) -> float | None:
    """An average of jobs has their time in its result, too, but did not run itself."""
    results = [job.result for job in record.jobs.values() if AVERAGED not in job.result]
    found = [result.get("seconds") for result in results]
    known = [float(seconds) for seconds in found if isinstance(seconds, int | float)]
    return sum(known) if known else None


def _class_names(record: RunRecord) -> dict[int, str]:
    classes = record.run.get("classes") or []
    return {int(one["id"]): str(one["name"]) for one in classes}


def _figures(record: RunRecord, name: str, rows: Predictions, pair: "_Pair | None") -> ModelFigures:
    right = _right(rows)
    seconds = record.jobs[name].result.get("seconds")
    common, against = pair.test(name) if pair else (0, None)
    low, high = wilson_interval(int(right.sum()), len(right))
    return ModelFigures(
        accuracy=float(right.mean()) if len(right) else 0.0, interval=(low, high), pages=len(right),
        seconds=float(seconds) if isinstance(seconds, int | float) else None, common=common, against=against,
    )  # fmt: skip


def _right(rows: Predictions) -> npt.NDArray[np.bool_]:
    return np.asarray(rows.softmax.argmax(axis=1) == rows.labels)


class _Pair:
    """Two runs' outputs, joined by page id. Classes are matched by id, so runs of other classes can be compared."""

    def __init__(
        self, first: dict[str, Predictions], this: dict[str, Predictions], names: dict[int, str], seed: int
    ) -> None:
        self._first, self._this, self._names, self._seed = first, this, names, seed

    def test(self, model: str) -> tuple[int, PairedTest | None]:
        """The number of common pages, and the test of this run's model against the first run's; see `ModelFigures`."""
        if model not in self._first:
            return 0, None
        first, this = self._common(model)
        if not len(first.ids):
            return 0, None
        return len(first.ids), paired_test(_right(this), _right(first), seed=self._seed)

    def relabeled(self) -> int:
        """Common pages whose labels differ."""
        model = self._model()
        if model is None:
            return 0
        first, this = self._joined(model)
        return int((_labels(first) != _labels(this)).sum())

    def confusions(self) -> tuple[Confusion, ...]:
        """The confusions of the last model of both runs whose counts changed most, largest change first."""
        model = self._model()
        if model is None:
            return ()
        before, after = (_mistakes(rows) for rows in self._common(model))
        changed = sorted(before.keys() | after.keys(), key=lambda key: (-abs(after[key] - before[key]), key))
        return tuple(
            Confusion(self._name(true), self._name(predicted), before[true, predicted], after[true, predicted])
            for true, predicted in changed[:CONFUSIONS]
            if before[true, predicted] != after[true, predicted]
        )

    def _model(self) -> str | None:
        """The last model that both runs have: the stack, where both are finished."""
        return next((name for name in reversed(self._this) if name in self._first), None)

    def _name(self, class_id: int) -> str:
        return self._names.get(class_id, str(class_id))

    def _joined(self, model: str) -> tuple[Predictions, Predictions]:
        first, this = self._first[model], self._this[model]
        ids = np.intersect1d(first.ids, this.ids)
        return first.rows(np.isin(first.ids, ids)).sorted(), this.rows(np.isin(this.ids, ids)).sorted()

    def _common(self, model: str) -> tuple[Predictions, Predictions]:
        first, this = self._joined(model)
        same = _labels(first) == _labels(this)
        return first.rows(same), this.rows(same)


def _labels(rows: Predictions) -> npt.NDArray[np.integer[Any]]:
    return np.asarray(rows.class_ids[rows.labels])


def _mistakes(rows: Predictions) -> Counter[tuple[int, int]]:
    """Wrong predictions by (true, predicted) class id."""
    wrong = ~_right(rows)
    predicted = rows.class_ids[rows.softmax.argmax(axis=1)]
    return Counter(zip(_labels(rows)[wrong].tolist(), predicted[wrong].tolist(), strict=True))


def models_of(runs: Sequence[ComparedRun]) -> list[str]:
    """The names of all models, those of the first run first."""
    return list(dict.fromkeys(chain.from_iterable(run.models for run in runs)))
