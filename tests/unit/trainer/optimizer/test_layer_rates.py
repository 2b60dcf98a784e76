"""Depths of blocks."""

from trainer.optimizer.layer_rates import depths


def test_depth_counts_from_the_head() -> None:
    assert depths([["conv", "bn"], ["conv_1"], ["conv_2", "bn_2"]]) == {
        "conv": 3, "bn": 3, "conv_1": 2, "conv_2": 1, "bn_2": 1,
    }  # fmt: skip
    assert depths([]) == {}
