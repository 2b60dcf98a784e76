"""Planted wrong labels on real pages: how many of them are among the first pages of the ranking.

    python bench/labels.py [--quick] [--pages FOLDER --weights FILE] [--rivals PYTHON] [--models]

Flips a share of the training labels of real pages at random, judges every label by outputs that did not learn from it,
and looks for the planted ones. Beside it what cleanlab makes of the same outputs, in an environment of its own (it is
AGPL, and no dependency): `--rivals` names its interpreter; without it, one is made in a temporary folder. With
--models, also by what a model that was trained on the flipped labels says, by its features, and by models of folds.
Many labels of the pages are wrong already, and count as right here.
Bars: 80 % of the planted labels among the first 10 % of the ranking; area under the ROC curve not below cleanlab's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from data_tools.shards.reader import ShardSet  # noqa: E402
from launch.config import Config, load_config  # noqa: E402
from launch.recipe.jobs import payload  # noqa: E402
from launch.recipe.prepare import ensure_shards, ensure_weights  # noqa: E402
from launch.recipe.stages import plan_recipe  # noqa: E402
from launch.run.folder import open_run  # noqa: E402
from trainer.labels.confident import label_noise, ranking_order, suspicion  # noqa: E402
from trainer.labels.features import PageFeatures, projection  # noqa: E402
from trainer.labels.judge import FOLDS, cross_fitted  # noqa: E402
from trainer.labels.recorded import fold_outputs  # noqa: E402
from trainer.network.classifier import Geometry  # noqa: E402
from trainer.serving.ensemble import RegionPages, open_member  # noqa: E402
from trainer.stack.out_of_fold import write_out_of_fold  # noqa: E402
from trainer.training.split import fold_of  # noqa: E402

BAR = 0.8
FIRST = 0.1
RIVALS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
CLEANLAB = """
import sys, numpy as np
from cleanlab.rank import get_label_quality_scores
given = np.load(sys.argv[1])
found = {}
for key in sys.argv[3:]:
    found[key] = get_label_quality_scores(given["labels"], given["probabilities"], method=key)
np.savez(sys.argv[2], **found)
"""


@dataclass(frozen=True)
class Planted:
    """Real pages with planted errors. labels: class indices int [n] as given; wrong: bool [n], the planted ones."""

    labels: np.ndarray
    wrong: np.ndarray


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bars hold."""
    shared = ROOT.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, pages of 128 px; within a minute")
    parser.add_argument("--pages", type=Path, default=shared / "pages_five", help="real pages with labels/train.txt")
    weights = shared / "weights" / "mobilenet_v2_notop.weights.h5"
    parser.add_argument("--weights", type=Path, default=weights, help="MobileNetV2 start weights")
    parser.add_argument("--share", type=float, default=0.05, help="share of labels to flip (default: 0.05)")
    parser.add_argument("--seeds", type=int, default=5, help="different sets of flipped labels (default: 5)")
    parser.add_argument("--px", type=int, default=256, help="height of the pages (default: 256)")
    parser.add_argument("--rivals", metavar="PYTHON", help="interpreter with cleanlab (default: a new environment)")
    parser.add_argument("--models", action="store_true", help="also train models on the labels of the first seed")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of these models, at 96 px")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.px = 2, 128
    if not (options.pages / "labels" / "train.txt").is_file():
        parser.error(f"{options.pages}: no real pages; name a folder with images and labels/train.txt")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = options.rivals or cleanlab_environment(folder / "cleanlab")
        rows: dict[str, list[dict[str, float]]] = {}
        for method, planted, probabilities in outputs(folder, options):
            figures = measure(planted, probabilities, python=python, folder=folder)
            rows.setdefault(method, []).append(figures)
    return report(rows)


