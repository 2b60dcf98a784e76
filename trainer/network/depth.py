"""Blocks of a backbone in the order of its layers, for learning rates that differ by depth.

A block ends where all paths pass through one layer: after the sum or the concatenation that ends a residual or
Inception block. Between two blocks, each convolution is a block of its own, unless its name says that it belongs to one
(`block_6_project`). Layers without a kernel, such as BatchNorm, belong to the block before them. In NASNet, whose cells
all read the two cells before them, the names alone separate blocks.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_BLOCK = re.compile(
    r"(?:^|_)(block(?:35|17|8)_\d+"  # InceptionResNetV2
    r"|conv\d+_block\d+"  # ResNet, DenseNet
    r"|stage_\d+_block_\d+"  # ConvNeXt
    r"|block_?\d+[a-z]?"  # MobileNetV2, EfficientNet, VGG, Xception
    r"|expanded_conv(?:_\d+)?"  # MobileNetV2, MobileNetV3
    r"|conv_(?:dw|pw)_\d+"  # MobileNet
    r")(?=_|$)"
)
_CELL = re.compile(r"(?:conv|bn|left|right)\w*?_((?:stem|reduce)_\d+|\d+)$")
"""The cell that a layer of NASNet belongs to, the last part of its name (`normal_conv_1_11`, `adjust_bn_reduce_4`)."""


@dataclass(frozen=True)
class LayerNode:
    """A layer in a network's graph: its name, the layers that it reads, whether it has a kernel."""

    name: str
    inputs: tuple[str, ...]
    kernel: bool


def blocks(nodes: Sequence[LayerNode]) -> list[list[str]]:
    """The names of all layers by block, from the input to the output; every block has a kernel if any layer has one.

    nodes: in topological order.
    """
    found: list[list[LayerNode]] = []
    keys: set[str] = set()
    for segment in _segments(nodes):
        named = {key for node in segment for key in _keys(node.name)}
        kernels = any(node.kernel for node in segment)
        before = bool(found) and any(node.kernel for node in found[-1])
        # A layer without a kernel opens a block if its name says so (`conv3_block1_preact_bn`).
        if (before and (kernels or named) and not named & keys) or not found:
            found.append(list(segment))
            keys = named
        else:
            found[-1] += segment
            keys |= named
    return [[node.name for node in block] for block in found]


def _keys(name: str) -> list[str]:
    """The block that a layer's name states, if any; the two convolutions of a block of MobileNet share a number."""
    return [re.sub(r"conv_(?:dw|pw)", "conv", found) for found in _BLOCK.findall(name)]


def _segments(nodes: Sequence[LayerNode]) -> Iterable[list[LayerNode]]:
    """The layers between one through which everything passes and the next, that one included."""
    position = {node.name: number for number, node in enumerate(nodes)}
    last_use = list(range(len(nodes)))
    for number, node in enumerate(nodes):
        for name in node.inputs:
            last_use[position[name]] = number
    needed, segment = -1, []
    for number, node in enumerate(nodes):
        segment.append(node)
        if needed <= number:  # nothing before this layer is read after it
            yield from _cells(segment)
            segment = []
        needed = max(needed, last_use[number])
    if segment:
        yield from _cells(segment)


def _cells(segment: list[LayerNode]) -> list[list[LayerNode]]:
    """A segment of several cells of NASNet, split by the cell in the names; any other one as it is."""
    if not any(node.name.startswith(("normal_", "reduction_")) for node in segment):
        return [segment]
    cells: dict[str, list[LayerNode]] = {}
    cell = ""
    for node in segment:
        # Keras numbers layers without a name (`activation_12`): only layers with weights are named by their cell.
        match = _CELL.search(node.name) if node.kernel or "_bn_" in node.name else None
        cell = match[1] if match else cell
        cells.setdefault(cell, []).append(node)
    return list(cells.values())


def graph(backbone: Any) -> list[LayerNode]:
    """The layers and operations of a Keras backbone, in topological order."""
    made: dict[int, str] = {}
    nodes = []
    for operation in backbone.operations:
        inputs = tuple(dict.fromkeys(made[id(x)] for x in _tensors(operation.input) if id(x) in made))
        made |= {id(tensor): operation.name for tensor in _tensors(operation.output)}
        kernel = any(len(v.shape) > 1 for v in getattr(operation, "weights", []))
        nodes.append(LayerNode(operation.name, inputs, kernel))
    return nodes


def _tensors(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
