"""Which configuration a command takes, and where relative paths are resolved, on a cluster and elsewhere."""

import argparse
from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch import train, train_all
from launch.cli import main
from launch.config import Config
from launch.startup import CONFIG, CONFIG_FILE, SHARED, default_config, settle


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which `ray submit` puts only the program; `shared` lies beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "shared").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.delenv(SHARED, raising=False)
    monkeypatch.delenv(CONFIG, raising=False)
    return tmp_path / "home"


def settled(**options: object) -> tuple[argparse.Namespace, list[str]]:
    """The options after `settle`, and what it said."""
    namespace, said = argparse.Namespace(**options), list[str]()
    settle(namespace, say=said.append)
    return namespace, said


def test_without_a_shared_folder_nothing_changes(home: Path) -> None:
    (home / "runs").mkdir()
    options, said = settled(run="runs")
    assert options.run == "runs"
    assert (Path.cwd(), said) == (home, [])


@pytest.mark.parametrize("run", ["runs/my", "demo", ""])
def test_relative_paths_are_resolved_in_the_shared_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    monkeypatch.setenv(SHARED, str(home.parent / "shared"))
    options, said = settled(run=run)
    assert options.run == run
    assert Path.cwd() == home.parent / "shared"
    assert str(home.parent / "shared") in said[0]


def test_what_is_read_and_lies_beside_the_program_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("my.yaml", "page.tif", "demo"):
        (home / name).touch() if "." in name else (home / name).mkdir()
    monkeypatch.setenv(SHARED, str(home.parent / "shared"))
    options, _ = settled(config="my.yaml", pages=["page.tif", "other.tif"], run=None, split="page.tif")
    assert options.config == str(home / "my.yaml")
    assert options.pages == [str(home / "page.tif"), "other.tif"]
    assert options.split == "page.tif", "no path"
    monkeypatch.chdir(home)
    assert settled(config="demo")[0].config == "demo", "the preset, also beside a folder of that name"


def test_a_working_folder_on_the_shared_storage_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.parent / "shared" / "mine").mkdir()
    monkeypatch.chdir(home.parent / "shared" / "mine")
    monkeypatch.setenv(SHARED, str(home.parent / "shared"))
    assert settled(run="runs/my")[0].run == "runs/my"
    assert Path.cwd() == home.parent / "shared" / "mine"


@pytest.mark.parametrize("shared", ["/no/such/folder"])
def test_a_missing_shared_folder_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch, shared: str) -> None:
    monkeypatch.setenv(SHARED, shared)
    with pytest.raises(UserError, match=rf"{shared} \({SHARED}\)"):
        settled(run="runs/my")


@pytest.mark.parametrize(
    ("there", "variable", "expected"),
    [
        ([], None, "demo"),
        ([f"shared/{CONFIG_FILE}"], None, f"shared/{CONFIG_FILE}"),
        ([f"home/{CONFIG_FILE}", f"shared/{CONFIG_FILE}"], None, f"home/{CONFIG_FILE}"),
        ([f"home/{CONFIG_FILE}", "home/mine.yaml"], "mine.yaml", "home/mine.yaml"),
        ([f"home/{CONFIG_FILE}", "shared/mine.yaml"], "mine.yaml", "shared/mine.yaml"),
        ([f"home/{CONFIG_FILE}"], "rvl_cdip", "rvl_cdip"),
        ([f"home/{CONFIG_FILE}"], "", f"home/{CONFIG_FILE}"),
    ],
)
def test_the_default_configuration(
    home: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], variable: str | None, expected: str
) -> None:
    for name in there:
        (home.parent / name).touch()
    if variable is not None:
        monkeypatch.setenv(CONFIG, variable)
    found, _ = default_config(home, home.parent / "shared")
    assert found == (str(home.parent / expected) if "/" in expected else expected)


def test_a_variable_that_names_nothing_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG, "gone.yaml")
    (home / CONFIG_FILE).touch()
    with pytest.raises(UserError, match=f"{CONFIG}: gone.yaml"):
        default_config(home, None)


@pytest.mark.parametrize("program", ["train_all", "train"])
def test_the_literal_commands_take_the_default_and_say_which(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    """`train_all.py` and `train.py` without any argument."""
    taken: list[Config] = []
    monkeypatch.setattr(train_all, "train_all", lambda config: taken.append(config) or 0)
    monkeypatch.setattr(train, "train_recipe", lambda config: taken.append(config) or 0)
    monkeypatch.setenv(SHARED, str(home.parent / "shared"))
    module = {"train_all": train_all, "train": train}[program]
    assert module.main([]) == 0
    (home.parent / "shared" / CONFIG_FILE).write_text("preset: demo\nseed: 7\n")
    monkeypatch.chdir(home)
    assert module.main([]) == 0
    assert [config.seed for config in taken] == [1, 7]
    first, second = capsys.readouterr().out.splitlines()
    assert "demo" in first
    assert str(home.parent / "shared" / CONFIG_FILE) in second


def test_commands_look_for_a_run_in_the_shared_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.parent / "shared" / "runs" / "my").mkdir(parents=True)
    monkeypatch.setenv(SHARED, str(home.parent / "shared"))
    seen: list[bool] = []
    monkeypatch.setattr("launch.commands.score.evaluate", lambda run, **_: seen.append(run.is_dir()) or 0)
    assert main(["evaluate", "runs/my"]) == 0
    assert seen == [True]
