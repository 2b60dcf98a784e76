"""The built wheel in a clean virtual environment without Horovod, away from the checkout.

The environment takes its dependencies from the locked one, through a .pth file, and hides Horovod, so the test costs
seconds; `pip install .` itself resolves the same requirements, which `tests/unit/cluster/setup/test_lock.py` compares.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT

PACKAGES = ("data_tools", "trainer", "cluster", "launch")
HIDE_HOROVOD = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "horovod":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(out), str(source))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` folder of a virtual environment with the wheel and everything that it depends on, but no Horovod."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (site / "sitecustomize.py").write_text(HIDE_HOROVOD)
    python = str(folder / "bin" / "python")
    pip("--python", python, "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    return folder / "bin"


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True, cwd="/")


def call(installed: Path, *arguments: str, here: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [installed / "regionstack", *arguments],
        cwd=here,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == status, ended.stderr
    return ended


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    aside = ("Dockerfile", "Dockerfile.dockerignore")  # needed in a checkout only
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {
        str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts and path.name not in aside
    }
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_commands_work_without_horovod(installed: Path, tiny: Path, finished: Path, tmp_path: Path) -> None:
    page = next(tiny.parent.rglob("*.tif"))
    assert "train-all" in call(installed, "--help", here=tmp_path).stdout
    where = subprocess.run(
        [installed / "python", "-c", "import launch; print(launch.__file__)"],
        env={}, cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(installed.parent)), "not the checkout"
    call(installed, "survey", "--config", str(tiny), "--out", "survey", here=tmp_path)
    assert (tmp_path / "survey" / "survey.html").exists()
    call(installed, "convert", "--config", str(tiny), "--set", f"shards.folder={tmp_path}/shards", here=tmp_path)
    assert (tmp_path / "shards" / "train" / "holistic" / "manifest.json").exists()
    call(installed, "predict", str(finished), str(page), "--html", "page.html", "--json", "page.json", here=tmp_path)
    assert (tmp_path / "page.html").exists()
    assert (tmp_path / "page.json").exists()


def test_training_without_horovod_is_refused_in_one_line(installed: Path, tiny: Path, tmp_path: Path) -> None:
    ended = call(installed, "train-all", "--config", str(tiny), "--set", "run.folder=run", here=tmp_path, status=2)
    (line,) = ended.stderr.splitlines()
    assert "cluster.setup.horovod_wheel --install" in line
