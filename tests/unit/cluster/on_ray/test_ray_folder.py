"""A private Ray gets a folder that its sockets fit in and that this user can write."""

import os
import stat
from pathlib import Path

import pytest

from cluster.on_ray import ray_folder
from cluster.on_ray.ray_folder import SOCKET, SOCKET_PATH_BYTES, longest_folder, private_ray_folder, provide_token
from data_tools.errors import UserError


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of one's own, short enough whatever the test's folder is called."""
    place = tmp_path / "own"
    place.mkdir()
    monkeypatch.setattr(ray_folder, "OWN_PLACES", (str(place),))
    monkeypatch.setattr(ray_folder, "SOCKET_PATH_BYTES", len(str(place)) + len(SOCKET) + 30)
    monkeypatch.delenv("TMPDIR", raising=False)
    return place


def test_a_folder_that_fits_is_taken(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(own))
    assert private_ray_folder() == str(own / "ray")
    assert stat.S_IMODE((own / "ray").stat().st_mode) == 0o777, "every user of a host has sessions in it"


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
@pytest.mark.parametrize("wanted", ["l" * 60, "file/below", "/proc/none"])
def test_a_folder_that_does_not_do_is_replaced_with_one_line(
    own: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, wanted: str
) -> None:
    (own / "file").touch()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, str(own / wanted))
    found = Path(private_ray_folder())
    assert found.is_dir()
    assert found.is_relative_to(own)
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700, "nobody else may enter it"
    (line,) = caplog.messages
    assert line.startswith(f"{own / wanted}: ")
    assert str(found.parent) in line
    assert private_ray_folder() == str(found)


def test_a_link_of_another_user_in_the_place_is_not_followed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc/none")
    (own / "elsewhere").mkdir()
    (own / f"ray-{os.getuid()}").symlink_to("elsewhere")
    with pytest.raises(UserError, match="RAY_TMPDIR"):
        private_ray_folder()


def test_the_limit_leaves_room_for_rays_longest_socket() -> None:
    assert longest_folder() == SOCKET_PATH_BYTES - len("/ray") - len(SOCKET)
    assert len(f"{'f' * longest_folder()}/ray{SOCKET}") == SOCKET_PATH_BYTES


@pytest.mark.parametrize(
    ("home", "variables", "given"),
    [
        ("home", {}, False),  # Ray makes one there
        ("kept", {}, False),
        ("file/below", {}, True),
        ("file", {}, True),
        ("file", {"RAY_AUTH_TOKEN": "mine"}, False),
        ("file", {"RAY_AUTH_TOKEN_PATH": "/mine"}, False),
    ],
)
def test_without_a_home_ray_gets_a_token_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, variables: dict[str, str], given: bool
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "kept" / ".ray").mkdir(parents=True)
    (tmp_path / "kept" / ".ray" / "auth_token").write_text("kept")
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path / home), **variables})
    provide_token()
    assert (os.environ.get("RAY_AUTH_TOKEN") not in (None, "mine")) is given
