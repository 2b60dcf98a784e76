"""Answers to write, and the files to write them to."""

import pytest

from launch.predict.forms import About


@pytest.fixture
def about() -> About:
    return About(run="my", classes=[(0, "letter"), (7, "memo")], members=["holistic", "left"], probabilities=False)
