"""Conversion under faults: decoders that crash or hang, SIGKILL of the converter; the bytes must not change."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from data_tools.conversion.convert import DataConfig
from data_tools.shards.reader import ShardSet
from data_tools.shards.verify import check
from tests.helpers.commands import heed_interrupts
from tests.helpers.conversions import SETS, files, real_data, rejected, run
from tests.helpers.synthetic_documents import made_documents
from tests.helpers.synthetic_pages import data_config, made_data

FAULTS = """
import os, signal, time
import data_tools.documents.document as documents
real = documents.read_file
def read_file(path):
    content = real(path)
    text = bytes(content[:200])
    if text.startswith(b"segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if text.startswith(b"hang"):
        while True:
            time.sleep(1)
    if text.startswith(b"exit"):
        os._exit(3)
    if text.startswith(b"memory"):
        try:
            bytearray(64 * 2**30)
        except MemoryError:
            raise documents.PageError("needs too much memory") from None
    if text.startswith(b"once"):
        if not os.path.exists(text.split()[1]):
            open(text.split()[1], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        content = content[200:]
    return content
documents.read_file = read_file
"""


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes in which certain pages crash, hang or exhaust the decoder."""
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "faults"), str(Path(__file__).parents[2])]))


@pytest.mark.usefixtures("faults")
def test_pages_that_kill_the_decoder_are_rejected(tmp_path: Path) -> None:
    made_data(tmp_path)
    deadly = {
        "crash.tif": (b"segfault", "the decoder died of SIGSEGV"),
        "hang.tif": (b"hang", "took longer than 1 s"),
        "exit.tif": (b"exit", "the decoder ended its process (status 3)"),
        "memory.tif": (b"memory", "needs too much memory"),
    }
    with (tmp_path / "train.txt").open("a") as file:
        for name, (content, _) in deadly.items():
            (tmp_path / "pages" / name).write_bytes(content)
            file.write(f"{name} 3\n")
    # A kill from outside while an intact page is decoded: that page must not be lost.
    innocent = tmp_path / "pages" / "images" / "train" / "0.tif"
    marker = tmp_path / "killed"
    innocent.write_bytes(f"once {marker} ".encode().ljust(200) + innocent.read_bytes())
    summary = run(data_config(tmp_path, max_rejected=4.0), tmp_path / "s", page_timeout_s=1.0)
    assert rejected(tmp_path / "s") == {name: reason for name, (_, reason) in deadly.items()}
    assert summary.rejected == 4
    assert marker.exists(), "the kill from outside did not happen"
    assert "images/train/0.tif" in ShardSet.open(tmp_path / "s" / "train" / "top").ids
    for name in SETS:
        assert check(tmp_path / "s" / name, deep=True) == []


PROGRAM = """
import json, signal, sys
from data_tools.conversion.convert import *
from data_tools.documents.regions import PRESETS
arguments = json.loads(sys.argv[1])
shards = ShardConfig(folder=arguments["folder"], height=64, width=64, encoding="png", shard_mib=1)
data = DataConfig(**arguments["data"])
try:
    convert(data, shards, regions=PRESETS["halves"], seed=1, workers=2, progress=lambda *now: print(*now, flush=True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(data: DataConfig, folder: Path) -> subprocess.Popen[str]:
    arguments = json.dumps({"data": asdict(data), "folder": str(folder)})
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, arguments], stdout=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )


def kill_at(
    process: subprocess.Popen[str], share: float, seconds: float, *, number: signal.Signals
) -> tuple[int, bool]:
    """Send the signal `number` to a conversion during its work.

    The kill comes `seconds` after `share` of the pages that were left at its start are done. Returns how many pages
    an earlier run had left to it, and whether the kill hit it before its end.
    """
    assert process.stdout is not None
    begun = None
    for line in process.stdout:
        done, pages, _ = map(int, line.split())
        begun = done if begun is None else begun
        if done >= begun + share * (pages - begun):
            break
    if begun is None:
        # The previous kill came after the last page: there was no progress left to report.
        process.stdout.close()
        assert process.wait() == 0, "the conversion failed by itself"
        return 0, False
    time.sleep(seconds)  # Moves the kill away from the progress line; nothing is waited for.
    workers = children(process.pid)
    process.send_signal(number)
    process.stdout.read()
    process.stdout.close()
    status = process.wait()
    assert all(gone(pid) for pid in workers)
    assert status in (0, -number, 130), "the conversion failed by itself"
    return begun, status != 0


def children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def check_kills(data: DataConfig, folder: Path, kills: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Interrupt conversions `kills` times, then let the last finish: the bytes must equal those of an undisturbed one.

    A conversion that finishes before its kill does not count, but is compared, too; the next one starts anew.
    """
    undisturbed = folder / "undisturbed"
    assert start(data, undisturbed).wait() == 0
    expected = files(undisturbed)
    moments = random.Random(1)
    hits, continued, folders = 0, 0, 1
    while hits < kills:
        killed = folder / f"killed-{folders}"
        begun, hit = kill_at(start(data, killed), moments.uniform(0, 0.5), moments.uniform(0, 0.1), number=number)
        continued += begun > 0
        if hit:
            hits += 1
            check_unfinished(killed)
        else:
            assert files(killed) == expected
            folders += 1
    assert continued, "no conversion had anything of an earlier one to continue with"
    last = start(data, folder / f"killed-{folders}")
    assert last.communicate(timeout=600) and last.returncode == 0
    assert files(folder / f"killed-{folders}") == expected


def check_unfinished(killed: Path) -> None:
    """No shard of a set without manifest may carry a final name."""
    unfinished = [path for path in killed.rglob("*.tfrecord") if not (path.parent / "manifest.json").exists()]
    assert all("unfinished" in str(path.relative_to(killed)) for path in unfinished)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_interrupted_at_random_moments(tmp_path: Path, number: signal.Signals) -> None:
    check_kills(made_data(tmp_path, counts={"train": 300, "val": 40, "test": 40}), tmp_path, 4, number)


def test_documents_killed_at_random_moments(tmp_path: Path) -> None:
    counts = {"train": 90, "val": 18, "test": 18}
    check_kills(made_documents(tmp_path, counts=counts, each=5, pages="all"), tmp_path, 3)


@pytest.mark.real_pages
def test_twenty_sigkills_on_real_pages(tmp_path: Path, real_pages: Path) -> None:
    check_kills(real_data(real_pages), tmp_path, kills=20)


def gone(pid: int) -> bool:
    """Whether a process ends within a minute, as a worker must after its parent was killed."""
    for _ in range(1200):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
                time.sleep(0.05)
                continue
        return True
    return False