def outputs(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, Planted, np.ndarray]]:
    """Method, labels and out-of-sample probabilities float32 [n, C] for each seed."""
    config = configuration(folder, options, px=options.px)
    ensure_shards(config)
    shards = ShardSet.open(Path(config.shards.folder) / "train" / "holistic")
    features = start_features(config, shards, options.weights)
    random = start_features(config, shards, None) if options.models else None
    for seed in range(1, options.seeds + 1):
        planted = flipped(shards.labels, seed=seed, share=options.share, classes=len(shards.manifest.class_ids))
        yield "features of the start weights (shipped)", planted, judged(shards, features, planted)
        if random is not None:
            yield "features of random weights", planted, judged(shards, random, planted)
        if seed == 1 and options.models:
            labels = dict(zip(shards.ids.tolist(), planted.labels.tolist(), strict=True))
            yield from of_models(folder / "models", options, labels, wrong=set(shards.ids[planted.wrong].tolist()))


def configuration(folder: Path, options: argparse.Namespace, *, px: int, labels: Any = None) -> Config:
    """All pages of `labels/train.txt` train; those of `labels/val.txt` validate and test.

    labels: class index by page, in place of those in the file.
    """
    folder.mkdir(exist_ok=True)
    lines = [line.rsplit(" ", 1) for line in (options.pages / "labels" / "train.txt").read_text().splitlines() if line]
    classes = sorted({int(label) for _, label in lines})
    if labels is not None:
        lines = [[page, str(classes[labels[page]])] for page, _ in lines]
    (folder / "train.txt").write_text("".join(f"{page} {label}\n" for page, label in lines))
    held = [line for line in (options.pages / "labels" / "val.txt").read_text().splitlines() if line]
    (folder / "val.txt").write_text("\n".join(held[::2]) + "\n")
    (folder / "test.txt").write_text("\n".join(held[1::2]) + "\n")
    adam = {"name": "adam", "learning_rate": 0.0005}
    config = {
        "data": {"root": str(options.pages),
                 **{split: str(folder / f"{split}.txt") for split in ("train", "val", "test")}},
        "model": {"backbone": "MobileNetV2", "weights": str(options.weights), "dense": [128], "dropout": 0.2,
                  "batchnorm_momentum": 0.9},
        "regions": {},
        "shards": {"folder": str(folder / "shards"), "height": px, "width": px},
        "stages": {"holistic": {"image_px": px, "epochs": options.epochs, "global_batch": 32, "optimizer": adam}},
        "stack": {"folds": 3, "members": "retrained"},
        "checkpoint": {"every_seconds": None},
        "run": {"folder": str(folder / "run")},
    }  # fmt: skip
    (folder / "bench.yaml").write_text(yaml.safe_dump(config))
    return load_config(str(folder / "bench.yaml"))


def start_features(config: Config, shards: ShardSet, weights: Path | None) -> np.ndarray:
    """Features of all pages, as `regionstack labels` computes them; weights: None for random ones."""
    height, width, channels = shards.image_shape
    network = PageFeatures(config.model, Geometry(height, width, channels, height), weights)
    return network.of_shards(shards, network.fitted_projection(shards))


def flipped(labels: np.ndarray, *, seed: int, share: float, classes: int) -> Planted:
    """`share` of the labels, chosen at random, as one of the other classes at random."""
    generator = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), np.bool_)
    wrong[generator.choice(len(labels), round(share * len(labels)), replace=False)] = True
    shift = generator.integers(1, classes, len(labels))
    return Planted(np.where(wrong, (labels + shift) % classes, labels), wrong)


def judged(shards: ShardSet, features: np.ndarray, planted: Planted) -> np.ndarray:
    """Cross-fitted probabilities of the given labels."""
    folds = fold_of(shards.ids.tolist(), planted.labels, folds=FOLDS, seed=1)
    return cross_fitted(features, planted.labels, folds, classes=len(shards.manifest.class_ids))


