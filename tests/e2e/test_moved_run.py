"""A run folder is complete in itself: a read-only copy of it works from any folder, for any user."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commands import environment
from tests.helpers.untrained_run import make_run, make_shards

NOBODY = 65534
PR_CAPBSET_DROP = 24
OVERRIDES = (1, 2, 3)
"""CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER (linux/capability.h): why root may write what is read-only."""


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with `run`, a read-only copy of a run whose original and shards are gone, `pages` and `shards_kept`."""
    made = tmp_path_factory.mktemp("made")
    make_run(make_shards(made))
    place = tmp_path_factory.mktemp("moved")
    shutil.copytree(made / "run", place / "run")
    shutil.copytree(made / "pages", place / "pages")
    shutil.copytree(made / "shards", place / "kept")
    shutil.rmtree(made)
    (place / "here").mkdir()
    change(place / "run", folders=0o555, files=0o444)
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            (place / "run" / "new").touch()
    yield place
    change(place / "run", folders=0o755, files=0o644)


def change(folder: Path, *, folders: int, files: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        path.chmod(folders if path.is_dir() else files)


def without_overrides() -> None:
    """For `preexec_fn`: be subject to file modes even as root."""
    for capability in OVERRIDES if os.geteuid() == 0 else ():
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability)


def regionstack(place: Path, *arguments: str, status: int = 0) -> str:
    """The command in folder `here`, as a user who may not write to the run and has no home."""
    ended = subprocess.run(
        [sys.executable, "-m", "launch.cli", *arguments],
        cwd=place / "here", env=environment() | {"HOME": "/nonexistent"}, text=True, check=False, timeout=200,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=without_overrides,
    )  # fmt: skip
    assert ended.returncode == status, ended.stdout
    return ended.stdout


def test_it_names_the_classes_and_evaluates(moved: Path) -> None:
    page = next((moved / "pages").rglob("*.tif"))
    output = regionstack(moved, "predict", str(moved / "run"), str(page))
    assert any(name in output for name in ("letter", "email", "advertisement")), output

    missing = regionstack(moved, "evaluate", str(moved / "run"), status=2)
    assert "Traceback" not in missing
    assert "--shards" in missing
    assert str(moved / "shards") in missing, "where it looked"

    output = regionstack(moved, "evaluate", str(moved / "run"), "--shards", str(moved / "kept"))
    assert "6 pages" in output
    (moved / "kept").rename(moved / "shards")
    assert "6 pages" in regionstack(moved, "evaluate", str(moved / "run")), "found beside the run"
