"""The Keras optimizer of a stage; with layer-wise learning rates, one that scales the rate of each variable."""

from collections.abc import Mapping
from typing import Any

from trainer.config import OptimizerConfig

HALF = "mixed_float16"


def build_optimizer(
    config: OptimizerConfig, *, precision: str = "float32", shares: Mapping[Any, float] | None = None
) -> Any:
    """The Keras optimizer; with `mixed_float16` under dynamic loss scaling, without which small gradients vanish.

    shares: by reference (`variable.value.ref()`) of each variable that will be updated, the share of the learning
    rate that it gets, see `trainer.optimizer.layer_rates`; None: all get 1.
    """
    import keras

    options: dict[str, Any] = {"global_clipnorm": config.clip_norm}
    kind: Any = keras.optimizers.Adam  # decouples weight decay as AdamW does, which is the same class in Keras
    if config.name == "sgd":
        kind = keras.optimizers.SGD
        options |= {"momentum": config.momentum, "nesterov": config.nesterov}
    if shares is None:
        optimizer = kind(config.learning_rate, weight_decay=config.weight_decay or None, **options)
    else:
        optimizer = _with_shares(kind, shares, config.weight_decay)(config.learning_rate, **options)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == HALF else optimizer


def _with_shares(kind: Any, shares: Mapping[Any, float], weight_decay: float) -> Any:
    """The optimizer class `kind` with a learning rate of its own for each variable, in update and weight decay.

    Keras decays weights outside `update_step`, by one rate for all, so this class decays them itself.
    """
    import tensorflow as tf

    class LayerwiseRates(kind):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = tf.cast(learning_rate, variable.dtype) * shares[variable.ref()]
            if weight_decay and decays(variable):
                variable.assign_sub(variable * tf.cast(weight_decay, variable.dtype) * rate)
            super().update_step(gradient, variable, rate)

    LayerwiseRates.__name__ = kind.__name__  # the names of its variables, as in checkpoints, derive from it
    return LayerwiseRates


def decays(variable: Any) -> bool:
    """Whether weight decay applies to a variable: to kernels, not to vectors and scalars.

    BatchNorm's gamma and beta: Goyal et al. 2017 (arXiv 1706.02677), section 5.1; biases: He et al. 2018
    (arXiv 1812.01187), section 3.1.
    """
    return len(variable.shape) > 1
