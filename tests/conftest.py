"""What all tests share: time limits, a folder for Ray, the real pages, and no silent skips."""

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = {"unit": 60, "multiprocess": 600, "cluster": 300, "e2e": 1800}
"""Default time limit of one test in seconds, by folder."""
NEVER_SKIPPED = ("multiprocess", "cluster", "e2e")
NO_REAL_PAGES = "no real pages in"
NO_SKIP = "REGIONSTACK_NO_SKIP"
"""With this variable set to 1, a skipped test in the folders above is a failure."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_pages: runs only where the folder of real pages is present")
    # Each session starts Ray in its own folder, so sessions side by side do not join each other's clusters.
    # The path is short because the paths of Ray's sockets, at most 107 characters long, begin with it.
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="rs-")


def pytest_sessionfinish(exitstatus: int) -> None:
    """Remove Ray's folder; after a failure its logs stay, if there are any."""
    folder = Path(os.environ["RAY_TMPDIR"])
    if exitstatus == pytest.ExitCode.OK or not any(folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    pages = real_pages_folder()
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS.get(folder_of(item.path), 60)))
        if item.get_closest_marker("real_pages") and not pages.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"{NO_REAL_PAGES} {pages}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        forbid_skip(report, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    forbid_skip(report, collector.path)
    return report


def forbid_skip(report: pytest.TestReport | pytest.CollectReport, path: Path) -> None:
    """Turn a skip into a failure where none is allowed; missing real pages are the one exception."""
    if not report.skipped or os.environ.get(NO_SKIP) != "1" or folder_of(path) not in NEVER_SKIPPED:
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if NO_REAL_PAGES not in reason:
        report.outcome = "failed"
        report.longrepr = f"skipped, which {NO_SKIP}=1 forbids here: {reason}"


def folder_of(path: Path) -> str:
    """Top folder of a test file below tests/: unit, multiprocess, cluster or e2e."""
    parts = path.relative_to(ROOT / "tests").parts if path.is_relative_to(ROOT / "tests") else ()
    return parts[0] if parts else ""


def real_pages_folder() -> Path:
    """Folder that may hold real pages: REGIONSTACK_PAGES, or shared/pages beside the checkout."""
    return Path(os.environ.get("REGIONSTACK_PAGES") or ROOT.parent / "shared" / "pages")


@pytest.fixture
def real_pages() -> Path:
    """Folder of real page scans (images/, labels/{train,val,test}.txt); skips the test if there is none."""
    folder = real_pages_folder()
    if not folder.is_dir():
        pytest.skip(f"{NO_REAL_PAGES} {folder}")
    return folder


@pytest.fixture
def field_cases() -> Path:
    """Folder of files that broke earlier versions, shared/field_cases beside the checkout; skips without it."""
    folder = ROOT.parent / "shared" / "field_cases"
    if not folder.is_dir():
        pytest.skip(f"{NO_REAL_PAGES} {folder}")
    return folder
