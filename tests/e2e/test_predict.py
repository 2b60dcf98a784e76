"""`regionstack predict` as a process: sources, statuses, an interrupt in the middle, and its continuation."""

import csv
import json
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.commands import ROOT, environment, heed_interrupts
from tests.helpers.hand_pdf import document
from tests.helpers.untrained_run import make_run, make_shards

FILES = 4 * 64 + 10
COMMAND = [sys.executable, "-m", "launch.cli", "predict"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a run, `run`, and pages of all gray levels in `in`; two are damaged, two are documents."""
    place = tmp_path_factory.mktemp("predict")
    make_run(make_shards(place))
    (place / "in").mkdir()
    for number in range(FILES):
        Image.new("L", (40, 52), number % 256).save(place / "in" / f"{number:03}.png")
    (place / "in" / "007.png").write_bytes(b"")
    (place / "in" / "200.png").write_bytes((place / "in" / "200.png").read_bytes()[:60])
    (place / "in" / "150.png").unlink()
    (place / "in" / "150.pdf").write_bytes(document(3))
    (place / "in" / "151.png").unlink()
    first, *others = [Image.new("L", (40, 52), level) for level in (20, 200)]
    first.save(place / "in" / "151.tif", save_all=True, append_images=others)
    return place


def rows_of(number: int) -> list[tuple[str, str, str]]:
    """Source, kind and page of the rows about file `number`."""
    if number in (150, 151):
        name, pages = ("in/150.pdf", 3) if number == 150 else ("in/151.tif", 2)
        return [*((name, "page", str(page)) for page in range(1, pages + 1)), (name, "document", "")]
    # An empty file cannot be opened; of a damaged one, the page cannot be decoded.
    kind, page = ("document", "") if number == 7 else ("page", "1")
    return [(f"in/{number:03}.png", kind, page)]


def predict(place: Path, *arguments: str, status: int = 0) -> bytes:
    """The command in folder `place`; its standard output."""
    ended = subprocess.run(
        [*COMMAND, "run", *arguments], cwd=place, env=environment(), capture_output=True, check=False,
        timeout=200,
    )  # fmt: skip
    assert ended.returncode == status, ended.stderr.decode()
    return ended.stdout


@pytest.fixture(scope="module")
def whole(place: Path) -> dict[str, bytes]:
    """What an uninterrupted call writes."""
    outputs = ["--csv", "whole.csv", "--json", "whole.json", "--html", "whole.html"]
    predict(place, "in", *outputs, "--all", status=3)
    return {kind: (place / f"whole.{kind}").read_bytes() for kind in ("csv", "json", "html")}


def test_every_input_has_a_row_in_order(whole: dict[str, bytes]) -> None:
    rows = list(csv.DictReader(whole["csv"].decode().splitlines()))
    expected = [row for number in range(FILES) for row in rows_of(number)]
    assert [(row["source"], row["kind"], row["page"]) for row in rows] == expected
    assert [row["source"] for row in rows if row["error"]] == ["in/007.png", "in/200.png"]
    answers = json.loads(whole["json"])["answers"]
    assert [answer["class"] or "" for answer in answers] == [row["class"] for row in rows]
    for answer, row in zip(answers, rows, strict=True):
        if not answer["error"]:
            assert sum(answer["probabilities"]["stack"].values()) == pytest.approx(1, abs=1e-5)
            assert float(row["confidence"]) == max(answer["probabilities"]["stack"].values())
    assert b"data:image/png" in whole["html"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_in_the_middle_and_its_continuation(
    place: Path, whole: dict[str, bytes], number: signal.Signals
) -> None:
    """A pipe that nobody reads holds the command after some of its groups."""
    fifo = place / f"pipe{number}"
    os.mkfifo(fifo)
    outputs = ["--csv", f"cut{number}.csv", "--json", f"cut{number}.json", "--html", f"cut{number}.html", "--all"]
    command = [*COMMAND, "run", "in", *outputs, "--jsonl", str(fifo)]
    with (
        subprocess.Popen(command, cwd=place, env=environment(), preexec_fn=heed_interrupts) as running,
        fifo.open() as pipe,
    ):
        taken = [json.loads(line)["source"] for line in islice(pipe, 100)]
        assert taken == [f"in/{at:03}.png" for at in range(100)]
        running.send_signal(number)
        assert running.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    held = (place / f"cut{number}.csv").read_bytes()
    assert held.endswith(b"\n")
    assert whole["csv"].startswith(held)
    assert 64 < held.count(b"\n") < FILES
    if number == signal.SIGINT:
        rows = len(json.loads((place / f"cut{number}.json").read_text())["answers"])
        assert rows in (held.count(b"\n") - 1, held.count(b"\n") - 65), "complete groups, and a valid file"
    predict(place, "in", *outputs, "--resume", status=3)
    for kind, content in whole.items():
        assert (place / f"cut{number}.{kind}").read_bytes() == content, kind


def test_the_commands_of_its_page(place: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "my").symlink_to(place / "run")
    (tmp_path / "scans").mkdir()
    for number in range(3):
        Image.new("L", (40, 52), 60 * number).save(tmp_path / "scans" / f"{number}.png")
    for name in ("page.tif", "scans/3.tif"):
        Image.new("L", (40, 52), 250).save(tmp_path / name)
    (tmp_path / "contract.pdf").write_bytes(document(3))
    block = (ROOT / "docs" / "predict.md").read_text().partition("```bash\n")[2].partition("```")[0]
    printed = [bash(line, tmp_path) for line in block.splitlines()]
    assert "page.tif" in printed[0]
    assert "contract.pdf" in (tmp_path / "answers.html").read_text()
    sources = sorted(json.loads(line)["source"] for line in printed[3].splitlines())
    assert sources == ["scans/0.png", "scans/1.png", "scans/2.png"]
    rows = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    assert len(rows) == 4, "each page once, after --resume too"


def bash(line: str, folder: Path) -> str:
    """Standard output of a command line in `folder`."""
    ended = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment(), text=True, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_status_when_nothing_can_be_read(place: Path) -> None:
    output = predict(place, "absent.tif", "in/*.none", "--csv", "-", status=2)
    assert len(list(csv.DictReader(output.decode().splitlines()))) == 2, "also where nothing could be read"
