"""What a trained job leaves: the best epoch's weights, predictions for val and test, the content of `result.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.errors import UserError
from data_tools.shards.reader import ShardSet
from data_tools.versions import installed
from trainer.job_folder.checkpoint import CheckpointFolder
from trainer.job_folder.journal import CHECKPOINTS, PREDICTIONS
from trainer.network.weights import is_seed, transfer, weights_digest
from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.scoring.predictions import Predictions, write_predictions
from trainer.training.loop import Loop


def load_best(loop: Loop, checkpoints: CheckpointFolder) -> dict[str, Any]:
    """Load the best epoch's weights on rank 0 and hand them to all; where they stand and their digest.

    Raises:
        UserError: no epoch was finished, or the checkpoint is damaged.
    """
    best = loop.state.best
    if best is None:
        raise UserError(f"{loop.config.name}: no epoch was finished, so there are no weights to evaluate")
    model = loop.step.classifier.model
    if loop.world.rank == 0:
        problem = checkpoints.problem(best.step)
        if problem:
            raise UserError(
                f"{checkpoints.path(best.step)}: the best checkpoint is damaged ({problem}); delete "
                "the job's folder to train it again"
            )
        transfer(model.variables, checkpoints.read(best.step).weights, source=str(checkpoints.path(best.step)))
    variables = [v for v in model.variables if not is_seed(v)]
    loop.world.broadcast(variables)
    path = f"{CHECKPOINTS}/{checkpoints.path(best.step).name}"
    return {"epoch": best.epoch, "path": path, "digest": weights_digest(variables)}


def predict_splits(folder: Path, splits: Mapping[str, ShardSet], loop: Loop) -> dict[str, float]:
    """Write the softmax outputs for each of `splits`; loss and accuracy on all of them."""
    figures: dict[str, float] = {}
    for split, shards in splits.items():
        softmax = loop.evaluator.softmax(shards, on_batch=loop.on_batch("predicting"))
        figures[f"{split}_accuracy"] = float(accuracy(shards.labels, softmax))
        figures[f"{split}_loss"] = float(negative_log_likelihood(shards.labels, softmax))
        if loop.world.rank == 0:
            class_ids = np.array(shards.manifest.class_ids, np.int64)
            predictions = Predictions(shards.ids, np.asarray(shards.labels, np.int32), softmax, class_ids)
            write_predictions(folder / PREDICTIONS / f"{split}.npz", predictions)
    return figures


def result_of(loop: Loop, best: Mapping[str, Any], figures: Mapping[str, float]) -> dict[str, Any]:
    """What `result.json` says of the training; when and in which attempt it ran is added by the caller."""
    config = loop.config
    return {
        "job": config.name,
        "region": config.region,
        "stage": config.stage_name,
        "world_size": loop.world.size,
        "epochs": config.stage.epochs,
        "best_epoch": best["epoch"],
        "best_checkpoint": best["path"],
        **figures,
        "parameters": int(sum(np.prod(v.shape) for v in loop.step.classifier.model.trainable_variables)),
        "weights_digest": best["digest"],
        "start": loop.state.start,
        "train_seconds": loop.state.seconds,
        "selection_share": config.selection_share,
        "versions": installed("tensorflow", "keras", "horovod", "numpy"),
    }
