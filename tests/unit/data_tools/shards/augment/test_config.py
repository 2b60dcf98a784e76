"""The settings of augmentation: their ranges, and off by default."""

from typing import Any

import pytest

from data_tools.errors import UserError
from data_tools.shards.augment.config import AugmentConfig


def test_all_changes_are_off_by_default() -> None:
    config = AugmentConfig()
    assert not (config.active or config.moves or config.mixes)


@pytest.mark.parametrize(
    ("settings", "active", "mixes"),
    [
        ({"shift": 0.1}, True, False),
        ({"erase": 0.1}, True, False),
        ({"mixup": 0.2}, False, True),
        ({"cutmix": 1.0}, False, True),
        ({"noise": 0.1, "cutmix": 1.0}, True, True),
        ({"mix_probability": 0.5, "erase_fill": "gray"}, False, False),
    ],
)
def test_what_is_on(settings: dict[str, Any], active: bool, mixes: bool) -> None:
    config = AugmentConfig(**settings)
    assert (config.active, config.mixes) == (active, mixes)
    assert (config.unmixed().active, config.unmixed().mixes) == (active, False)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("shift", -0.1), ("scale", 0.6), ("rotation_deg", 90.0), ("erase", 1.5), ("mixup", -1.0), ("cutmix", 1e9),
        ("mix_probability", 0.0), ("mix_probability", 2.0), ("mixup", float("nan")), ("erase", float("nan")),
        ("erase_area", (0.0, 0.2)), ("erase_area", (0.3, 0.2)), ("erase_area", (0.1, 0.9)),
        ("erase_area", (0.1, float("nan"))), ("mix_probability", float("nan")),
    ],
)  # fmt: skip
def test_bad_settings_are_named(setting: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"^{setting}: "):
        AugmentConfig(**{setting: value})
