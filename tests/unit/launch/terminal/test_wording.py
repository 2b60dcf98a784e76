"""Durations, counts and sizes as people read them."""

import pytest

from launch.terminal.wording import counted, duration, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (41.7, "42 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (18_720, "5 h 12 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999.6, "1 kB"), (65_680, "65.7 kB"), (217e6, "217 MB"), (9.51e11, "951 GB"), (5e15, "5,000 TB")],
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 pages"), (1, "1 page"), (1200, "1,200 pages")])
def test_counts(count: int, text: str) -> None:
    assert counted(count, "page") == text
