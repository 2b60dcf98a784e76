"""How to run an exported model, as Markdown with code that needs nothing of this project."""

from trainer.export.export import Exported

_SAVED_MODEL = """\
```python
import tensorflow as tf

model = tf.saved_model.load("saved_model")
outputs = model.encoded(tf.io.read_file("page.png"))  # the bytes of one JPEG or PNG file
probabilities = outputs["{output}"].numpy()[0]
print(model.class_names.numpy()[probabilities.argmax()].decode(), probabilities.max())
```

`model.encoded` lays a transparent page on white paper and turns it upright by EXIF orientation. `model.page` takes a
decoded page, uint8 [height, width, {channels}], of any size (TensorFlow decodes no TIFF), and `model.regions` a batch
of regions, uint8 [n, {height}, {width}, {channels}] each."""

_REGIONS = """\
```python
import json

import cv2
import numpy as np

about = json.load(open("export.json"))
page = cv2.imread("page.png", cv2.{mode})
rows, columns = page.shape[:2]
stored = cv2.imread("page.png", cv2.IMREAD_UNCHANGED)
if stored.ndim == 3 and stored.shape[2] == 4:  # transparent paper is white
    opacity = stored[:, :, 3:] / np.iinfo(stored.dtype).max
    page = (255.5 - (255 - page.reshape(rows, columns, -1)) * opacity).astype(np.uint8)
height, width, channels = (about["page"][key] for key in ("height", "width", "channels"))


def region(left, top, right, bottom):
    y0, y1, x0, x1 = (int(edge + 0.5) for edge in (top * rows, bottom * rows, left * columns, right * columns))
    small = cv2.resize(page[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(1, height, width, channels)


inputs = {{"pages_" + name: region(*box) for name, box in about["regions"].items()}}
```
"""

_ONNX = """
```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(probabilities,) = session.run(["{output}"], inputs)
print(about["classes"][int(probabilities[0].argmax())], probabilities.max())
```"""

_LITERT = """
```python
from ai_edge_litert.interpreter import Interpreter  # or tf.lite.Interpreter

run = Interpreter("model.tflite").get_signature_runner("serving_default")
probabilities = run(**inputs)["{output}"]
print(about["classes"][int(probabilities[0].argmax())], probabilities.max())
```"""


_NOT_READ = """

The code lays transparent PNG and WebP pages on white paper; `cv2.imread` turns pages upright by EXIF orientation. Save
these as opaque, upright files first: TIFFs with an alpha channel, gray PNGs with one transparent level (tRNS), and
transparent pages with an EXIF orientation."""


def how_to_run(exported: Exported) -> str:
    """Code from a page to a class, run in the folder of the export."""
    page = exported["page"]
    values = {
        "output": exported["model"], "height": page["height"], "width": page["width"], "channels": page["channels"],
        "mode": "IMREAD_GRAYSCALE" if page["channels"] == 1 else "IMREAD_COLOR_RGB",
    }  # fmt: skip
    if exported["format"] == "saved_model":
        return _SAVED_MODEL.format(**values)
    run = _ONNX if exported["format"] == "onnx" else _LITERT
    return (_REGIONS + run + _NOT_READ).format(**values)
