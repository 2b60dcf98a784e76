"""Settings of the stacked classifier."""

from dataclasses import dataclass
from typing import Literal

from data_tools.errors import UserError

Method = Literal["mlp", "logistic", "weighted", "average"]
"""Two Dense layers (the recipe's), multinomial logistic regression, one weight a member, or the plain mean."""

Input = Literal["probabilities", "log"]
"""What the methods but the plain mean combine: the members' probabilities, or their logarithms."""

Members = Literal["retrained", "average"]
"""With folds, the models that the finished run predicts with."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The classifier over the softmax outputs of all members.

    method: the stack's answer; all four methods are scored side by side.
    input: `probabilities`, as in the recipe's source, or `log`: one weight a member is then a log-opinion pool.
    epochs, batch, learning_rate, hidden, l2: settings of the MLP (Adam). hidden: units; None: four a class.
    start: `weighted`: the MLP starts as the weighted average of its members and `l2` pulls it back to that;
    `random`: Glorot weights, pulled to zero. A few validation pages cannot train 80 x 64 weights from scratch.
    logistic_l2: strength of the same pull in the logistic regression, relative to the summed loss; None: chosen by
    cross-validation.
    leak_free: select the members' best epochs on `selection_share` of the validation pages and fit the stack on
    the rest. Otherwise both use all validation pages, as the recipe's source does.
    folds: K: every model of the recipe is also trained K times without one fold of the training pages, and the stack is
    fitted on the outputs of these models for the pages that they have not seen; None: on outputs for validation pages.
    members: with folds, the models whose outputs the stack takes: those that are trained on all pages (`retrained`),
    or the mean probabilities of the K models of each region (`average`), and none is trained on all pages.
    duplicates_file: file of groups of duplicates (`duplicates.jsonl` of a survey): the training pages of a group are in
    one fold.
    exclude_ids_file: file of test pages that duplicate a training page (`leaked.txt` of a survey), one page id a
    line; the figures are also given without these pages.
    precision: share of right answers wanted among the pages whose decision is `accepted`. threshold_per: accept by one
    threshold of confidence for the run, or by one for each predicted class. false_alarms: share of the pages of the
    trained classes whose decision may be `unknown`.

    Raises:
        UserError: a value is out of range.
    """

    method: Method = "mlp"
    input: Input = "probabilities"
    epochs: int = 20
    batch: int = 32
    learning_rate: float = 0.001
    hidden: int | None = None
    l2: float = 0.02
    start: Literal["weighted", "random"] = "weighted"
    logistic_l2: float | None = 3.0
    leak_free: bool = False
    selection_share: float = 0.5
    folds: int | None = None
    members: Members = "retrained"
    duplicates_file: str | None = None
    exclude_ids_file: str | None = None
    precision: float = 0.95
    threshold_per: Literal["run", "class"] = "run"
    false_alarms: float = 0.05

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate", "hidden"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name}: must be greater than 0, found {value}")
        for name in ("l2", "logistic_l2"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UserError(f"{name}: must not be negative, found {getattr(self, name)}")
        if self.folds is not None and self.folds < 2:
            raise UserError(f"folds: must be at least 2, or null for none, found {self.folds}")
        if self.folds is None and self.members == "average":
            raise UserError("members: average needs folds, since it averages the models of the folds; set stack.folds")
        if self.folds is None and self.duplicates_file is not None:
            raise UserError("duplicates_file: has no effect without folds; set stack.folds, or remove it")
        for name in ("selection_share", "precision", "false_alarms"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name}: must lie between 0 and 1, found {getattr(self, name)}")

    def check_hidden(self, classes: int) -> None:
        """Check that the MLP of `classes` classes can begin at its start.

        Raises:
            UserError: `start: weighted` with fewer hidden units than classes.
        """
        if self.start == "weighted" and self.hidden is not None and self.hidden < classes:
            raise UserError(
                f"stack.hidden: {self.hidden} units cannot start as the average of {classes} classes; "
                f"give {classes} or more, or set stack.start to random"
            )
