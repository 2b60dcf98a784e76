"""The classifier: backbones, start weights, freezing, BatchNorm."""
