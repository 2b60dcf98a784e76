"""What one training job can be told: model, optimiser, schedule, stage, checkpoints."""

from dataclasses import dataclass, field
from typing import Literal

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.augment import AugmentConfig

STACK = "stack"
"""Name of the last job of every run, which stacks the outputs of the others; no stage or region may have it."""

START_FROM_WEIGHTS = "weights"
"""`StageConfig.start` of a stage that begins from `ModelConfig.weights` and not from another stage."""

EACH_REGION = "each"
"""`StageConfig.region` of a stage that stands for one job per configured region."""


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise UserError(f"{name}: must be greater than 0, found {value}")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"{name}: must be at least 0 and less than 1, found {value}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network of every stage.

    backbone: a name in `keras.applications`, or `SmallConvNet`.
    weights: `imagenet` (Keras' own download), `none`, or a file of the backbone's weights (`.h5`, `.weights.h5`).
    scaling: `backbone` (what the backbone was trained with) or `unit` (1/255, as in the recipe's source).
    batchnorm_momentum: of the backbone's BatchNorm layers; None: their own.
    dense: widths of the hidden layers of the head; dropout: share dropped after each of them.
    """

    backbone: str = "InceptionResNetV2"
    weights: str = "imagenet"
    scaling: Literal["backbone", "unit"] = "backbone"
    batchnorm_momentum: float | None = None
    dense: tuple[int, ...] = (1024, 512)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        _share("dropout", self.dropout)
        if self.batchnorm_momentum is not None:
            _share("batchnorm_momentum", self.batchnorm_momentum)
        for width in self.dense:
            _positive("dense", width)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """An optimiser and its learning rate.

    reference_batch: the global batch that `learning_rate` was chosen for; the rate grows linearly with the
    global batch (Goyal et al. 2017, arXiv 1706.02677). None: the rate is taken as it stands.
    warmup_epochs: the rate climbs linearly from 0 over so many epochs.
    clip_norm: the gradients of the global batch are scaled down to this norm of all of them together.
    weight_decay: decoupled, per step, times the learning rate; of kernels alone, not of biases and BatchNorm.
    ema_decay: keep an exponential moving average of the weights; it is what is evaluated and handed on.
    """

    name: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float | None = None
    reference_batch: int | None = None
    warmup_epochs: float = 0.0
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        _positive("learning_rate", self.learning_rate)
        _share("momentum", self.momentum)
        if self.name == "adam" and (self.momentum or self.nesterov):
            raise UserError("momentum: adam takes no momentum and no nesterov; leave both out")
        if self.weight_decay < 0 or self.warmup_epochs < 0:
            raise UserError("weight_decay, warmup_epochs: must not be negative")
        if self.clip_norm is not None:
            _positive("clip_norm", self.clip_norm)
        if self.reference_batch is not None:
            _positive("reference_batch", self.reference_batch)
        if self.ema_decay is not None:
            _share("ema_decay", self.ema_decay)


@dataclass(frozen=True, kw_only=True)
class PlateauConfig:
    """Learning rate times `factor` when the validation accuracy has not improved for `patience` epochs."""

    patience: int = 2
    factor: float = 0.9
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        _positive("patience", self.patience)
        if not 0 < self.factor < 1:
            raise UserError(f"factor: must lie between 0 and 1, found {self.factor}")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One row of the recipe.

    region: a configured region, `holistic`, or `each` (one job per configured region, all at once).
    image_px: height that the model works at; pages are stored larger and reduced in the model.
    start: `weights` (the model's start weights) or the name of an earlier stage.
    micro_batches: equal parts in which a worker computes its share of the global batch, one after the other, to
    need less memory; the gradients are those of the whole batch, BatchNorm sees one part at a time.
    augment: how training pages are changed, anew in each epoch and the same for every world size; off by default.
    fresh: patterns (`logits/*`) of variables that a warm start may leave as initialised; all others must match.
    freeze: layers that stay as they are through the stage, BatchNorm statistics included: patterns
    (`backbone/block8_*`, `dense_1`), or `..NAME` for all of the backbone up to layer NAME.
    head_epochs: so many first epochs train the head alone; then the optimiser and its schedule begin anew on all
    that is not frozen. head_learning_rate: the rate of those first epochs; None: that of `optimizer`.
    """

    region: str = HOLISTIC
    image_px: int = 256
    start: str = START_FROM_WEIGHTS
    fresh: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    head_epochs: int = 0
    head_learning_rate: float | None = None
    epochs: int = 30
    global_batch: int = 128
    micro_batches: int = 1
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    plateau: PlateauConfig | None = field(default_factory=PlateauConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for name in ("image_px", "epochs", "global_batch", "micro_batches"):
            _positive(name, getattr(self, name))
        if not 0 <= self.head_epochs < self.epochs:
            limit = f"not negative and less than the stage's {self.epochs} epochs"
            raise UserError(f"head_epochs: must be {limit}, found {self.head_epochs}")
        if self.head_learning_rate is not None:
            _positive("head_learning_rate", self.head_learning_rate)
            if not self.head_epochs:
                raise UserError("head_learning_rate: is of the first head_epochs, and there are none; set head_epochs")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings that all stages share.

    deterministic: the same bits for the same seed and world size, at some cost in speed (on GPUs only as far as
    TensorFlow's deterministic kernels reach).
    precision: `float32`, or mixed precision with float32 weights.
    compression: `fp16` halves the bytes of the gradient all-reduce.
    jit_compile: let XLA compile the forward and backward pass; averaging over ranks and the update stay outside.
    synchronized_batch_norm: BatchNorm normalises by the moments of the global batch, not of each worker's share.
    evaluation_batch: pages a worker evaluates at once.
    best_metric: figure on the validation pages that picks a job's best epoch, whose weights are the job's result.
    batchnorm_batches: training batches from which BatchNorm's statistics are computed before each evaluation, see
    `trainer.network.batchnorm`; 0: they stay as the training steps moved them.
    """

    deterministic: bool = True
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    label_smoothing: float = 0.0
    compression: Literal["none", "fp16"] = "none"
    jit_compile: bool = False
    synchronized_batch_norm: bool = False
    evaluation_batch: int = 64
    best_metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    batchnorm_batches: int = 16

    def __post_init__(self) -> None:
        if self.batchnorm_batches < 0:
            raise UserError(f"batchnorm_batches: must not be negative, found {self.batchnorm_batches}")
        _share("label_smoothing", self.label_smoothing)
        _positive("evaluation_batch", self.evaluation_batch)
        if self.jit_compile and self.deterministic and not self.synchronized_batch_norm:
            raise UserError(
                "jit_compile: XLA supports not all operations of deterministic mode, and deterministic is true; set "
                "deterministic: false as well, or leave jit_compile out"
            )
        if self.jit_compile and self.synchronized_batch_norm:
            raise UserError(
                "jit_compile: XLA compiles no collectives of Horovod, and synchronized_batch_norm needs some within "
                "the forward pass; turn one of them off"
            )


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are written (each epoch's end in any case) and how many stay.

    every_steps, every_seconds: also within an epoch; None: not by that measure.
    keep: newest checkpoints kept; the best one is kept beside them.
    agree_steps: most steps between two agreements of all ranks on "save now" and "stop now"; they agree at least
    every two seconds, or after each step.
    """

    every_steps: int | None = None
    every_seconds: float | None = 60.0
    keep: int = 2
    agree_steps: int = 10

    def __post_init__(self) -> None:
        for name in ("every_steps", "every_seconds"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        _positive("keep", self.keep)
        _positive("agree_steps", self.agree_steps)


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """All that decides what one training job computes.

    shards: folder of the shard sets (`<shards>/<split>/<region>`); region: the one this job reads.
    start_job: name of the job whose best checkpoint warm-starts this one; None: from `weights_file`, a Keras
    weight file of the backbone, or from scratch where that is None too.
    selection_share: share of the validation pages that picks the best epoch, the rest being kept for the stack;
    None: all of them.
    """

    name: str
    stage_name: str
    region: str
    shards: str
    seed: int
    stage: StageConfig
    model: ModelConfig
    training: TrainingConfig
    checkpoint: CheckpointConfig
    start_job: str | None = None
    weights_file: str | None = None
    selection_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobPayload:
    """What a worker is handed: the job and the run folder."""

    config: JobConfig
    run: str
