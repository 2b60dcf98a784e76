"""A distributed test must not skip silently: the rule of tests/conftest.py, tried on a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parent.parent / "conftest.py"
TESTS = """
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no second host")

@pytest.mark.xfail(reason="known")
def test_expected_to_fail():
    raise ValueError

def test_on_real_pages(real_pages):
    assert real_pages.is_dir()
"""


def test_a_skip_is_a_failure_where_none_may_be(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    for folder in ("unit", "cluster"):
        (tests / folder).mkdir(parents=True)
        (tests / folder / f"test_{folder}.py").write_text(TESTS)
    shutil.copy(CONFTEST, tests)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)],
        env={**os.environ, "REGIONSTACK_NO_SKIP": "1", "REGIONSTACK_PAGES": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 2 passed, 3 skipped, 2 xfailed" in result.stdout
    assert "test_cluster.py::test_skips" in result.stdout
    assert result.returncode == 1
