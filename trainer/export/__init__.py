"""A finished run as files that work without this project: SavedModel, ONNX, LiteRT, each with a model card.

`export` opens the models (`source`), writes them in one format (`saved_model`, `onnx_file`, `litert_file`), runs what
it has written on the test pages (`check`), and measures it (`speed`).
"""
