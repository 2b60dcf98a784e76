"""Layer-wise learning rates: the deeper in the backbone, counted from the head, the lower the rate.

Early layers hold what most pictures share, and the start weights know it already. The rule is that of BEiT (Bao et al.
2022, arXiv 2106.08254) and of ConvNeXt's fine-tuning: rate · decay^depth.
"""

from collections.abc import Sequence
from typing import Any

from trainer.network.classifier import Classifier
from trainer.network.depth import blocks, graph
from trainer.network.freezing import BACKBONE, named_layers


def depths(backbone_blocks: Sequence[Sequence[str]]) -> dict[str, int]:
    """Depth of each layer of the backbone: 1 in the last block, n in the first of n blocks. The head has depth 0."""
    count = len(backbone_blocks)
    return {name: count - number for number, block in enumerate(backbone_blocks) for name in block}


def rate_shares(classifier: Classifier, decay: float | None) -> dict[Any, float] | None:
    """The share of the learning rate that each variable gets, by its reference; None without a decay.

    Frozen layers count as blocks like the others, so freezing changes no other layer's rate.
    """
    if decay is None:
        return None
    depth = depths(blocks(graph(classifier.backbone)))
    return {
        variable.value.ref(): decay ** (depth[name.removeprefix(BACKBONE)] if name.startswith(BACKBONE) else 0)
        for name, layer in named_layers(classifier).items()
        for variable in layer.weights
    }
