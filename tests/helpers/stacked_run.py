"""Runs whose members are predictions alone, as if they had been trained, and the stack's job on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer.scoring.predictions import Predictions, write_predictions
from trainer.scoring.temperature import softmax
from trainer.stack.job import run

MEMBERS = {"holistic_256": 2.4, "top": 1.8, "bottom": 1.5, "left": 2.0, "right": 1.7}
CLASS_IDS = np.array([0, 2, 4, 6, 9, 15])


def member(name: str, split: str, *, count: int, skill: float) -> Predictions:
    """A member's outputs; all members share pages and labels."""
    pages = np.random.default_rng([5, len(split)])
    labels = pages.integers(0, len(CLASS_IDS), count).astype(np.int32)
    own = np.random.default_rng([7, len(split), *name.encode()])
    logits = skill * np.eye(len(CLASS_IDS))[labels] + own.normal(size=(count, len(CLASS_IDS)))
    ids = np.array([f"{split}/{number:04d}.tif" for number in range(count)])
    return Predictions(ids, labels, softmax(1.7 * logits).astype(np.float32), CLASS_IDS)


def make_run(run_folder: Path, *, members: Mapping[str, float] = MEMBERS, val: int = 90, test: int = 400,
             seed: int | None = None) -> Path:  # fmt: skip
    """A run folder with predictions of `members`; with a seed, the rows are shuffled."""
    for name, skill in members.items():
        for split, count in (("val", val), ("test", test)):
            rows = member(name, split, count=count, skill=skill)
            path = run_folder / "jobs" / name / "predictions" / f"{split}.npz"
            write_predictions(path, rows)
            if seed is not None:
                order = np.random.default_rng([seed, *name.encode()]).permutation(count)
                with np.load(path) as file:
                    shuffled = {key: file[key] if key == "class_ids" else file[key][order] for key in file}
                np.savez(path, allow_pickle=False, **shuffled)
    return run_folder


def stack(run_folder: Path, *, members: tuple[str, ...] = tuple(MEMBERS), **values: Any) -> dict[str, Any]:
    """The result of the stack's job on such a run; `values` are fields of its payload."""
    config = {"epochs": 3, **values.pop("config", {})}
    return run({"run": str(run_folder), "members": list(members), "config": config, "seed": 3, **values})
