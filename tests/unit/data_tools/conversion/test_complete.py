"""A conversion whose sets are complete writes nothing, so that they may be a colleague's or on a read-only mount."""

from pathlib import Path

import pytest

from tests.helpers.conversions import run
from tests.helpers.synthetic_pages import made_data


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("locked", [True, False])
def test_a_second_conversion_writes_nothing(tmp_path: Path, locked: bool) -> None:
    data = made_data(tmp_path)
    run(data, tmp_path / "s", workers=1)
    if not locked:
        (tmp_path / "s" / ".lock").unlink()  # as in a copy
    before = state(tmp_path / "s")
    assert run(data, tmp_path / "s", workers=1).written == ()
    assert state(tmp_path / "s") == before
