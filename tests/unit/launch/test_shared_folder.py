"""How relative paths are resolved when `ray submit` starts train_all.py in a folder that no other host sees."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.train_all import SHARED, enter_shared_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which `ray submit` puts only the program."""
    (tmp_path / "home").mkdir()
    (tmp_path / "shared").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def test_without_a_shared_folder_nothing_changes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHARED, raising=False)
    assert enter_shared_folder("my.yaml") == "my.yaml"
    assert Path.cwd() == home


@pytest.mark.parametrize("config", ["demo", "my.yaml", "configs/my.yaml"])
def test_relative_paths_are_resolved_in_the_shared_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    monkeypatch.setenv(SHARED, str(home.parent / "shared"))
    assert enter_shared_folder(config) == config
    assert Path.cwd() == home.parent / "shared"
    assert f"{home.parent}/shared" in capsys.readouterr().out


def test_a_configuration_beside_the_program_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "my.yaml").touch()
    monkeypatch.setenv(SHARED, str(home.parent / "shared"))
    assert enter_shared_folder("my.yaml") == str(home / "my.yaml")


def test_a_missing_shared_folder_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARED, "/no/such/folder")
    with pytest.raises(
        UserError, match=r"^/no/such/folder \(REGIONSTACK_SHARED\): the shared folder cannot be entered"
    ):
        enter_shared_folder("demo")