def of_models(
    folder: Path, options: argparse.Namespace, labels: dict[str, int], *, wrong: set[str]
) -> Iterator[tuple[str, Planted, np.ndarray]]:
    """What models that are trained on the flipped labels make of them: in sample, by features, out of fold."""
    import keras

    from trainer.job import run as train

    config = configuration(folder, options, px=96, labels=labels)
    ensure_shards(config)
    run, recipe = open_run(config), plan_recipe(config, weights_file=ensure_weights(config))
    for job in recipe.jobs:
        result = train(payload(job, run))
        sys.stderr.write(f"{job.name}: {result['seconds']:.0f} s\n")
    shards = ShardSet.open(Path(config.shards.folder) / "train" / "holistic")
    planted = Planted(shards.labels, np.isin(shards.ids, list(wrong)))
    pages = RegionPages(shards.image_shape, (0.0, 0.0, 1.0, 1.0))
    model = open_member(run, "holistic", {"holistic": pages}, classes=len(shards.manifest.class_ids)).model
    both = keras.Model(model.input, [model.output, model.get_layer("pool").output])
    softmax, features = both.predict(shards.gather(np.arange(len(shards))), batch_size=64, verbose=0)
    yield "model of the run, in sample", planted, softmax
    yield "features of the model of the run", planted, judged(shards, projection(features).of(features), planted)
    write_out_of_fold(run, "holistic", recipe.fold_jobs["holistic"])
    rows = fold_outputs(run, "holistic")
    order = np.argsort(shards.ids, kind="stable")
    held_out = Planted(planted.labels[order], planted.wrong[order])
    yield "models of 3 folds, 96 px", held_out, rows.probabilities["holistic"]


def cleanlab_environment(folder: Path) -> str:
    """A new virtual environment with cleanlab; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "cleanlab"], check=True, stderr=subprocess.DEVNULL)
    return python


def measure(planted: Planted, probabilities: np.ndarray, *, python: str, folder: Path) -> dict[str, float]:
    """Area under the curve and share of planted errors among the first pages, ours and cleanlab's."""
    scores = {"ours": suspicion(probabilities, planted.labels)}
    given, found = folder / "given.npz", folder / "found.npz"
    np.savez(given, labels=planted.labels, probabilities=probabilities.astype(np.float64))
    subprocess.run([python, "-c", CLEANLAB, str(given), str(found), *RIVALS], check=True)
    with np.load(found) as file:
        scores |= {name: -file[name] for name in RIVALS}
    right = probabilities.argmax(axis=1) == planted.labels
    figures = {"agree": float(right[~planted.wrong].mean())}
    figures["share"] = label_noise(probabilities, planted.labels).share
    for name, values in scores.items():
        figures[f"{name} auc"] = auroc(values[~planted.wrong], values[planted.wrong])
        first = ranking_order(values, np.arange(len(values)).astype(str))[: round(FIRST * len(values))]
        figures[f"{name} found"] = float(planted.wrong[first].sum() / planted.wrong.sum())
    return figures


def auroc(right: np.ndarray, wrong: np.ndarray) -> float:
    """Probability that a planted error has a higher score than another page; equal scores count half."""
    above = (wrong[:, None] > right[None]).mean()
    return float(above + 0.5 * (wrong[:, None] == right[None]).mean())


def report(rows: dict[str, list[dict[str, float]]]) -> int:
    """Print the table and the JSON line; 0 if the bars hold."""
    names = {"ours": "ours", **{name: f"cleanlab {name.replace('_', ' ')}" for name in RIVALS}}
    for method, seeds in rows.items():
        mean = {key: float(np.mean([figures[key] for figures in seeds])) for key in seeds[0]}
        sys.stdout.write(
            f"{method}: {len(seeds)} seed{'s' if len(seeds) > 1 else ''}, {mean['agree']:.1%} of the other labels are "
            f"the most probable class, estimated share of wrong labels {mean['share']:.1%}\n"
        )
        for key, name in names.items():
            each = " ".join(f"{figures[f'{key} found']:.0%}" for figures in seeds)
            area, found = mean[f"{key} auc"], mean[f"{key} found"]
            sys.stdout.write(f"  {name:40} AUC {area:.4f}   in the first {FIRST:.0%}: {found:.1%} ({each})\n")
    shipped = next(iter(rows.values()))
    found, area, rival = (
        float(np.mean([figures[key] for figures in shipped]))
        for key in ("ours found", "ours auc", "self_confidence auc")
    )
    holds = found >= BAR and area >= rival
    figure = {"bench": "labels", "figure": round(found, 4), "bar": BAR, "auc": round(area, 4),
              "cleanlab_auc": round(rival, 4), "holds": holds}  # fmt: skip
    sys.stdout.write(json.dumps(figure) + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
