"""The command in one process: outputs, statuses and messages, with a stand-in for the models."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_tools.errors import UserError
from launch.api import open_run
from launch.config import load_config, resolved
from launch.predict import run as module
from launch.predict.engine import Resources
from launch.predict.run import NONE_READ, SOME_REJECTED, Request, predict
from tests.helpers.commands import environment
from tests.helpers.parsed_page import Page
from trainer.serving.classify import FileOutputs, Group

STACK = {"members": ["holistic_32"], "class_ids": [0, 1], "method": "average"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run whose models find every page that exists dark, and break at interrupt.tif."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(resolved(load_config("demo"))))
    about = {
        "classes": [{"id": 0, "name": "dark"}, {"id": 1, "name": "light"}],
        "regions": {"holistic": [0.0, 0.0, 1.0, 1.0]}, "page": {"height": 32, "width": 32, "channels": 1},
        "shards": "shards", "labels": {},
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(about))
    softmax = np.array([[0.9, 0.1]], np.float32)

    def classify(groups: Iterable[Group]) -> Iterator[list[FileOutputs]]:
        for group in groups:
            if any(Path(str(path)).name == "interrupt.tif" for path in group):
                raise KeyboardInterrupt
            outputs = {"holistic_32": softmax, "stack": softmax}
            yield [
                FileOutputs(of=1, pages=[(1, None)], outputs=outputs)
                if Path(str(path)).exists()
                else FileOutputs(error="no such file")
                for path in group
            ]

    @contextmanager
    def engine(run: Any, resources: Any, *, on_pages: Any) -> Iterator[Any]:
        yield classify

    monkeypatch.setattr(module, "open_engine", engine)
    monkeypatch.setattr(module, "open_stack", lambda folder: type("Stack", (), {"members": ("holistic_32",)}))
    monkeypatch.setattr(module, "check_model", lambda folder, model: None)
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif", "interrupt.tif"):
        (tmp_path / name).write_bytes(b"page")
    return tmp_path


def request(*sources: str, **changes: Any) -> Request:
    return Request(run=Path("run"), sources=sources, **changes)


@pytest.mark.parametrize(
    ("sources", "status"),
    [(["a.tif", "b.tif"], 0), (["a.tif", "absent.tif"], SOME_REJECTED), (["absent.tif", "*.none"], NONE_READ)],
)
def test_the_status_says_what_was_read(place: Path, sources: list[str], status: int) -> None:
    assert predict(request(*sources, outputs={"jsonl": "out.jsonl"})) == status
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["source"] for line in lines] == sources, "a row for each, also where none was read"


def test_an_interrupt_before_the_first_answer_touches_no_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.csv").write_text("kept")
    assert predict(request("a.tif", "interrupt.tif", outputs={"csv": "out.csv", "json": "new.json"})) == 130
    assert Path("out.csv").read_text() == "kept"
    assert not Path("new.json").exists()
    printed = capsys.readouterr()
    assert "out.csv" not in printed.out
    assert "no file was written" in printed.err


def test_an_interrupt_after_a_group_leaves_valid_files_and_says_how_to_continue(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = ["a.tif"] * 64 + ["interrupt.tif"]
    assert predict(request(*sources, outputs={"json": "out.json"})) == 130
    assert len(json.loads(Path("out.json").read_text())["answers"]) == 64
    assert "--resume" in capsys.readouterr().err
    Path("interrupt.tif").rename("late.tif")
    assert predict(request(*sources[:-1], "late.tif", outputs={"json": "out.json"}, resume=True)) == 0
    assert len(json.loads(Path("out.json").read_text())["answers"]) == 65


@pytest.mark.parametrize("groups", [1, 2])
def test_an_interrupt_between_two_files_reports_what_each_holds(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    """The picture of a page takes long: the CSV has the group, and the HTML page has not."""
    shown = iter([False] * 64 * (groups - 1) + [True])

    def picture(answer: object, *, color: bool) -> None:
        if next(shown):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "picture_of_answer", picture)
    assert predict(request(*["a.tif"] * 200, outputs={"csv": "out.csv", "html": "out.html"})) == 130
    rows = Path("out.csv").read_text().count("\n") - 1
    assert rows == 64 * groups
    printed = capsys.readouterr()
    assert f"{rows} answered, 0 rejected" in printed.err
    assert "no file was written" not in printed.err
    lines = [line for line in printed.out.splitlines() if "out." in line]
    assert lines[0] == "csv: out.csv"
    assert lines[1:] == ["html: out.html (the first 64 answers)"] * (groups - 1)
    assert Path("out.html").exists() == (groups == 2)
    if groups == 2:
        assert "64 answered, 0 rejected" in Page(Path("out.html")).text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"outputs": {"csv": "out", "jsonl": "./out"}}, "out"),
        ({"outputs": {"csv": "-", "json": "/dev/stdout"}}, "standard output"),
        ({"outputs": {"csv": "-"}, "resume": True}, "standard output"),
        ({"resume": True}, "--csv"),
        ({"outputs": {"html": "out.html"}, "resume": True}, "--csv"),
    ],
)
def test_mistakes_in_the_outputs(place: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        predict(request("a.tif", **changes))
    assert not Path("out").exists()


def test_two_outputs_may_go_to_the_null_device(place: Path) -> None:
    assert predict(request("a.tif", outputs={"csv": "/dev/null", "jsonl": "/dev/null"})) == 0


def test_an_open_run_is_used_as_it_is(place: Path) -> None:
    opened = open_run("run")
    assert predict(Request(run=Path("elsewhere"), sources=["a.tif"]), run=opened) == 0


def test_a_host_that_does_not_see_the_pages_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "absolute", lambda path: Path("/other/host") / path)
    with pytest.raises(UserError, match=r"a\.tif"):
        predict(request("a.tif", resources=Resources(address="10.0.0.1:6379")))


@pytest.mark.parametrize(
    ("sources", "output"),
    [
        (["b.tif", "*.tif"], "a.tif"),
        (["a.tif"], "a.tif"),
        (["sub"], "sub/c.tif"),
        (["sub/*.tif"], "./sub/../sub/c.tif"),
        (["b.tif", "sub"], "link.csv"),
        (["@list.txt"], "list.txt"),
        (["@list.txt"], "a.tif"),
        (["linked.tif"], "a.tif"),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_an_output_never_replaces_a_source(place: Path, sources: list[str], output: str, resume: bool) -> None:
    Path("sub").mkdir()
    Path("sub/c.tif").write_bytes(b"page")
    Path("link.csv").symlink_to("sub/c.tif")
    Path("linked.tif").symlink_to("a.tif")
    Path("list.txt").write_text("a.tif\nb.tif\n")
    before = {path: path.read_bytes() for path in place.rglob("*.t*")}
    with pytest.raises(UserError, match="is also a source"):
        predict(request(*sources, outputs={"csv": output, "jsonl": "new.jsonl"}, resume=resume))
    assert {path: path.read_bytes() for path in place.rglob("*.t*")} == before
    assert not Path("new.jsonl").exists()


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\xd8\xff\xe0", b"BM", b"%PDF-1.7\n"])
def test_an_output_never_replaces_a_page(place: Path, content: bytes, resume: bool) -> None:
    """As `--csv *.tif`, where the shell's first match becomes the file to write, and no source."""
    Path("a.tif").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tif: is a page"):
        predict(request("b.tif", outputs={"csv": "a.tif"}, resume=resume))
    assert Path("a.tif").read_bytes() == content


