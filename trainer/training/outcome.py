"""The outcome of a trained job: the best epoch's weights, predictions of unseen pages, and `result.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.config import to_mapping
from data_tools.errors import UserError
from data_tools.shards.reader import ShardSet
from data_tools.versions import installed
from trainer.config import JobConfig, TrainingConfig
from trainer.job_folder.checkpoint import CheckpointFolder
from trainer.job_folder.journal import CHECKPOINTS, PREDICTIONS
from trainer.network.classifier import Classifier
from trainer.network.views import with_views
from trainer.network.weights import is_seed, transfer, weights_digest
from trainer.scoring.evaluate import Evaluator
from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.scoring.predictions import Predictions, write_predictions
from trainer.training.agreement import Coordinator
from trainer.training.state import TrainingState
from trainer.world import World


@dataclass(frozen=True)
class BestWeights:
    """The weights of the best epoch. path: checkpoint inside the job's folder; digest: of the weights;
    parameters: number of trainable floats."""

    epoch: int
    path: str
    digest: str
    parameters: int


def load_best(model: Any, state: TrainingState, checkpoints: CheckpointFolder, *, world: World) -> BestWeights:
    """Load the best epoch's weights into the Keras `model` on rank 0 and broadcast them to all ranks.

    Raises:
        UserError: no epoch is finished, or the checkpoint is damaged.
    """
    best = state.best
    if best is None:
        raise UserError(f"{checkpoints.path(state.step)}: no epoch is finished, so there are no weights to evaluate")
    path = checkpoints.path(best.step)
    if world.rank == 0:
        problem = checkpoints.problem(best.step)
        if problem:
            raise UserError(
                f"{path}: the best checkpoint is damaged ({problem}); delete the job's folder to train it again"
            )
        transfer(model.variables, checkpoints.read(best.step).weights, source=str(path))
    variables = [v for v in model.variables if not is_seed(v)]
    world.broadcast(variables)
    parameters = int(sum(np.prod(v.shape) for v in model.trainable_variables))
    return BestWeights(best.epoch, f"{CHECKPOINTS}/{path.name}", weights_digest(variables), parameters)


def final_evaluator(classifier: Classifier, training: TrainingConfig, plain: Evaluator, *, world: World) -> Evaluator:
    """What predicts with the best weights: an evaluator over `training.views`, with as many pages in memory as `plain`.

    `plain` itself if a page is its only view.
    """
    if training.views.count == 1:
        return plain
    batch = max(1, training.evaluation_batch // training.views.count)
    return Evaluator(with_views(classifier, training.views), world, batch=batch)


def predict_splits(
    splits: Mapping[str, ShardSet], evaluator: Evaluator, *, coordinator: Coordinator, folder: Path, step: int
) -> dict[str, float]:
    """Loss and accuracy on each of `splits`, as `SPLIT_loss` and `SPLIT_accuracy`; the same on every rank.

    folder: the job's folder, where rank 0 writes the softmax outputs; step: finished steps of the training.

    Raises:
        Stopped: a rank received a stop request.
    """
    figures: dict[str, float] = {}
    for split, shards in splits.items():
        finished = coordinator.batch_callback("predicting", step=step)
        softmax = evaluator.softmax(shards, on_batch=finished)
        figures[f"{split}_accuracy"] = float(accuracy(shards.labels, softmax))
        figures[f"{split}_loss"] = float(negative_log_likelihood(shards.labels, softmax))
        if coordinator.world.rank == 0:
            class_ids = np.array(shards.manifest.class_ids, np.int64)
            predictions = Predictions(shards.ids, np.asarray(shards.labels, np.int32), softmax, class_ids)
            write_predictions(folder / PREDICTIONS / f"{split}.npz", predictions)
    return figures


def result_of(
    config: JobConfig, state: TrainingState, best: BestWeights, figures: Mapping[str, float], *, world_size: int
) -> dict[str, Any]:
    """`trainer.scoring.schema.TrainingResult` without the attempt and its times, which the caller adds."""
    return {
        "job": config.name,
        "region": config.region,
        "stage": config.stage_name,
        "world_size": world_size,
        "epochs": config.stage.epochs,
        "best_epoch": best.epoch,
        "best_checkpoint": best.path,
        **figures,
        "parameters": best.parameters,
        "weights_digest": best.digest,
        "start": state.start,
        "train_seconds": state.seconds,
        "selection_share": config.selection_share,
        "fold": None if config.fold is None else to_mapping(config.fold),
        "versions": installed("tensorflow", "keras", "horovod", "numpy"),
    }
