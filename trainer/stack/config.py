"""What the stacked classifier can be told."""

from dataclasses import dataclass
from typing import Literal

from data_tools.errors import UserError

Method = Literal["mlp", "logistic", "weighted", "average"]
"""The recipe's two layers, multinomial regression, one number a member, or nothing fitted at all."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The classifier over the softmax outputs of all members.

    method: the one whose figures are the stack's; all four are scored side by side.
    epochs, batch, learning_rate, hidden, l2: of the MLP (Adam). hidden: None is four units a class.
    start: `weighted`: the MLP begins as the weighted average of its members, and `l2` pulls it back there;
    `random`: Glorot weights, pulled to zero. Few validation pages cannot train 80 x 64 weights from nothing.
    logistic_l2: strength of the same pull in the logistic regression, relative to the sum of the loss.
    leak_free: the members pick their best epoch on `selection_share` of the validation pages, the stack is
    trained on the others. Otherwise both use all of them, as the recipe's source does.
    without_ids: file of test pages that have a duplicate among the training pages (`leaked.txt` of a survey),
    one page id a line; the figures are also given without them.
    """

    method: Method = "mlp"
    epochs: int = 20
    batch: int = 32
    learning_rate: float = 0.001
    hidden: int | None = None
    l2: float = 0.02
    start: Literal["weighted", "random"] = "weighted"
    logistic_l2: float = 3.0
    leak_free: bool = False
    selection_share: float = 0.5
    without_ids: str | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate", "hidden"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name}: must be greater than 0, found {value}")
        for name in ("l2", "logistic_l2"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}: must not be negative, found {getattr(self, name)}")
        if not 0 < self.selection_share < 1:
            raise UserError(f"selection_share: must lie between 0 and 1, found {self.selection_share}")
