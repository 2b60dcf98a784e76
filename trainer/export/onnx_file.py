"""The artifact as an ONNX file, converted by tf2onnx and opened by ONNX Runtime.

Inputs `pages_REGION`: uint8 [n, height, width, channels]; outputs: float32 [n, classes] by model.
"""

import logging
from pathlib import Path
from typing import Any

from data_tools.errors import UserError
from trainer.export.artifact import Artifact, Pages, Runner
from trainer.native_log import load_tensorflow

FILE = "model.onnx"
OPSET = 17
"""Of ONNX 1.12 (2022), which every maintained runtime reads."""

INPUT = "pages_"
"""Prefix of an input's name: a region and a model may have the same name, and tensors of a graph may not."""


def require_onnx() -> None:
    """Check that the extra is installed, before models are loaded.

    Raises:
        UserError: it is not.
    """
    load_tensorflow()  # tf2onnx would load it with its start-up lines
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise UserError(f"--format onnx: {error.name} is not installed; pip install 'regionstack[onnx]'") from None


def write_onnx(artifact: Artifact, folder: Path) -> Path:
    """Write `model.onnx` into `folder`; the stack and the calibration compute in float32."""
    import tensorflow as tf
    import tf2onnx

    regions = artifact.regions
    signature = [tf.TensorSpec([None, *region.shape], tf.uint8, name=INPUT + name) for name, region in regions.items()]

    @tf.function(input_signature=signature)
    def function(*pages: Any) -> dict[str, Any]:
        return artifact.probabilities(dict(zip(regions, pages, strict=True)), dtype="float32")

    # tf2onnx logs how it rewrites the graph, on the root logger's level.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    path = folder / FILE
    tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET, output_path=str(path))
    return path


def open_onnx(path: Path, *, threads: int) -> Runner:
    """Open the file with ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(pages: Pages) -> dict[str, Any]:
        given = {INPUT + name: rows for name, rows in pages.items()}
        return dict(zip(names, session.run(names, given), strict=True))

    return run
