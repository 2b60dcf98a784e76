"""The rows of the ablation table of bench/accuracy.py: today's options, and named changes of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TODAY, ALL = "today", "all"
PX = 128
"""Height that today's stages work at."""
STORED = 2
"""Height of the stored pages as a multiple of it, so that stages can work at more."""
SCAN = {"shift": 0.05, "scale": 0.1, "rotation_deg": 2.0, "shear_deg": 1.0, "brightness": 0.1, "contrast": 0.2,
        "noise": 0.02}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One row. settings: as for `--set`; `stages.*.KEY=V` holds for each stage of the arm.

    like: an arm whose trained models this one takes over, since only settings of the stack differ from it. preset: a
    preset of the product in place of today's options.
    """

    name: str
    about: str
    settings: tuple[str, ...] = ()
    like: str | None = None
    preset: str | None = None


def base_config(*, weights: str, px: int, regions: Any) -> dict[str, Any]:
    """Today's options with stages at `px`; without data, shards' folder and run folder.

    regions: as in the configuration; empty: the whole page alone.
    """
    parts = _stage(px, epochs=6, learning_rate=3e-4) | {"region": "each", "start": "holistic"}
    return {
        "seed": 1,
        "regions": regions,
        "shards": {"height": STORED * px, "width": STORED * px, "shard_mib": 8},
        "model": {"backbone": "MobileNetV2", "weights": weights, "batchnorm_momentum": 0.9, "dense": []},
        "drawn": {"start": weights},
        "training": {"label_smoothing": 0.1},
        "stages": {"holistic": _stage(px, epochs=12), **({"regions": parts} if regions else {})},
        "checkpoint": {"every_seconds": 120, "keep": 1},
    }


def _stage(px: int, *, epochs: int, learning_rate: float = 1e-3) -> dict[str, Any]:
    return {
        "image_px": px,
        "epochs": epochs,
        "global_batch": 32,
        "optimizer": {"name": "adam", "learning_rate": learning_rate},
        "plateau": {"patience": 2, "factor": 0.5},
        "augment": SCAN,
    }


def _added(name: str, px: int, *, epochs: int, start: str = "weights", learning_rate: float = 1e-3) -> str:
    """The setting of one more stage, with everything else as today."""
    stage = _stage(px, epochs=epochs, learning_rate=learning_rate) | {"start": start}
    return f"stages.{name}={json.dumps(stage)}"


def settings_of(arm: Arm, *, regions: bool = True) -> list[str]:
    """The arm's settings with `stages.*` written out for each of its stages; without `regions`, for the whole page."""
    keys = [setting.partition("=")[0].split(".") for setting in arm.settings]
    base = ("holistic", "regions") if regions else ("holistic",)
    stages = [*base, *(key[1] for key in keys if key[0] == "stages" and len(key) == 2)]
    found: list[str] = []
    for setting in arm.settings:
        if setting.startswith("stages.*."):
            found += [setting.replace("*", name, 1) for name in stages]
        elif regions or not setting.startswith("stages.regions."):
            found.append(setting)
    return found


def chosen_arms(names: Sequence[str], px: int = PX) -> list[Arm]:
    """The arms of these names, each after the one whose models it takes over; exits at an unknown name."""
    known = {arm.name: arm for arm in arms(px)}
    found: list[Arm] = []
    for name in names:
        if name not in known:
            raise SystemExit(f"--arm {name}: no such row; there are: {', '.join(known)}")
        arm = known[name]
        found += [one for one in (*([known[arm.like]] if arm.like else []), arm) if one not in found]
    return found


POOL = ("stack.input=log", "stack.method=weighted")
COSINE = ("stages.*.schedule=cosine", "stages.*.optimizer.warmup_epochs=0.5")
MIXUP = ("stages.*.augment.mixup=0.2",)
EMA = ("stages.*.optimizer.ema_decay=0.99",)
VIEWS = ("training.views.shift=0.03", "training.views.scale=0.06")
LATER = ("stages.regions.start=holistic_large",)


def arms(px: int = PX) -> tuple[Arm, ...]:
    """The rows of the table, in its order, with today's stages at `px`."""
    small, large = px * 3 // 4, px * 3 // 2
    return (
        Arm(TODAY, "Adam, plateau, augmentation, label smoothing 0.1, BatchNorm momentum 0.9; MLP on softmax"),
        Arm("log_mlp", "MLP on log-probabilities", ("stack.input=log",), like=TODAY),
        Arm("pool", "log-opinion pool", POOL, like=TODAY),
        Arm("log_logistic", "regression on log-probabilities, strength by cross-validation",
            ("stack.input=log", "stack.method=logistic", "stack.logistic_l2=null"), like=TODAY),
        Arm("cosine", "cosine schedule, half an epoch of warm-up", COSINE),
        Arm("slow", "a third of the learning rates",
            ("stages.holistic.optimizer.learning_rate=0.0003", "stages.regions.optimizer.learning_rate=0.0001")),
        Arm("adamw", "AdamW, decay 0.05", ("stages.*.optimizer.name=adamw", "stages.*.optimizer.weight_decay=0.05")),
        Arm("layer_decay", "learning rate times 0.8 from block to block", ("stages.*.optimizer.layer_decay=0.8",)),
        Arm("ema", "averaged weights, decay 0.99", EMA),
        Arm("mixup", "mixup 0.2", MIXUP),
        Arm("cutmix", "cutmix 1", ("stages.*.augment.cutmix=1.0",)),
        Arm("erase", "random erasing of a quarter of the pages", ("stages.*.augment.erase=0.25",)),
        Arm("no_augment", "without augmentation", ("stages.*.augment={}",)),
        Arm("no_smoothing", "without label smoothing", ("training.label_smoothing=0.0",)),
        Arm("resize", f"holistic at {small}, {px} and {large} px; regions start from the last",
            (_added("holistic_small", small, epochs=6),
             "stages.holistic.start=holistic_small", "stages.holistic.epochs=4",
             _added("holistic_large", large, epochs=3, start="holistic", learning_rate=5e-4), *LATER)),
        Arm("drawn", "start weights trained further on drawn pages of 16 other classes", ("model.weights=drawn",)),
        Arm("views", "predictions averaged over shifted and scaled views", VIEWS),
        Arm("folds", "stack fitted out of fold (5 folds), models retrained on all pages", ("stack.folds=5", *POOL)),
        Arm("folds_average", "the same with the models of the folds averaged",
            ("stack.folds=5", *POOL, "stack.members=average"), like="folds"),
        Arm("small_data", "the preset small_data, with its epochs scaled to the budget", preset="small_data"),
        Arm(ALL, "averaged weights, views, log-opinion pool", (*EMA, *VIEWS, *POOL)),
    )  # fmt: skip
