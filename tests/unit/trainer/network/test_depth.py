"""Blocks of small networks' graphs, as a table."""

import pytest

from trainer.network.depth import LayerNode, blocks


def chain(*names: str) -> list[LayerNode]:
    """Layers after one another; those with `conv` or `dense` in their names have kernels."""
    return [
        LayerNode(name, (names[number - 1],) if number else (), "conv" in name or "dense" in name)
        for number, name in enumerate(names)
    ]


def node(name: str, *inputs: str) -> LayerNode:
    return LayerNode(name, inputs, "conv" in name and "bn" not in name)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (chain("input"), [["input"]]),
        (chain("input", "conv", "relu"), [["input", "conv", "relu"]]),
        # BatchNorm and activation belong to the convolution before them.
        (chain("input", "conv", "b", "conv_1", "b_1"), [["input", "conv", "b"], ["conv_1", "b_1"]]),
        # An input that is normalized first.
        (chain("input", "norm", "conv", "b"), [["input", "norm", "conv", "b"]]),
        # A residual block is one block, the sum included; the layer that opens it ends the block before.
        (
            [
                node("input"), node("conv", "input"), node("conv_1", "conv"), node("conv_2", "conv_1"),
                node("add", "conv", "conv_2"), node("relu", "add"), node("conv_3", "relu"),
            ],
            [["input", "conv"], ["conv_1", "conv_2", "add", "relu"], ["conv_3"]],
        ),
        # Branches of an Inception block.
        (
            [
                node("input"), node("conv", "input"), node("conv_1", "conv"), node("conv_2", "conv"),
                node("mixed", "conv_1", "conv_2"),
            ],
            [["input", "conv"], ["conv_1", "conv_2", "mixed"]],
        ),
        # Names join the convolutions of a block without a sum.
        (
            chain("input", "conv", "block_1_expand_conv", "block_1_b", "block_1_project_conv", "block_2_expand_conv"),
            [
                ["input", "conv"],
                ["block_1_expand_conv", "block_1_b", "block_1_project_conv"],
                ["block_2_expand_conv"],
            ],
        ),
        (
            chain("input", "conv1", "conv_dw_1", "conv_pw_1", "conv_dw_2", "conv_pw_2"),
            [["input", "conv1"], ["conv_dw_1", "conv_pw_1"], ["conv_dw_2", "conv_pw_2"]],
        ),
        # BatchNorm before the convolutions, with the name of the next block.
        (
            chain("input", "conv1_conv", "conv2_block1_preact", "conv2_block1_1_conv", "conv2_block2_1_conv"),
            [["input", "conv1_conv"], ["conv2_block1_preact", "conv2_block1_1_conv"], ["conv2_block2_1_conv"]],
        ),
        # Cells that read the two before them, as in NASNet.
        (
            [
                node("input"), node("stem_conv1", "input"), node("normal_conv_1_0", "stem_conv1", "input"),
                node("normal_bn_1_0", "normal_conv_1_0"), node("normal_conv_1_1", "normal_bn_1_0", "stem_conv1"),
                node("out", "normal_conv_1_1", "normal_bn_1_0"),
            ],
            [["input", "stem_conv1"], ["normal_conv_1_0", "normal_bn_1_0"], ["normal_conv_1_1", "out"]],
        ),
    ],
)  # fmt: skip
def test_blocks(nodes: list[LayerNode], expected: list[list[str]]) -> None:
    assert blocks(nodes) == expected
