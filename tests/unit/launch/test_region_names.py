"""Regions are parsed once, when the configuration is read."""

import pytest

from data_tools.errors import UserError
from launch.config import load_config


@pytest.mark.parametrize(
    ("regions", "problem"),
    [
        ("{a/b: [0, 0, 1, 0.5]}", "regions.a/b: not a valid region name"),
        ("{holistic: [0, 0, 1, 0.5]}", "regions.holistic: "),
        ("{top: [0, 0, 2, 1]}", "regions.top: box"),
        ("thirds", "regions: thirds is not a preset"),
    ],
)
def test_invalid_regions_are_refused_when_the_configuration_is_read(regions: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        load_config("demo", [f"regions={regions}"])
