import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cluster.setup.horovod_target import GPU_LOCK, LOCK, pinned

ROOT = Path(__file__).parents[4]
OURS = {"data_tools", "trainer", "cluster", "launch", "tests", "bench"}
ELSEWHERE = ROOT / "bench" / "rivals.py"
"""Runs in an interpreter of its own, which has the packages that this project is measured against."""


def listed(lock: Path) -> list[Requirement]:
    """What the .in file beside a lock file asks for."""
    lines = lock.with_suffix(".in").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", [LOCK, GPU_LOCK], ids=lambda lock: lock.name)
def test_the_lock_file_pins_what_is_listed(lock: Path) -> None:
    for requirement in listed(lock):
        version, hashes = pinned(lock, plain(requirement.name))
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"
        assert hashes


@pytest.mark.parametrize("lock", [LOCK, GPU_LOCK], ids=lambda lock: lock.name)
def test_every_entry_has_hashes_and_names_no_place(lock: Path) -> None:
    text = lock.read_text()
    entries = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert entries == sorted(set(entries)), "one version of each package, for all supported Pythons"
    for entry in entries:
        assert pinned(lock, entry)[1], f"{entry} has no hash"
    for place in ("://", "file:", "--index-url", "--extra-index-url", "--find-links", " @ "):
        assert place not in text


def test_the_environment_is_the_locked_one() -> None:
    for requirement in listed(LOCK):
        version, _ = pinned(LOCK, plain(requirement.name))
        assert importlib.metadata.version(requirement.name) == version


def test_whatever_the_code_imports_is_listed() -> None:
    packages = importlib.metadata.packages_distributions()
    allowed = {plain(requirement.name) for requirement in listed(LOCK)} | {"horovod"}
    for folder in sorted(OURS):
        for path in set((ROOT / folder).rglob("*.py")) - {ELSEWHERE}:
            for module in imported(path):
                distributions = {plain(name) for name in packages.get(module, [module])}
                assert distributions & allowed, f"{path}: {module} is not in {LOCK.with_suffix('.in').name}"


def imported(path: Path) -> set[str]:
    """Top-level names of the other people's modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    helpers = {helper.stem for folder in ("tests", "bench") for helper in (ROOT / folder).rglob("*.py")}
    return names - OURS - helpers - sys.stdlib_module_names
