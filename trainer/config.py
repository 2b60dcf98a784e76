"""Configuration of a training job: model, optimizer, schedule, stage, checkpoints."""

from dataclasses import dataclass, field
from typing import Literal

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.batch import BatchPlan
from trainer.soft_targets.config import Distillation

STACK = "stack"
"""Name of the last job of every run, which stacks the outputs of the others; no stage or region may have it."""

START_FROM_WEIGHTS = "weights"
"""`StageConfig.start` of a stage that starts from `ModelConfig.weights` and not from another stage."""

EACH_REGION = "each"
"""`StageConfig.region` of a stage with one job per configured region."""


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
    weights: `imagenet` (Keras' own download), `none`, a file of the backbone's weights (`.h5`, `.weights.h5`), or
    `drawn` (trained on drawn pages).
    scaling: `backbone` (as the backbone was trained) or `unit` (1/255, as in the source of the recipe).
    batchnorm_momentum: of the backbone's BatchNorm layers; None: Keras' value.
    dense: widths of the hidden layers of the head; dropout: rate after each of them.
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
    """An optimizer and its learning rate.

    name: `adamw` is `adam` with the weight decay that it needs; `weight_decay` is decoupled for all of them.
    reference_batch: the global batch, pages, that `learning_rate` is meant for; the rate scales linearly with the
    global batch (Goyal et al. 2017, arXiv 1706.02677). None: no scaling.
    warmup_epochs: epochs over which the rate rises linearly from 0.
    clip_norm: largest global norm of the averaged gradients; larger ones are scaled down to it.
    weight_decay: decoupled, per step, times the learning rate; biases and BatchNorm's gamma and beta are exempt.
    ema_decay: decay of an exponential moving average of the weights, which is evaluated and saved; None: no average.
    layer_decay: factor of the learning rate from one block of the backbone to the one before it: a block gets the rate
    times layer_decay^n, where n = 1 for the backbone's last block; the head gets the rate itself. None: one rate.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float | None = None
    reference_batch: int | None = None
    warmup_epochs: float = 0.0
    ema_decay: float | None = None
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        _positive("learning_rate", self.learning_rate)
        _share("momentum", self.momentum)
        if self.name != "sgd" and (self.momentum or self.nesterov):
            raise UserError(f"momentum, nesterov: not supported by {self.name}; remove both, or set name: sgd")
        if self.name == "adamw" and not self.weight_decay:
            raise UserError("weight_decay: adamw without it is adam; set weight_decay (0.01 to 0.1), or name: adam")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise UserError(f"layer_decay: must be greater than 0 and at most 1, found {self.layer_decay}")
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
    """Multiply the learning rate by `factor` if validation accuracy has not improved for `patience` epochs."""

    patience: int = 2
    factor: float = 0.9
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        _positive("patience", self.patience)
        if not 0 < self.factor < 1:
            raise UserError(f"factor: must be between 0 and 1, found {self.factor}")
        if self.min_delta < 0:
            raise UserError(f"min_delta: must not be negative, found {self.min_delta}")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of the recipe.

    region: a configured region, `holistic`, or `each` (one job per configured region, all at once).
    image_px: height that the model works at, px; stored pages are larger, and the model reduces them.
    start: `weights` (the model's start weights) or the name of an earlier stage.
    micro_batches: equal parts in which a worker computes its share of the global batch, one after the other, to
    save memory; the gradient is that of the share, but BatchNorm sees one part at a time.
    augment: random changes and mixing of training pages, new in each epoch and the same for every world size; off by
    default.
    fresh: patterns (`logits/*`) of variables that keep their initial values in a warm start; all others must match.
    freeze: layers that do not change in the stage, BatchNorm statistics included: patterns
    (`backbone/block8_*`, `dense_1`), or `..NAME` for the backbone up to layer NAME.
    head_epochs: number of first epochs that train the head alone; the optimizer and its schedule then restart on all
    layers that are not frozen. head_learning_rate: rate of these epochs; None: that of `optimizer`.
    schedule: of the learning rate after warm-up: `plateau`, the rule of that name (its null: a constant rate);
    `cosine`, from the rate to `final_share` of it along half a cosine, a new value at each step; `constant`.
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
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    final_share: float = 0.0
    plateau: PlateauConfig | None = field(default_factory=PlateauConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    @property
    def pages_at_once(self) -> int:
        """Pages of one micro-batch of all workers together, of which each worker takes an equal part."""
        return self.global_batch // self.micro_batches

    def __post_init__(self) -> None:
        for name in ("image_px", "epochs", "global_batch", "micro_batches"):
            _positive(name, getattr(self, name))
        if self.global_batch % self.micro_batches:
            below = self.global_batch // self.micro_batches * self.micro_batches
            nearest = " or ".join(str(batch) for batch in (below, below + self.micro_batches) if batch)
            raise UserError(
                f"micro_batches: {self.micro_batches} do not divide the global batch of {self.global_batch} evenly; "
                f"change one of them, such as global_batch to {nearest}"
            )
        if self.augment.mixes and self.global_batch < 2:
            raise UserError("global_batch: must be at least 2, since augment.mixup and augment.cutmix mix its pages")
        if not 0 <= self.head_epochs < self.epochs:
            limit = f"at least 0 and less than the stage's {self.epochs} epochs"
            raise UserError(f"head_epochs: must be {limit}, found {self.head_epochs}")
        if self.head_learning_rate is not None:
            _positive("head_learning_rate", self.head_learning_rate)
            if not self.head_epochs:
                raise UserError("head_learning_rate: has no effect without head_epochs; set head_epochs, or remove it")
        self._check_schedule()

    def _check_schedule(self) -> None:
        if not 0 <= self.final_share <= 1:
            raise UserError(f"final_share: must be at least 0 and at most 1, found {self.final_share}")
        if self.schedule != "cosine":
            if self.final_share:
                raise UserError("final_share: has no effect without schedule: cosine; set that, or remove final_share")
            return
        for phase, epochs in (("head_epochs", self.head_epochs), ("epochs", self.epochs - self.head_epochs)):
            warmup = self.optimizer.warmup_epochs
            if epochs and warmup >= epochs:
                limit = f"must be less than {epochs} ({phase})"
                raise UserError(f"optimizer.warmup_epochs: leaves no step to schedule: cosine; {limit}, found {warmup}")


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """Views of a page that a trained model averages over (test-time augmentation); 0 and 0: the page alone.

    shift: four more views, shifted up, down, left and right by this share of the height or width. scale: two more,
    smaller and larger by this share. No view is mirrored: text has a direction.
    """

    shift: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "scale"):
            if not 0 <= getattr(self, name) <= 0.25:
                raise UserError(f"{name}: must be at least 0 and at most 0.25, found {getattr(self, name)}")

    @property
    def count(self) -> int:
        """Number of views, the page itself included."""
        return 1 + 4 * bool(self.shift) + 2 * bool(self.scale)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings that all stages share.

    deterministic: the same bits for the same seed and world size, at some cost in speed (on GPUs only with
    TensorFlow's deterministic kernels); no gradient is sent before the backward pass ends.
    precision: `float32`, or mixed precision with float32 weights.
    compression: `fp16` halves the bytes of the gradient all-reduce; gradients above 65,504 overflow.
    jit_compile: XLA compiles the forward and backward pass, but not averaging and update; requires `deterministic`
    and `synchronized_batch_norm` to be false.
    synchronized_batch_norm: BatchNorm normalizes by the moments of the global batch, not of each worker's share.
    fused_batch_norm: BatchNorm uses TensorFlow's fused kernel in training; not if it is synchronized.
    evaluation_batch: pages that a worker evaluates at once.
    best_metric: figure on the validation pages that selects a job's best epoch, whose weights are the job's result.
    batchnorm_batches: number of training batches to recompute BatchNorm's statistics from before each evaluation, see
    `trainer.network.batchnorm`; 0: evaluate with the statistics of the training steps.
    views: what predictions of a job's best weights average over, and so everything that is fitted on them, predicted
    and exported; evaluations after an epoch look at each page once.
    """

    deterministic: bool = True
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    label_smoothing: float = 0.0
    compression: Literal["none", "fp16"] = "none"
    jit_compile: bool = False
    synchronized_batch_norm: bool = False
    fused_batch_norm: bool = True
    evaluation_batch: int = 64
    best_metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    batchnorm_batches: int = 16
    views: ViewsConfig = field(default_factory=ViewsConfig)

    def __post_init__(self) -> None:
        if self.batchnorm_batches < 0:
            raise UserError(f"batchnorm_batches: must not be negative, found {self.batchnorm_batches}")
        _share("label_smoothing", self.label_smoothing)
        _positive("evaluation_batch", self.evaluation_batch)
        if self.jit_compile and self.synchronized_batch_norm:
            raise UserError(
                "jit_compile, synchronized_batch_norm: XLA cannot compile the collectives of synchronized BatchNorm; "
                "turn one of them off"
            )
        if self.jit_compile and self.deterministic:  # as Keras' model_supports_jit
            raise UserError(
                "jit_compile, deterministic: XLA does not support all deterministic operations; set "
                "deterministic: false, or turn jit_compile off"
            )


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are written, besides each epoch's end, and how many are kept.

    every_steps, every_seconds: also within an epoch; None: not by this measure.
    keep: number of newest checkpoints to keep; the best one is kept in addition.
    agree_steps: largest number of steps between two agreements of all ranks on saving and stopping; they agree at
    least every two seconds, or after each step if it takes longer.
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
class Fold:
    """One of `of` equal parts of the training pages, by its number from 1: a job does not train on it, but predicts it.

    `trainer.training.split.fold_of` assigns the pages. grouped: whether the run folder holds groups of duplicates,
    which are in one fold each.
    """

    number: int
    of: int
    grouped: bool = False


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """Everything that determines what one training job computes.

    shards: folder of the shard sets (`<shards>/<split>/<region>`); region: the region that this job reads.
    start_job: name of the job whose best checkpoint warm-starts this one; None: start from `weights_file`, a Keras
    weight file of the backbone, or from initial weights if that is None, too.
    class_weights: `balanced`, or weights by class id or name, of the loss; None: every page counts alike.
    corrected: whether the corrections that the run folder holds (`trainer.job_folder.corrections`) apply to the labels.
    selection_share: share of the validation pages that selects the best epoch, the rest is for the stack; None: all
    of them select.
    distill: the teacher of a student, whose training pages then include unlabelled ones; None: labels alone.
    event_files: whether it writes event files for TensorBoard, which change nothing that it computes.
    fold: the training pages that are held out; None: the job trains on all of them.
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
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    corrected: bool = False
    distill: Distillation | None = None
    event_files: bool = True
    fold: Fold | None = None

    def batch_plan(self, rank: int = 0, size: int = 1) -> BatchPlan:
        """The training batches of rank `rank` of `size`."""
        stage = self.stage
        return BatchPlan(global_batch=stage.global_batch, seed=self.seed, rank=rank, size=size, augment=stage.augment)


@dataclass(frozen=True, kw_only=True)
class JobPayload:
    """The input of a worker: the job and the run folder."""

    config: JobConfig
    run: str
