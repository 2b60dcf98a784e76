"""The layers that a stage freezes, as a table of patterns."""

import pytest

from data_tools.errors import UserError
from trainer.config import StageConfig
from trainer.network.freezing import plan_freezing

BACKBONE = ["backbone/conv1", "backbone/bn_conv1", "backbone/block1_conv", "backbone/block2_conv"]
LAYERS = {
    "backbone/input": False, **dict.fromkeys(BACKBONE[:3], True), "backbone/add_1": False, BACKBONE[3]: True,
    "backbone/add_2": False, "pool": False, "dense_1": True, "dropout_1": False, "logits": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ((), []),
        (("backbone/conv1",), BACKBONE[:1]),
        (("backbone/*",), BACKBONE),
        (("backbone/block*", "dense_1"), [*BACKBONE[2:], "dense_1"]),
        (("backbone/*conv1",), BACKBONE[:2]),
        (("..bn_conv1",), BACKBONE[:2]),
        (("..backbone/block1_conv",), BACKBONE[:3]),
        (("..add_1",), BACKBONE[:3]),  # the end of a block, without weights of its own
        (("..add_2",), BACKBONE),
        (("..conv1", "backbone/block2_conv"), [BACKBONE[0], BACKBONE[3]]),
    ],
)
def test_patterns_and_layers(freeze: tuple[str, ...], frozen: list[str]) -> None:
    plan = plan_freezing(StageConfig(freeze=freeze), LAYERS)
    assert plan.always == set(frozen)
    assert plan.at(0) == plan.at(7) == plan.always


def test_the_head_first() -> None:
    plan = plan_freezing(StageConfig(freeze=("backbone/conv1",), epochs=5, head_epochs=2), LAYERS)
    assert [plan.at(epoch) for epoch in range(4)] == [set(BACKBONE)] * 2 + [{"backbone/conv1"}] * 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"freeze": ("block1_conv",)}, "freeze: block1_conv matches no layer .* did you mean backbone/block1_conv"),
        ({"freeze": ("..block1_con",)}, r"freeze: \.\.block1_con matches no layer .* backbone/block1_conv"),
        ({"freeze": ("..dense_1",)}, r"freeze: \.\.dense_1 matches no layer"),
        ({"freeze": ("..input",)}, r"freeze: \.\.input matches no layer"),
        ({"freeze": ("dropout_1",)}, "freeze: dropout_1 matches no layer"),
        ({"freeze": ("*",)}, r"freeze: \* leaves no layer to train"),
        ({"freeze": ("logits", "dense*"), "head_epochs": 1}, "head_epochs: .* leaves no layer of the head"),
        ({"head_epochs": 30}, "head_epochs: must be at least 0 and less than the stage's 30 epochs, found 30"),
        ({"head_epochs": -1}, "head_epochs: .* found -1"),
        ({"head_epochs": 1, "head_learning_rate": 0.0}, "head_learning_rate: must be greater than 0"),
        ({"head_learning_rate": 0.1}, "head_learning_rate: .* set head_epochs"),
    ],
)
def test_invalid_freeze_settings_are_rejected(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan_freezing(StageConfig(**settings), LAYERS)  # type: ignore[arg-type]