def test_an_output_never_replaces_the_list_on_standard_input(place: Path) -> None:
    Path("list.txt").write_text("a.tif\n")
    script = (
        "from launch.predict.sources import find_sources\n"
        "from launch.predict.outputs import check_outputs\nfrom pathlib import Path\n"
        "check_outputs({'csv': Path('list.txt')}, find_sources(['-']), Path('run'), resume=False)"
    )
    with Path("list.txt").open() as stdin:
        ended = subprocess.run(
            [sys.executable, "-c", script], stdin=stdin, env=environment(), capture_output=True, text=True, check=False
        )
    assert "list.txt: is also a source" in ended.stderr


@pytest.mark.parametrize("output", ["run/run.json", "run/jobs/stack/result.json", "alias/config.yaml"])
def test_an_output_never_replaces_a_file_of_the_run(place: Path, output: str) -> None:
    Path("run/jobs/stack").mkdir(parents=True)
    Path("run/jobs/stack/result.json").write_text("{}")
    Path("alias").symlink_to("run")
    before = Path(output).read_bytes()
    with pytest.raises(UserError, match="run folder"):
        predict(request("a.tif", outputs={"json": output}))
    assert Path(output).read_bytes() == before


def test_a_new_file_may_lie_beside_the_sources_and_in_the_run_folder_and_is_resumed_there(place: Path) -> None:
    Path("other.csv").write_text("kept by nobody")
    for resume in (False, True):
        outputs = {"csv": "run/answers.csv", "jsonl": "answers.jsonl"}
        assert predict(request("a.tif", "b.tif", outputs=outputs, resume=resume)) == 0
    assert predict(request("a.tif", outputs={"csv": "other.csv"})) == 0
    assert Path("other.csv").read_text().startswith("source,")
