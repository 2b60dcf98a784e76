"""Boxes in fractions and in pixels."""

import pytest

from data_tools.documents.regions import PRESETS, WHOLE_PAGE, Box, parse_regions, pixel_box
from data_tools.errors import UserError

HALVES = PRESETS["halves"]
DAS = PRESETS["das2018"]


@pytest.mark.parametrize(
    ("box", "height", "width", "pixels"),
    [
        (WHOLE_PAGE, 1000, 754, (0, 1000, 0, 754)),
        (HALVES["top"], 1000, 754, (0, 500, 0, 754)),
        (HALVES["bottom"], 1000, 754, (500, 1000, 0, 754)),
        (HALVES["left"], 1000, 754, (0, 1000, 0, 377)),
        # Odd sizes: the shared edge is rounded up, for both halves.
        (HALVES["top"], 999, 755, (0, 500, 0, 755)),
        (HALVES["bottom"], 999, 755, (500, 999, 0, 755)),
        (HALVES["left"], 999, 755, (0, 999, 0, 378)),
        (HALVES["right"], 999, 755, (0, 999, 378, 755)),
        # 2.5 and 3.5 both go up: round() would give 2 and 4.
        (HALVES["top"], 5, 9, (0, 3, 0, 9)),
        (HALVES["top"], 7, 9, (0, 4, 0, 9)),
        # Das et al.'s 780 rows: 256 of header and footer, 400 of body.
        (DAS["header"], 780, 600, (0, 256, 0, 600)),
        (DAS["footer"], 780, 600, (524, 780, 0, 600)),
        (DAS["left_body"], 780, 600, (190, 590, 0, 300)),
        # At least one pixel, and inside the page.
        (WHOLE_PAGE, 1, 1, (0, 1, 0, 1)),
        (HALVES["bottom"], 1, 1, (0, 1, 0, 1)),
        (Box(0.999, 0.999, 1, 1), 10, 10, (9, 10, 9, 10)),
        (Box(0, 0, 0.001, 0.001), 10, 10, (0, 1, 0, 1)),
    ],
)
def test_pixels(box: Box, height: int, width: int, pixels: tuple[int, int, int, int]) -> None:
    assert pixel_box(box, height, width) == pixels


def test_halves_share_no_pixel_and_miss_none() -> None:
    for length in range(2, 300):
        assert pixel_box(HALVES["top"], length, 9)[1] == pixel_box(HALVES["bottom"], length, 9)[0]
        assert pixel_box(HALVES["left"], 9, length)[3] == pixel_box(HALVES["right"], 9, length)[2]


def test_regions_from_the_configuration() -> None:
    assert parse_regions("halves") == HALVES
    assert parse_regions({"stamp": [0.5, 0, 1, 0.25]}) == {"stamp": Box(0.5, 0.0, 1.0, 0.25)}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("thirds", "thirds is not a preset .das2018, halves"),
        ({"a": [0, 0, 0, 1]}, "regions.a: box"),
        ({"a": [0, 0, 2, 1]}, "regions.a: box"),
        ({"a": [0, 0, 1]}, r"regions.a: expected \[left, top, right, bottom\]"),
        ({"a": "halves"}, "regions.a: expected"),
        ({"a": None}, "regions.a: expected"),
        ({"a": [0, 0, float("nan"), 1]}, "regions.a: box"),
        ({"holistic": [0, 0, 1, 1]}, "regions.holistic"),
        ({"../x": [0, 0, 1, 1]}, "regions.../x: not a valid region name"),
        ({"": [0, 0, 1, 1]}, "regions.: not a valid region name"),
    ],
)
def test_bad_regions(value: object, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parse_regions(value)  # type: ignore[arg-type]
