"""Shards from fsspec's file systems (memory, HTTP): complete or absent, every byte verified."""

import contextlib
import functools
import http.server
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.errors import UserError
from data_tools.shards.fetch import fetch
from data_tools.shards.index import INDEX
from data_tools.shards.manifest import MANIFEST
from data_tools.shards.reader import ShardSet
from data_tools.shards.verify import check
from tests.helpers.conversions import files
from tests.helpers.synthetic_pages import made_data

SHARD = "train/holistic/shard-00000-of-00002.tfrecord"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sets, converted."""
    folder = tmp_path_factory.mktemp("local")
    convert(
        made_data(folder), ShardConfig(folder=str(folder / "s"), height=16, width=12), regions={}, seed=1, workers=1
    )
    return folder / "s"


@pytest.fixture
def bucket(local: Path, request: pytest.FixtureRequest) -> str:
    """The same sets where no path leads."""
    url = f"memory://{request.node.name}/shards"
    for path in local.rglob("*"):
        if path.is_file() and path.parent != local:
            put(f"{url}/{path.relative_to(local)}", path.read_bytes())
    return url


def put(url: str, content: bytes) -> None:
    with fsspec.open(url, "wb") as file:
        file.write(content)


def sets(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if "/" in name}


def test_all_sets_arrive(local: Path, bucket: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    names = fetch(f"{bucket}/", tmp_path / "s", progress=lambda *now: seen.append(now))
    assert names == ["test/holistic", "train/holistic", "val/holistic"]
    assert sets(tmp_path / "s") == sets(local)
    assert seen[-1] == (63, 63, 0)
    for name in names:
        assert check(tmp_path / "s" / name, deep=True) == []
    places = np.arange(40)
    there, here = (ShardSet.open(folder / "train" / "holistic").gather(places) for folder in (local, tmp_path / "s"))
    assert np.array_equal(there, here)


def test_a_file_that_arrives_corrupt_never_gets_its_name(local: Path, bucket: str, tmp_path: Path) -> None:
    content = bytearray((local / SHARD).read_bytes())
    content[1000] ^= 1
    put(f"{bucket}/{SHARD}", bytes(content))
    with pytest.raises(UserError, match=r"shard-00000-of-00002.tfrecord: differs from its manifest"):
        fetch(bucket, tmp_path / "s")
    assert not (tmp_path / "s" / SHARD).exists()
    assert not (tmp_path / "s" / "train" / "holistic" / MANIFEST).exists()
    put(f"{bucket}/{SHARD}", (local / SHARD).read_bytes())
    fetch(bucket, tmp_path / "s")
    assert sets(tmp_path / "s") == sets(local)


def test_the_same_call_resumes(local: Path, bucket: str, tmp_path: Path) -> None:
    fetch(bucket, tmp_path / "s")
    for path in (tmp_path / "s").rglob(MANIFEST):
        path.unlink()
    (tmp_path / "s" / "val" / "holistic" / INDEX).write_bytes(b"half")
    # What is here already is not read again: it is no longer there to be read.
    fsspec.filesystem("memory").rm(f"{bucket}/{SHARD}")
    fetch(bucket, tmp_path / "s")
    assert sets(tmp_path / "s") == sets(local)


KILLED = """
import os, signal, sys
from pathlib import Path
import data_tools.shards.fetch as fetch
fetch.checksum = lambda chunk, before: os.kill(os.getpid(), signal.SIGKILL)
fetch.fetch(sys.argv[1], Path(sys.argv[2]))
"""


def test_a_killed_fetch_resumes(local: Path, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(local), str(tmp_path / "s")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "s").glob("*/*/.unfinished-*-*")), "no copy was under way"
    fetch(str(local), tmp_path / "s")
    assert sets(tmp_path / "s") == sets(local)


def test_another_set_in_the_folder_is_refused(bucket: str, tmp_path: Path) -> None:
    fetch(bucket, tmp_path / "s")
    manifest = tmp_path / "s" / "val" / "holistic" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(UserError, match="holds a different set than"):
        fetch(bucket, tmp_path / "s")


def test_a_manifest_that_leads_out_of_the_folder_is_refused(bucket: str, local: Path, tmp_path: Path) -> None:
    text = (local / "val" / "holistic" / MANIFEST).read_text()
    put(f"{bucket}/val/holistic/{MANIFEST}", text.replace("shard-00000", "../shard-00000").encode())
    with pytest.raises(UserError, match="refused"):
        fetch(bucket, tmp_path / "s")
    assert not list(tmp_path.rglob("shard-*"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("memory://nothing/here", "not found"),
        ("file:///etc", "no shard sets found"),
        ("nosuch://bucket/shards", "nosuch:// cannot be opened here"),
        ("http://127.0.0.1:1/shards", "http://127.0.0.1:1/shards: cannot be read"),
        ("/no/such/folder", "not found"),
    ],
)
def test_nothing_to_fetch(tmp_path: Path, url: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        fetch(url, tmp_path / "s")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the standard library's web server lists and gives the files of a folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_sets_arrive_from_a_web_server(local: Path, tmp_path: Path) -> None:
    with served(local.parent) as address:
        assert fetch(f"{address}/{local.name}", tmp_path / "s") == ["test/holistic", "train/holistic", "val/holistic"]
    assert sets(tmp_path / "s") == sets(local)


def test_a_server_that_goes_away_leaves_nothing_complete_and_the_same_call_resumes(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = http.server.SimpleHTTPRequestHandler.copyfile

    def cut(handler: Any, source: Any, out: Any) -> None:
        if handler.path.endswith(SHARD.rpartition("/")[2]):
            out.write(source.read(100))
            handler.connection.close()
        else:
            whole(handler, source, out)

    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "copyfile", cut)
    with served(local.parent) as address:
        with pytest.raises(UserError, match="cannot be read"):
            fetch(f"{address}/{local.name}", tmp_path / "s")
        assert not (tmp_path / "s" / SHARD).exists()
        assert not (tmp_path / "s" / "train" / "holistic" / MANIFEST).exists()
        monkeypatch.undo()
        fetch(f"{address}/{local.name}", tmp_path / "s")
    assert sets(tmp_path / "s") == sets(local)


def test_a_full_disk_is_not_taken_for_a_fault_of_the_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        if "shard-" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_tools.shards.fetch.os.fsync", full)
    with pytest.raises(UserError, match=f"{tmp_path}.*No space left on device; fix it"):
        fetch(bucket, tmp_path / "s")
