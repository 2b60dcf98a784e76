"""Use a run's trained models: score them on a split, or classify pages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from data_tools.config import read_yaml
from data_tools.documents.data_set import DataConfig, class_names
from data_tools.documents.pixels import PageError, fit, read_page
from data_tools.errors import UserError
from data_tools.files import write_atomically
from launch.config import Config, config_from
from launch.console import print_out, tables
from launch.run.folder import CONFIG
from trainer.config import STACK

if TYPE_CHECKING:
    from trainer.serving.ensemble import Ensemble

BATCH = 64


def run_config(run: Path) -> Config:
    """The configuration that a run was begun with.

    Raises:
        UserError: the folder is not a run's.
    """
    if not (run / CONFIG).exists():
        raise UserError(f"{run}: not a run folder (no {CONFIG} in it)")
    return config_from(read_yaml(run / CONFIG))


def evaluate(run: Path, *, split: str, shards: str | None) -> int:
    """Score every model of a finished run on a split of its own or of other shards, each page once; returns 0.

    Raises:
        UserError: the run is not finished, or the shards do not fit its models.
    """
    from data_tools.shards.reader import ShardSet
    from trainer.scoring.metrics import accuracy, negative_log_likelihood, wilson_interval
    from trainer.serving.ensemble import open_ensemble

    config = run_config(run)
    folder = Path(shards or config.shards.folder) / split
    sets = {region: ShardSet.open(folder / region) for region in config.boxes}
    first = next(iter(sets.values()))
    ensemble = _open(run, config, open_ensemble)
    if list(first.manifest.class_ids) != ensemble.class_ids:
        raise UserError(
            f"{folder}: holds the classes {list(first.manifest.class_ids)}, and the run's models know "
            f"{ensemble.class_ids}"
        )
    table = Table(title=f"{run}: {split}, {len(first)} pages")
    for heading in ("model", "accuracy", "95 % interval", "negative log-likelihood"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    outputs = _shard_outputs(ensemble, sets)
    labels = np.asarray(first.labels)
    for name, softmax in outputs.items():
        share = accuracy(labels, softmax)
        low, high = wilson_interval(round(share * len(labels)), len(labels))
        loss = negative_log_likelihood(labels, softmax)
        table.add_row(name, f"{share:.2%}", f"{low:.1%} – {high:.1%}", f"{loss:.4f}")
    tables().print(table)
    return 0


def _shard_outputs(ensemble: "Ensemble", sets: dict[str, Any]) -> dict[str, np.ndarray]:
    """Outputs by model for all pages of the shard sets, in the order of the first; regions are joined by page id."""
    names = list(next(iter(sets.values())).ids)
    places = {region: {page_id: place for place, page_id in enumerate(shards.ids)} for region, shards in sets.items()}
    for region, known in places.items():
        if set(known) != set(names):
            raise UserError(f"{region}: its shards hold other pages than the other regions'; convert them together")
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(names), BATCH):
        chosen = names[start : start + BATCH]
        pages = {
            region: shards.gather(np.array([places[region][page_id] for page_id in chosen]))
            for region, shards in sets.items()
        }
        for name, softmax in ensemble.predict(pages).items():
            parts.setdefault(name, []).append(softmax)
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def _open(run: Path, config: Config, opener: Any) -> "Ensemble":
    shards = config.shards
    ensemble: Ensemble = opener(
        run, channels=3 if shards.color else 1, height=shards.height, width=shards.width, batch=BATCH
    )
    return ensemble


def predict(run: Path, pages: Sequence[Path], *, html: Path | None, json_file: Path | None) -> int:
    """Classify image files; pages that cannot be read are told and left out. Returns 0, or 1 where none could be.

    Raises:
        UserError: the run is not finished.
    """
    from trainer.serving.ensemble import open_ensemble

    config = run_config(run)
    ensemble = _open(run, config, open_ensemble)
    images: dict[str, np.ndarray] = {}
    for path in pages:
        try:
            images[str(path)] = read_page(path, color=config.shards.color)
        except PageError as error:
            print_out(f"{path}: left out, {error}")
    if not images:
        return 1
    regions = {
        name: np.stack([fit(image, box, config.shards.height, config.shards.width) for image in images.values()])
        for name, box in config.boxes.items()
    }
    outputs = ensemble.predict(regions)
    names = names_of(config.data, ensemble.class_ids)
    _print_predictions(list(images), outputs, names)
    if json_file is not None:
        _write_json(json_file, list(images), outputs, names, ensemble.class_ids)
    if html is not None:
        from launch.report.predictions_page import write_predictions_page

        write_predictions_page(html, images=images, outputs=outputs, class_names=names, boxes=config.boxes)
        print_out(f"pictures: {html}")
    return 0


def names_of(data: DataConfig, class_ids: Sequence[int]) -> list[str]:
    """Names of the classes in the order of the models' outputs; their numbers where the data has no names here."""
    given = data.class_names
    if given is None or (isinstance(given, str) and not Path(given).exists()):
        return [str(class_id) for class_id in class_ids]
    names = class_names(given, list(class_ids))
    return [names[class_id] for class_id in class_ids]


def _print_predictions(pages: Sequence[str], outputs: dict[str, np.ndarray], names: Sequence[str]) -> None:
    table = Table(title="predictions")
    for heading in ("page", STACK, *(name for name in outputs if name != STACK)):
        table.add_column(heading)
    for row, page in enumerate(pages):
        cells = {}
        for name, softmax in outputs.items():
            best = int(softmax[row].argmax())
            cells[name] = f"{names[best]} {softmax[row][best]:.0%}"
        table.add_row(page, cells[STACK], *(cell for name, cell in cells.items() if name != STACK))
    tables().print(table)


def _write_json(
    path: Path, pages: Sequence[str], outputs: dict[str, np.ndarray], names: Sequence[str], class_ids: Sequence[int]
) -> None:
    rows = [
        {
            "page": page,
            "models": {name: [round(float(p), 6) for p in softmax[row]] for name, softmax in outputs.items()},
        }
        for row, page in enumerate(pages)
    ]
    content = {"classes": [{"id": i, "name": n} for i, n in zip(class_ids, names, strict=True)], "pages": rows}
    write_atomically(path, json.dumps(content, indent=2) + "\n")
    print_out(f"probabilities: {path}")
