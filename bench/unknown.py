"""Pages of no trained class: how well each score separates them from test pages, as the area under the ROC curve.

    python bench/unknown.py [--quick] [--pages FOLDER --weights FILE [--held-out CLASS ...]]

Trains a whole-page model, two region models and the stack on some of the classes, and scores test pages of these
classes against pages of the held-out classes, blank and black pages and noise. Without options: drawn pages, small
networks. With --pages (real scans: `labels/train.txt`, `labels/val.txt`) and --weights (MobileNetV2): each held-out
class in turn, and drawn pages as unknown ones, too.

Scores of `trainer.scoring.unknown`, from the stored outputs; beside them what needs more than a run stores: the energy
of the logits (Liu et al. 2020), and distances of the penultimate features to the training pages (10th neighbor, Sun et
al. 2022; relative Mahalanobis distance, Ren et al. 2021).
Bar: over pages of classes that were not trained, the mean of the shipped score is at least that of max-softmax and
energy.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from data_tools.config import to_mapping  # noqa: E402
from data_tools.documents.pixels import fit, read_page  # noqa: E402
from data_tools.drawn import CLASS_NAMES, draw_data_set  # noqa: E402
from data_tools.shards.reader import ShardSet  # noqa: E402
from launch.config import Config, load_config  # noqa: E402
from launch.recipe.jobs import payload  # noqa: E402
from launch.recipe.prepare import ensure_shards, ensure_weights  # noqa: E402
from launch.recipe.stages import plan_recipe  # noqa: E402
from launch.run.folder import open_run  # noqa: E402
from trainer.config import STACK  # noqa: E402
from trainer.scoring.decision import judge, read_policy, unknown_scores  # noqa: E402
from trainer.scoring.unknown import SCORES, SHIPPED  # noqa: E402

RIVALS = ("max_softmax", "energy")
MADE = ("blank", "black", "noise")
"""Kinds of pages that are no documents; they are in the table, and not in the mean."""
REGIONS = {"top": [0, 0, 1, 0.5], "left": [0, 0, 0.5, 1]}
HELD_OUT = (3, 4, 9, 13)
"""Drawn classes that are not trained: handwritten, advertisement, news article, questionnaire."""

Pages = dict[str, np.ndarray]
"""uint8 [n, height, width, 1] by region."""


@dataclass(frozen=True)
class Case:
    """A configuration, and the pages of no trained class by their kind."""

    name: str
    config: Config
    unknown: Mapping[str, Sequence[Path]]


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer drawn pages; within a minute")
    parser.add_argument("--pages", type=Path, help="folder of real pages with labels/train.txt and labels/val.txt")
    parser.add_argument("--weights", type=Path, help="MobileNetV2 start weights for real pages")
    parser.add_argument("--held-out", type=int, nargs="+", help="classes to hold out in turn (default: all)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the whole-page model on real pages")
    parser.add_argument("--keep", type=Path, help="folder for the outputs and features as NPZ files")
    options = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = real_cases(Path(folder), options) if options.pages else [drawn_case(Path(folder), quick=options.quick)]
        for case in cases:
            found = measure(case)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                np.savez(
                    options.keep / f"{case.name}.npz", **{f"{k}/{n}": a for k, s in found.items() for n, a in s.items()}
                )
            rows |= {f"{case.name}: {kind}": row for kind, row in areas(found).items()}
    return report(rows)


def drawn_case(folder: Path, *, quick: bool) -> Case:
    """Eight drawn classes, with four others unknown."""
    counts = {"train": 80, "val": 20, "test": 20} if quick else {"train": 200, "val": 40, "test": 40}
    draw_data_set(folder / "pages", seed=1, pages_per_class=counts, height=240)
    known = [number for number in range(len(CLASS_NAMES)) if number not in HELD_OUT][:8]
    adam = {"name": "adam", "learning_rate": 0.002}
    config = {
        "data": {"root": str(folder / "pages"), "classes": known,
                 **{split: str(folder / "pages" / "labels" / f"{split}.txt") for split in counts}},
        "model": {"backbone": "SmallConvNet", "weights": "none", "dense": [64], "dropout": 0.2},
        "shards": {"folder": str(folder / "shards"), "height": 64, "width": 64},
        "stages": {
            "holistic_64": {"image_px": 64, "epochs": 30, "global_batch": 32, "optimizer": adam},
            "regions": {"region": "each", "image_px": 64, "epochs": 8, "start": "holistic_64", "global_batch": 32,
                        "optimizer": adam},
        },
    }  # fmt: skip
    images = folder / "pages" / "images" / "test"
    held_out = {CLASS_NAMES[n]: sorted((images / CLASS_NAMES[n].replace(" ", "_")).iterdir()) for n in HELD_OUT}
    return Case("drawn", load(folder, config), held_out)


def real_cases(folder: Path, options: argparse.Namespace) -> list[Case]:
    """One case a held-out class: 60 % of the other classes' pages train, 20 % each validate and test."""
    lines = [
        line for name in ("train", "val") for line in (options.pages / "labels" / f"{name}.txt").read_text().split("\n")
    ]
    pages = [(line.rsplit(" ", 1)[0], int(line.rsplit(" ", 1)[1])) for line in sorted(lines) if line]
    order = np.random.default_rng(1).permutation(len(pages))
    draw_data_set(folder / "drawn", seed=2, pages_per_class={"train": 1, "val": 1, "test": 10})
    drawn = sorted((folder / "drawn" / "images" / "test").rglob("*.tif"))
    classes = sorted({label for _, label in pages})
    cases = []
    for held_out in options.held_out or classes:
        known = [pages[place] for place in order if pages[place][1] != held_out]
        parts = {"train": known[: len(known) * 3 // 5], "val": known[len(known) * 3 // 5 : len(known) * 4 // 5],
                 "test": known[len(known) * 4 // 5 :]}  # fmt: skip
        place = folder / f"without-{held_out}"
        place.mkdir()
        for split, rows in parts.items():
            (place / f"{split}.txt").write_text("".join(f"{path} {label}\n" for path, label in rows))
        adam = {"name": "adam", "learning_rate": 0.0005}
        config = {
            "data": {"root": str(options.pages), **{split: str(place / f"{split}.txt") for split in parts}},
            "model": {"backbone": "MobileNetV2", "weights": str(options.weights), "dense": [128], "dropout": 0.2,
                      "batchnorm_momentum": 0.9},
            "shards": {"folder": str(place / "shards"), "height": 96, "width": 96},
            "stages": {
                "holistic_96": {"image_px": 96, "epochs": options.epochs, "global_batch": 32, "optimizer": adam},
                "regions": {"region": "each", "image_px": 96, "epochs": max(options.epochs - 1, 1),
                            "start": "holistic_96", "global_batch": 32, "optimizer": adam},
            },
        }  # fmt: skip
        unknown = {
            "held-out class": [options.pages / path for path, label in pages if label == held_out],
            "drawn": drawn,
        }
        cases.append(Case(f"without {held_out}", load(place, config), unknown))
    return cases


def load(folder: Path, config: dict[str, Any]) -> Config:
    """The configuration, through its YAML file."""
    common = {"regions": REGIONS, "run": {"folder": str(folder / "run")}, "checkpoint": {"every_seconds": None}}
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(config | common))
    return load_config(str(path))


def measure(case: Case) -> dict[str, dict[str, np.ndarray]]:
    """Train the case, and compute every score of the test pages (`test`) and of each kind of unknown pages."""
    train(case.config)
    models = Models(case.config)
    boxes, size = case.config.boxes, case.config.shards.height
    sets = {
        kind: [fit_all(read_page(path, color=False), boxes, size) for path in paths]
        for kind, paths in case.unknown.items()
    }
    noise = np.random.default_rng(1)
    made = {"blank": np.full((600, 450), 255, np.uint8), "black": np.zeros((600, 450), np.uint8)}
    sets |= {kind: [fit_all(page, boxes, size)] for kind, page in made.items()}
    sets["noise"] = [fit_all(noise.integers(0, 256, (600, 450), np.uint8), boxes, size) for _ in range(20)]
    unknown = {kind: {n: np.stack([page[n] for page in pages]) for n in boxes} for kind, pages in sets.items()}
    models.learn(stored(case.config, "train"))
    return {kind: models.scores(pages) for kind, pages in {"test": stored(case.config, "test"), **unknown}.items()}


def train(config: Config) -> None:
    """Run every job of the recipe in this process."""
    from trainer.job import run
    from trainer.stack.job import run as stack

    ensure_shards(config)
    folder = open_run(config)
    recipe = plan_recipe(config, weights_file=ensure_weights(config))
    for job in recipe.jobs:
        result = run(payload(job, folder))
        sys.stderr.write(f"{job.name}: test accuracy {result['test_accuracy']:.3f}, {result['seconds']:.0f} s\n")
    result = stack({"run": str(folder), "members": list(recipe.members), "config": to_mapping(config.stack)})
    after, before = (result["scores"][kind]["calibration_error"] for kind in ("calibrated", "test"))
    sys.stderr.write(f"stack: test accuracy {result['test_accuracy']:.3f}, ECE {after:.3f} ({before:.3f} as trained)\n")


def fit_all(page: np.ndarray, boxes: Mapping[str, Any], size: int) -> Pages:
    """The regions of a decoded page: uint8 [size, size, 1] by region."""
    return {name: fit(page, box, size, size) for name, box in boxes.items()}


def stored(config: Config, split: str) -> Pages:
    """The pages of a split as its shards hold them; conversion has put all regions in the same order."""
    sets = {name: ShardSet.open(Path(config.shards.folder) / split / name) for name in config.boxes}
    ids = sorted(next(iter(sets.values())).ids)
    return {
        name: shards.gather(np.array([{page: row for row, page in enumerate(shards.ids)}[page] for page in ids]))
        for name, shards in sets.items()
    }


class Models:
    """The trained models of a run, with their logits and penultimate features."""

    def __init__(self, config: Config) -> None:
        import keras

        from launch.api import open_run as opened

        self._run = Path(config.run.folder)
        self._ensemble = opened(self._run).ensemble
        self._parts = {
            member.name: keras.Model(
                member.model.input, [member.model.get_layer("logits").output, member.model.get_layer("logits").input]
            )
            for member in self._ensemble.members
        }
        self._known: dict[str, np.ndarray] = {}
        self._classes = np.zeros(0, np.int64)

    def learn(self, pages: Pages) -> None:
        """Keep the features of training pages; their classes are those that the models predict."""
        self._known = {name: features for name, (_, features) in self._computed(pages).items()}
        self._classes = self._ensemble.predict(pages)[STACK].argmax(axis=1)

    def _computed(self, pages: Pages) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Logits [n, C] and features [n, d] by member."""
        return {
            member.name: tuple(
                np.concatenate(part)
                for part in zip(
                    *(
                        [array.numpy() for array in self._parts[member.name](pages[member.region][at : at + 64])]
                        for at in range(0, len(pages[member.region]), 64)
                    ),
                    strict=True,
                )
            )
            for member in self._ensemble.members
        }  # type: ignore[return-value]

    def scores(self, pages: Pages) -> dict[str, np.ndarray]:
        """Every score, float64[n] by name; higher is stranger."""
        policy = read_policy(self._run)
        outputs = self._ensemble.predict(pages)
        probabilities = judge(policy, outputs).probabilities
        members = [member.name for member in self._ensemble.members]
        found = {name: unknown_scores(name, probabilities, members=members) for name in SCORES}
        computed = self._computed(pages)
        energies = [-np.logaddexp.reduce(logits.astype(np.float64), axis=1) for logits, _ in computed.values()]
        found["energy"] = energies[0]
        found["energy, all members"] = np.mean(energies, axis=0)
        whole = members[0]
        found["neighbor"] = neighbor(self._known[whole], computed[whole][1])
        found["neighbor, all members"] = np.mean([neighbor(self._known[n], computed[n][1]) for n in members], axis=0)
        found["Mahalanobis"] = relative_mahalanobis(self._known[whole], self._classes, computed[whole][1])
        found["Mahalanobis, all members"] = np.mean(
            [relative_mahalanobis(self._known[n], self._classes, computed[n][1]) for n in members], axis=0
        )
        return found


def neighbor(known: np.ndarray, features: np.ndarray, *, k: int = 10) -> np.ndarray:
    """Cosine distance to the k-th nearest of the known features [m, d]: float64[n]."""

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    return np.sort(1 - unit(features.astype(np.float64)) @ unit(known.astype(np.float64)).T, axis=1)[:, k - 1]


def relative_mahalanobis(known: np.ndarray, classes: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Distance to the nearest class mean minus that to the mean of all, with shrunk covariances: float64[n]."""
    known, features = known.astype(np.float64), features.astype(np.float64)
    present = np.unique(classes)
    means = {label: known[classes == label].mean(axis=0) for label in present}
    within = np.concatenate([known[classes == label] - means[label] for label in present])
    nearest = np.min([distance(within, features - mean) for mean in means.values()], axis=0)
    center = known.mean(axis=0)
    return nearest - distance(known - center, features - center)


def distance(centered: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis length of offsets [n, d] under the covariance of `centered` [m, d], shrunk by 10 %."""
    covariance = centered.T @ centered / len(centered)
    covariance = 0.9 * covariance + 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.einsum("nd,nd->n", offsets, np.linalg.solve(covariance, offsets.T).T)


def areas(found: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """AUROC of every score, by kind of unknown pages."""
    known = found["test"]
    return {
        kind: {name: auroc(known[name], scores[name]) for name in scores}
        for kind, scores in found.items()
        if kind != "test"
    }


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Probability that an unknown page has a higher score than a known one; equal scores count half."""
    above = (unknown[:, None] > known[None]).mean()
    return float(above + 0.5 * (unknown[:, None] == known[None]).mean())


def report(rows: dict[str, dict[str, float]]) -> int:
    """Print the table and the JSON line; 0 if the bar holds."""
    classes = [row for kind, row in rows.items() if not kind.endswith(MADE)]
    means = {name: float(np.mean([row[name] for row in classes])) for name in classes[0]}
    names = sorted(means, key=lambda name: -means[name])
    width = max(len(kind) for kind in rows) + 2
    sys.stdout.write(f"{'score':28}" + "".join(f"{kind:>{width}}" for kind in rows) + f"{'classes':>9}\n")
    for name in names:
        cells = "".join(f"{row[name]:>{width}.3f}" for row in rows.values())
        sys.stdout.write(f"{name + (' (shipped)' if name == SHIPPED else ''):28}{cells}{means[name]:>9.3f}\n")
    bar = max(means[name] for name in RIVALS)
    holds = means[SHIPPED] >= bar
    figure = {"bench": "unknown", "figure": round(means[SHIPPED], 4), "bar": round(bar, 4), "holds": holds}
    sys.stdout.write(json.dumps(figure) + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
