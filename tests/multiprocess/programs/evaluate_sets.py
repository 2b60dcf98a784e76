"""Evaluate one model on synthetic sets of awkward sizes, as one rank of a world; rank 0 writes the outputs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import ModelConfig
from trainer.network.classifier import Geometry, build_classifier
from trainer.scoring.evaluate import Evaluator
from trainer.world import World

COUNTS = (1, 3, 7, 97)
CLASSES, BATCH = 5, 8


@dataclass(frozen=True)
class MadePages:
    """The part of a shard set that an evaluation reads; page i is the same in every set."""

    count: int
    image_shape: tuple[int, int, int] = (16, 16, 1)
    encoding: str = "raw"

    def __len__(self) -> int:
        return self.count

    @property
    def labels(self) -> np.ndarray:
        """int32 [count]; class 3 never comes."""
        return np.array([0, 1, 2, 4], np.int32)[np.arange(self.count) % 4]

    def gather(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        pages = [np.random.default_rng(int(row)).integers(0, 256, self.image_shape, np.uint8) for row in rows]
        images = np.array(pages, np.uint8).reshape(len(rows), *self.image_shape)
        if out is None:
            return images
        out[:] = images
        return out


def evaluate_sets(path: Path, world: World) -> None:
    """Write the softmax outputs of each set, by its number of pages, and the world's size."""
    import keras

    keras.utils.set_random_seed(7)
    config = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,))
    classifier = build_classifier(config, Geometry(16, 16, 1, 16), classes=CLASSES)
    evaluator = Evaluator(classifier, world, batch=BATCH)
    outputs: dict[str, Any] = {str(count): evaluator.softmax(MadePages(count)) for count in COUNTS}  # type: ignore[arg-type]
    if world.rank == 0:
        np.savez(path, allow_pickle=False, size=np.array(world.size), **outputs)
