import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cluster.setup.horovod_target import LOCK, pinned
from cluster.setup.lock import LOCKED, RUNTIME, beyond, declared
from data_tools.errors import UserError

ROOT = Path(__file__).parents[4]
PRODUCT = ("data_tools", "trainer", "cluster", "launch")
CHECKED = ("tests", "bench")
OPTIONAL = ("pdf", "serve", "onnx", "mlflow")
"""Extras whose packages are imported where they are used."""
ELSEWHERE = ROOT / "bench" / "rivals.py"
"""Runs in an interpreter of its own, which has the packages that this project is measured against."""


def requirements(*groups: str) -> list[Requirement]:
    return [Requirement(line) for group in groups for line in declared(group)]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKED, ids=lambda lock: lock.name)
def test_the_lock_file_pins_what_setup_cfg_declares(lock: Path) -> None:
    for requirement in requirements(*LOCKED[lock]):
        # What the first lock pins, every environment has.
        place = lock if f"\n{plain(requirement.name)}==" in lock.read_text() else LOCK
        version, hashes = pinned(place, plain(requirement.name))
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"
        assert hashes


def test_every_runtime_dependency_has_a_lower_and_an_upper_bound() -> None:
    for requirement in requirements(RUNTIME):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, f"{requirement}: wants both bounds"


@pytest.mark.parametrize("lock", LOCKED, ids=lambda lock: lock.name)
def test_every_entry_has_hashes_and_names_no_place(lock: Path) -> None:
    text = lock.read_text()
    entries = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert entries == sorted(set(entries)), "one version of each package, for all supported Pythons"
    for entry in entries:
        assert pinned(lock, entry)[1], f"{entry} has no hash"
    for place in ("://", "file:", "--index-url", "--extra-index-url", "--find-links", " @ "):
        assert place not in text


def test_the_environment_is_the_locked_one() -> None:
    installed = {plain(each.name): each.version for each in importlib.metadata.distributions()}
    text = LOCK.read_text() + LOCK.with_name("requirements-test.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    shared = installed.keys() & locked.keys()
    assert {plain(each.name) for each in requirements(RUNTIME, "horovod", "test")} <= shared
    assert {name: installed[name] for name in shared} == {name: locked[name] for name in shared}


@pytest.mark.parametrize(
    ("folders", "groups"),
    [(PRODUCT, [RUNTIME, *OPTIONAL]), (CHECKED, [RUNTIME, *OPTIONAL, "horovod", "test"])],
    ids=["product", "tests"],
)
def test_whatever_the_code_imports_is_declared(folders: tuple[str, ...], groups: list[str]) -> None:
    packages = importlib.metadata.packages_distributions()
    allowed = {plain(requirement.name) for requirement in requirements(*groups)} | {"horovod"}
    for folder in folders:
        for path in set((ROOT / folder).rglob("*.py")) - {ELSEWHERE}:
            for module in imported(path):
                distributions = {plain(name) for name in packages.get(module, [module])}
                assert distributions & allowed, f"{path}: setup.cfg does not declare {module} in {groups}"


def test_every_runtime_dependency_is_imported() -> None:
    modules = {module for folder in PRODUCT for path in (ROOT / folder).rglob("*.py") for module in imported(path)}
    packages = importlib.metadata.packages_distributions()
    used = {plain(name) for module in modules for name in packages.get(module, [])}
    assert {plain(each.name) for each in requirements(RUNTIME)} <= used


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_all_lock_files_fit_together_and_repeat_nothing_of_the_first() -> None:
    together: dict[str, str] = {}
    for lock in LOCKED:
        for name, version in pins(lock).items():
            assert together.setdefault(name, version) == version, f"{lock.name}: {name} {version}"
        assert lock == LOCK or beyond(LOCK.read_text(), lock.read_text()) == lock.read_text().partition("\n")[2]


def test_no_tool_of_the_tests_is_locked_for_run_time() -> None:
    tests_only = {plain(each.name) for each in requirements("test")} - {
        plain(each.name) for each in requirements(RUNTIME)
    }
    assert {"pytest", "mypy", "ruff", "hypothesis", "playwright"} <= tests_only
    # What TensorFlow and Ray need themselves.
    assert pins(LOCK).keys() & tests_only == {"h5py", "jsonschema", "packaging"}


def entry(name: str, marker: str = "") -> str:
    return f"{name}==1.0{marker and ' ; '}{marker} \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


def test_a_lock_holds_what_the_first_one_lacks() -> None:
    base = "# made\n" + entry("a") + entry("b", "sys_platform == 'win32'") + entry("c", "python_version < '3.12'")
    more = [entry("b"), entry("d"), entry("e-f", "sys_platform == 'linux'")]
    # The first one has b on Windows alone.
    assert beyond(base, "# made\n" + entry("a") + "".join(more) + entry("c", "python_version < '3.12'")) == "".join(
        more
    )
    assert beyond("", base) == base.removeprefix("# made\n")


def test_a_group_that_setup_cfg_lacks_is_one_line() -> None:
    with pytest.raises(UserError, match=r"setup\.cfg: no wings in \[options\.extras_require\]"):
        declared("wings")


def imported(path: Path) -> set[str]:
    """Top-level names of third-party modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    helpers = {helper.stem for folder in CHECKED for helper in (ROOT / folder).rglob("*.py")}
    return names - {*PRODUCT, *CHECKED} - helpers - sys.stdlib_module_names
