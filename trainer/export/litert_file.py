"""The artifact as a LiteRT (TensorFlow Lite) file, converted by TensorFlow and opened by its interpreter.

The signature `serving_default` takes `pages_REGION`: uint8 [n, height, width, channels], and gives float32
[n, classes] by model, for any n; the signature's runner of the interpreter resizes the tensors.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

from trainer.export.artifact import Artifact, Pages, Runner
from trainer.export.onnx_file import INPUT
from trainer.export.saved_model import storage_errors

FILE = "model.tflite"


def write_litert(artifact: Artifact, folder: Path) -> Path:
    """Write `model.tflite` into `folder`; all of it computes in float32, with LiteRT's own operations alone."""
    import tensorflow as tf

    regions = artifact.regions
    signature = [tf.TensorSpec([None, *region.shape], tf.uint8, name=INPUT + name) for name, region in regions.items()]

    @tf.function(input_signature=signature)
    def function(*pages: Any) -> dict[str, Any]:
        return artifact.probabilities(dict(zip(regions, pages, strict=True)), dtype="float32")

    module = tf.Module()
    module.function = function
    module.weights = [variable.value for member in artifact.members for variable in member.model.variables]
    with tempfile.TemporaryDirectory() as saved:
        with storage_errors(Path(saved)):
            tf.saved_model.save(module, saved, signatures={"serving_default": function.get_concrete_function()})
        content = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    path = folder / FILE
    path.write_bytes(content)
    return path


def open_litert(path: Path, *, threads: int) -> Runner:
    """Open the file with the interpreter on the CPU."""
    import tensorflow as tf

    with warnings.catch_warnings():
        # TensorFlow's interpreter announces its move to the package ai_edge_litert at each start.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=threads)
    # The interpreter reports its delegate when it first allocates, here and not with the first pages.
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner("serving_default")

    def run(pages: Pages) -> dict[str, Any]:
        return dict(signature(**{INPUT + name: rows for name, rows in pages.items()}))

    return run
