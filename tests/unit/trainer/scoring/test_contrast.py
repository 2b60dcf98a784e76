"""The file with the contrast of the test pages: complete, in any order, or an error."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from trainer.scoring.contrast import contrast_file, in_order, read_contrasts, write_contrasts

CONTRASTS = {"ü/b.tif": 60.125, "a.tif": 0.1 + 0.2, "a.pdf#page=3": 0.0}


def test_contrasts_are_kept_exactly(tmp_path: Path) -> None:
    path = contrast_file(tmp_path, "test")
    assert read_contrasts(path) == {}
    write_contrasts(path, CONTRASTS)
    assert read_contrasts(path) == CONTRASTS
    content = path.read_bytes()
    write_contrasts(path, dict(reversed(CONTRASTS.items())))
    assert path.read_bytes() == content


def test_the_order_of_the_pages() -> None:
    ordered = in_order(CONTRASTS, ["a.tif", "ü/b.tif"])
    assert ordered is not None
    assert ordered.tolist() == [0.1 + 0.2, 60.125]
    assert in_order(CONTRASTS, ["a.tif", "other.tif"]) is None


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_a_corrupt_file_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"c\.npz"):
        read_contrasts(tmp_path / "c.npz")
