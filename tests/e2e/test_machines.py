"""Every command on machines as people have them: targets that cannot be written, a colleague's folders, odd outputs."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT, environment
from tests.helpers.unwritable import NAMESPACE, path_of, run_unprivileged

FEW = ("--train", "1", "--val", "1", "--test", "1")
FOLDERS = ("closed", "closed/new", "hidden", "hidden/new", "read_only/new", "read_only/deep/er/new", "file/new", "loop")
FOLDERS += ("long", "full/new")
FILES = (*(name for name in FOLDERS if name != "full/new"), "full/file", "read_only/file", "folder")
"""Names below the work folder that no folder, and no file, can be written to."""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    able = shutil.which("unshare") and shutil.which("setpriv")
    if not able or subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace of one's own here")


def commands_that_write(tiny: Path, run: Path, page: str) -> list[tuple[str, list[str]]]:
    """Each command with each target that it cannot write to: the target, and the arguments."""
    config, shards = ["--config", str(tiny)], str(tiny.parent / "shards")
    # An empty folder that cannot be written is replaced, where the folder above it can.
    table = [(name, ["draw", "--out", "@", *FEW]) for name in FOLDERS if name != "closed"]
    table += [(name, ["survey", *config, "--sample", "4", "--out", "@"]) for name in FOLDERS]
    table += [(name, ["convert", *config, "--set", "shards.folder=@"]) for name in FOLDERS]
    table += [(name, ["fetch", shards, "@"]) for name in FOLDERS]
    table += [(name, ["train", *config, "--stage", "holistic_16", "--set", "run.folder=@"]) for name in FOLDERS]
    table += [(name, ["train-all", *config, "--set", "run.folder=@"]) for name in FOLDERS if name != "full/new"]
    table += [(name, ["report", str(run), "--out", "@"]) for name in FOLDERS]
    table += [("closed/page.html", ["report", str(run), "--out", "@"])]
    table += [(name, ["predict", str(run), page, form, "@"]) for name in FILES for form in ("--csv", "--html")]
    table += [("full/file", ["predict", str(run), page, form, "@"]) for form in ("--json", "--jsonl")]
    table += [(name, ["compare", str(run), str(run), form, "@"]) for name in FILES for form in ("--json", "--html")]
    table += [(name, ["init", str(tiny.parent / "pages" / "images"), "--out", "@"]) for name in FILES]
    table += [(name, ["export", str(run), "--to", "@"]) for name in FOLDERS if name not in ("closed", "hidden")]
    # Opened by the command itself, not for writing.
    table += [("hidden", [name, "@"]) for name in ("status", "report", "evaluate", "export", "serve")]
    table += [("hidden", ["predict", "@", page]), ("hidden", ["evaluate", str(run), "--shards", "@"])]
    table += [("hidden", ["compare", str(run), "@"])]
    table += [("hidden", ["survey", *config, "--set", "data.root=@"])]
    table += [("hidden", [name, *config, "--set", "shards.folder=@"]) for name in ("verify", "doctor")]
    table += [("hidden/page.tif", ["draw", "--out", "@", *FEW]), ("hidden/my.yaml", ["plan", "--config", "@"])]
    return table


def test_a_target_that_cannot_be_written_is_one_line_that_names_it(tiny: Path, finished: Path, tmp_path: Path) -> None:
    page = str(next((tiny.parent / "pages" / "images" / "test").rglob("*.tif")))
    table = commands_that_write(tiny, finished, page)
    rows = []
    for place, (target, arguments) in enumerate(table):
        # The full file system keeps the folders of an earlier command.
        base, *below = target.replace("full/new", f"full/new-{place}").split("/")
        path = "/".join(["{" + base + "}", *below])
        rows.append([part.replace("@", path) for part in arguments])
    wrong = []
    for (target, arguments), (status, errors) in zip(table, run_unprivileged(rows, tmp_path), strict=True):
        lines = [line for line in errors.splitlines() if line.startswith("error: ")]
        named = str(path_of(target.split("/")[0], tmp_path))
        if status != 2 or len(lines) != 1 or named not in lines[0] or "Traceback" in errors:
            wrong.append((target, arguments[0], status, errors[-600:]))
    assert not wrong


def test_a_colleagues_shards_and_run_are_used_without_a_write(tiny: Path, finished: Path, tmp_path: Path) -> None:
    """The folders belong to another user where the tests may give them away, and are mounted read-only. A group shares
    what is made: its umask is 002."""
    theirs, work = tmp_path / "theirs", tmp_path / "work"
    work.mkdir()
    shutil.copytree(tiny.parent / "shards", theirs / "shards")
    shutil.copytree(tiny.parent / "pages", theirs / "pages")
    shutil.copytree(finished, theirs / "run")
    page = str(next((theirs / "pages" / "images" / "test").rglob("*.tif")))
    for path in (theirs, *theirs.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    run, mine = str(theirs / "run"), str(tmp_path / "mine")
    config = ["--config", str(tiny), "--set", f"shards.folder={theirs / 'shards'}"]
    rows = [
        ["convert", *config],
        ["verify", *config],
        ["train", *config, "--stage", "holistic_16", "--set", f"run.folder={mine}/run"],
        ["status", run],
        ["evaluate", run, "--shards", str(theirs / "shards")],
        ["predict", run, page, "--json", f"{mine}/page.json"],
        ["report", run, "--out", f"{mine}/report"],
        ["report", run, "--out", f"{mine}/page.html"],
        ["export", run, "--to", f"{mine}/export", "--shards", str(theirs / "shards")],
    ]
    before = os.umask(0o002)
    try:
        ended = run_unprivileged(rows, work, read_only=[theirs])
    finally:
        os.umask(before)
    assert [(row[0], status) for row, (status, _) in zip(rows, ended, strict=True)] == [(row[0], 0) for row in rows], (
        ended
    )
    assert {path.name for path in Path(mine).iterdir()} == {"run", "page.json", "report", "page.html", "export"}
    assert other_modes(Path(mine), 0o002) == {}
    assert {path.name for path in (Path(mine) / "report").iterdir()} == {"report.html", "metrics.json", "pictures"}


def test_all_files_of_a_run_follow_the_umask(finished: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert other_modes(finished, umask) == {}


def other_modes(folder: Path, umask: int) -> dict[str, str]:
    """What is in the folder with another mode than the umask gives."""
    expected = {True: 0o777 & ~umask, False: 0o666 & ~umask}
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    return {str(path): oct(mode) for path, mode in found.items() if mode != expected[path.is_dir()]}


def output(
    *arguments: str, status: int = 0, stdout: object = subprocess.PIPE, cwd: Path = ROOT, **variables: str
) -> tuple[str, str]:
    """What a command of its own process prints to stdout and stderr, of any bytes."""
    ended = subprocess.run(
        [sys.executable, "-m", "launch.cli", *arguments], cwd=cwd, env={**environment(), **variables}, check=False,
        stdout=stdout, stderr=subprocess.PIPE, timeout=240,
    )  # fmt: skip
    errors = ended.stderr.decode(errors="replace")
    assert ended.returncode == status, errors
    assert "Traceback" not in errors
    return (ended.stdout or b"").decode(errors="replace"), errors


def test_stdout_as_a_file_holds_that_file_alone(tiny: Path, finished: Path, tmp_path: Path) -> None:
    page = next((tiny.parent / "pages" / "images" / "test").rglob("*.tif"))
    printed, _ = output("predict", str(finished), str(page), "--json", "-")
    assert json.loads(printed)
    link = tmp_path / "link"
    link.symlink_to("/dev/stdout")
    with (tmp_path / "printed").open("wb") as file:
        output("predict", str(finished), str(page), "--json", str(link), stdout=file)
    assert json.loads((tmp_path / "printed").read_text()) == json.loads(printed)
    assert link.is_symlink()


def test_an_output_without_some_characters_gets_plain_ones(finished: Path, tiny: Path, tmp_path: Path) -> None:
    """Tables, notes and the names of pages; one name holds a letter of no such encoding, one a byte that is no text."""
    page = next((tiny.parent / "pages" / "images" / "test").rglob("*.tif"))
    shutil.copy(page, tmp_path / "頁.tif")
    no_page = os.fsdecode(b"\xff.tif")
    (tmp_path / no_page).write_text("this is no page")
    pages, ascii_only = ["頁.tif", no_page], {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    printed, errors = output("predict", str(finished), *pages, status=3, cwd=tmp_path, **ascii_only)
    assert "\\xff.tif" in printed + errors
    for encoding in ("ascii", "latin-1:strict"):
        output("status", str(finished), PYTHONIOENCODING=encoding, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C")
