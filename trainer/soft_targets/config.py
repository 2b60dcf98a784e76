"""Settings of the distillation of a run's stack into one model."""

from dataclasses import dataclass

from data_tools.errors import UserError

DISTILLED = "distilled"
"""Name of the job that trains the student of a run's stack."""

TEACHER = "teacher"
"""Name of the job that computes the stack's answers for the student's training pages."""

START_HOLISTIC = "holistic"
"""`DistillConfig.start` of a student that starts from the whole-page member of the stack."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """The student of `regionstack distill`; it does not change what `train-all` computes.

    temperature: T of Hinton et al. 2015 (arXiv 1503.02531): teacher and student are compared as softmax(logits / T).
    alpha: weight of that comparison; the cross-entropy with the labels has 1 - alpha. 1: labels are not used.
    epochs: None: as many as the whole-page job had. learning_rate: None: that of the whole-page job.
    start: `holistic` (the best weights of the stack's whole-page job), `weights` (the run's start weights), or the name
    of a job of the run with the same network.
    out_of_fold: the teacher's answers for training pages are the stack's on the members' out-of-fold outputs, where the
    run has them (`stack.folds`); otherwise those of the finished models, which have seen the labels of these pages.
    """

    temperature: float = 2.0
    alpha: float = 0.7
    epochs: int | None = None
    learning_rate: float | None = None
    start: str = START_HOLISTIC
    out_of_fold: bool = True

    def __post_init__(self) -> None:
        check_loss(self.temperature, self.alpha)
        for name in ("epochs", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name}: must be greater than 0, found {value}")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a job learns from a teacher; temperature, alpha: see `DistillConfig`.

    teacher: job of the same run in whose folder the targets and the shards of unlabelled pages lie. pages: of all
    targets. unlabelled: how many of them have no label.
    """

    temperature: float
    alpha: float
    teacher: str = TEACHER
    pages: int
    unlabelled: int = 0

    def __post_init__(self) -> None:
        check_loss(self.temperature, self.alpha)


def check_loss(temperature: float, alpha: float) -> None:
    """Check the two numbers of the loss.

    Raises:
        UserError: one is out of its range.
    """
    if not 0 < temperature < float("inf"):
        raise UserError(f"temperature: must be greater than 0, found {temperature}")
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha: must lie from 0 to 1, found {alpha}")
