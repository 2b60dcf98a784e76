"""Export of a run: its models as one SavedModel, ONNX or LiteRT file that works without this repository, checked.

Every format gives calibrated probabilities, those of the report, under the name of each model.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.files import atomic_folder, write_json
from data_tools.versions import installed
from trainer.config import STACK
from trainer.export import litert_file, onnx_file, saved_model
from trainer.export.artifact import Format, Runner
from trainer.export.check import Checked, check_exported
from trainer.export.source import RunPages, Source, open_source
from trainer.export.speed import BATCH, THREADS, pages_per_s, saved_model_pages_per_s, size_of
from trainer.native_log import native_lines

DESCRIPTION = "export.json"
CARD = "MODEL_CARD.md"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export. form: the format. model: `stack`, a job's name, or the region of a member.

    pages: what the models take (None: as the run's test shards say). measure: whether to measure pages/s, for seconds.
    on_pages: called with the pages compared so far and in total.
    """

    form: Format = "saved_model"
    model: str = STACK
    pages: RunPages | None = None
    measure: bool = True
    on_pages: Callable[[int, int], None] = lambda done, total: None


class Exported(TypedDict):
    """Content of `export.json`. load: how to open the file. inputs: shape of each input, the number of pages None.

    regions: boxes by region, as shares of the page. temperatures: by model; empty for a run without calibration.
    stack: the method, None for a single model. size_bytes: of the model. pages_per_s: by number of CPU threads, batches
    of 16 pages on the machine that exported; empty if not measured. versions: that wrote and checked the file.
    """

    format: str
    file: str
    load: str
    run: str
    model: str
    members: list[dict[str, str]]
    inputs: dict[str, list[int | None]]
    regions: dict[str, list[float]]
    page: dict[str, Any]
    classes: list[dict[str, Any]]
    temperatures: dict[str, float]
    stack: str | None
    checked: Checked
    size_bytes: int
    pages_per_s: dict[str, float]
    versions: dict[str, str]


Card = Callable[[Exported], str]
"""Writes the model card: the description of an export to Markdown."""

_LOAD = {
    "saved_model": f'tf.saved_model.load("{saved_model.FOLDER}")',
    "onnx": f'onnxruntime.InferenceSession("{onnx_file.FILE}")',
    "litert": f'ai_edge_litert.interpreter.Interpreter("{litert_file.FILE}").get_signature_runner()',
}


def export(
    run: Path,
    folder: Path | None = None,
    *,
    shards: Path | None = None,
    request: ExportRequest = ExportRequest(),
    card: Card | None = None,
) -> Exported:
    """Write models of a finished run as one folder, checked against the run's recorded test predictions.

    folder: the target (None: as `default_folder`). shards: the run's shard sets, if they were moved. card: makes
    `MODEL_CARD.md`. The folder gets its name when all of it is written and checked.

    Raises:
        UserError: the run is not finished, its shards are missing, the folder exists, a package of the format is not
            installed, or the exported model does not reproduce the recorded predictions.
    """
    target = folder or default_folder(run, request)
    if target.exists():
        raise UserError(f"{target}: exists already; remove it or give another folder")
    if request.form == "onnx":
        onnx_file.require_onnx()
    source = open_source(run, request.model, request.pages, shards=shards)
    with atomic_folder(target) as temporary:
        path = write_model(source, request.form, temporary)
        exported = describe(source, request, path)
        write_json(temporary / DESCRIPTION, exported)
        if card is not None:
            (temporary / CARD).write_text(card(exported))
    logger.info("exported %s of %s to %s", source.artifact.name, run, target)
    return exported


def default_folder(run: Path, request: ExportRequest) -> Path:
    """`export` in the run folder, with the model and the format in its name unless they are the default."""
    # The name is not checked yet; it must not lead out of the run folder.
    model = "" if request.model == STACK else f"-{request.model.replace('/', '-')}"
    form = "" if request.form == "saved_model" else f"-{request.form}"
    return run / f"export{model}{form}"


def write_model(source: Source, form: Format, folder: Path) -> Path:
    """Write the artifact in one format; the path of the file or folder."""
    if form == "saved_model":
        return _written(source, folder)
    # Converters report each of their passes.
    with native_lines() as lines:
        write = onnx_file.write_onnx if form == "onnx" else litert_file.write_litert
        path = write(source.artifact, folder)
    logger.info("%s", "\n".join(lines))
    return path


def _written(source: Source, folder: Path) -> Path:
    return saved_model.write_saved_model(
        source.artifact, folder, class_ids=source.pages.class_ids, class_names=source.pages.class_names
    )


def open_model(path: Path, form: Format, *, threads: int) -> Runner:
    """Open what `write_model` wrote; threads: of ONNX Runtime and LiteRT, TensorFlow has those of its process."""
    if form == "saved_model":
        return saved_model.open_saved_model(path)
    with native_lines():
        opened = onnx_file.open_onnx if form == "onnx" else litert_file.open_litert
        return opened(path, threads=threads)


def describe(source: Source, request: ExportRequest, path: Path) -> Exported:
    """Check a written model, measure it, and describe it for its users."""
    artifact, pages = source.artifact, source.pages
    first = artifact.members[0].pages.shape
    prefix = "" if request.form == "saved_model" else onnx_file.INPUT
    return {
        "format": request.form,
        "file": path.name,
        "load": _LOAD[request.form],
        "run": str(source.run),
        "model": artifact.name,
        "members": [{"name": member.name, "region": member.region} for member in artifact.members],
        "inputs": {prefix + name: [None, *region.shape] for name, region in artifact.regions.items()},
        "regions": {name: list(region.box) for name, region in artifact.regions.items()},
        "page": {"height": first[0], "width": first[1], "channels": first[2], "dtype": "uint8"},
        "classes": [
            {"id": int(class_id), "name": name}
            for class_id, name in zip(pages.class_ids, pages.class_names, strict=True)
        ],
        "temperatures": {name: t for name, t in artifact.temperatures.items() if name in artifact.outputs},
        "stack": artifact.stack.method if artifact.stack else None,
        "checked": check_exported(
            source, request.form, open_model(path, request.form, threads=2), on_pages=request.on_pages
        ),
        "size_bytes": size_of(path),
        "pages_per_s": measured(source, request.form, path) if request.measure else {},
        "versions": installed("tensorflow", "keras", "onnxruntime", "tf2onnx", "regionstack"),
    }


def measured(source: Source, form: Format, path: Path) -> dict[str, float]:
    """Pages per second of a written model, by number of threads."""
    pages: Mapping[str, npt.NDArray[np.uint8]] = {
        name: np.zeros((BATCH, *region.shape), np.uint8) for name, region in source.artifact.regions.items()
    }
    if form == "saved_model":
        return {str(threads): saved_model_pages_per_s(path, pages, threads=threads) for threads in THREADS}
    return {str(threads): pages_per_s(open_model(path, form, threads=threads), pages) for threads in THREADS}
