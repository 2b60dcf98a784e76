"""Files of answers: complete after every write, cut and continued to the same bytes."""

import contextlib
import csv
import errno
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from data_tools.documents.regions import WHOLE_PAGE, Box
from data_tools.errors import UserError
from launch.predict import html_form
from launch.predict.forms import About, Counts, CsvForm, Form, JsonForm, JsonLinesForm
from launch.predict.html_form import HtmlForm
from launch.predict.line_file import LineFile
from launch.predict.resume import resume
from launch.predict.sources import Source, groups_of
from tests.helpers.parsed_page import Page
from trainer.serving.answer import Answer, Place, answer_of, json_schema, rejected

NAMES = ["letter", "memo"]
FILES = ["=a.tif", "b.tif", "c.pdf", "c.tif", *(f"{number}.tif" for number in range(70)), "none.tif"]


def answer(path: str, page: int | None = 1, *, decision: str | None = "accepted") -> Answer:
    share = (len(path) + (page or 0)) % 10 / 10
    row = np.array([share, 1 - share], np.float32)
    return answer_of(Place(path, page), {"holistic": row, "left": row[::-1], "stack": row}, NAMES, decision=decision)


def answers(group: Sequence[Source]) -> list[Answer]:
    """A PDF has three pages, c.tif two, none.tif cannot be read; page 2 of the PDF is damaged."""
    found: list[Answer] = []
    for source in group:
        if source.path == "c.pdf":
            found += [answer("c.pdf", 1), rejected(Place("c.pdf", 2), "damaged"), answer("c.pdf", 3)]
            found += [answer("c.pdf", None, decision="review")]
        elif source.path == "c.tif":
            found += [answer("c.tif", 1), answer("c.tif", 2), answer("c.tif", None)]
        elif source.path == "none.tif":
            found.append(rejected(Place("none.tif", None), "no such file"))
        else:
            found.append(answer(source.path))
    return found


def form_of(kind: str, about: About) -> Form:
    if kind == "html":
        return HtmlForm("my", NAMES, {"holistic": WHOLE_PAGE}, lambda answer: None)
    return {"csv": CsvForm, "jsonl": JsonLinesForm, "json": JsonForm}[kind](about)  # type: ignore[abstract]


KINDS = ("csv", "jsonl", "json", "html")


@pytest.fixture
def write(tmp_path: Path, about: About) -> Callable[..., dict[str, bytes]]:
    """Write the groups from `--resume`'s position up to `until`; the files' bytes by kind."""

    def write(
        folder: str, *, until: int | None = None, resumes: bool = False, kinds: Sequence[str] = KINDS
    ) -> dict[str, bytes]:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        groups = groups_of([Source(path) for path in FILES])
        files = [LineFile(place / f"out.{kind}", form_of(kind, about)) for kind in kinds]
        position = resume(files, groups) if resumes else None
        for group in groups[position.groups if position else 0 : until]:
            for file in files:
                file.write(answers(group))
        for file in files:
            file.close(complete=until is None)
        return {kind: (place / f"out.{kind}").read_bytes() for kind in kinds}

    return write


def test_interrupted_files_are_usable_and_resume_to_the_same_bytes(
    tmp_path: Path, write: Callable[..., dict[str, bytes]]
) -> None:
    whole = write("whole")
    groups = groups_of([Source(path) for path in FILES])
    assert [len(group) for group in groups] == [2, 1, 64, 8]
    for until in range(len(groups)):
        cut = write(f"cut{until}", until=until) if until else {}
        if cut:
            rows = sum(len(answers(group)) for group in groups[:until])
            assert len(json.loads(cut["json"])["answers"]) == rows
            assert len(list(csv.DictReader(cut["csv"].decode().splitlines()))) == rows
            assert "All answers" in Page(tmp_path / f"cut{until}" / "out.html").text
        assert write(f"cut{until}", resumes=True) == whole, until
    assert write("whole", resumes=True) == whole, "nothing was left"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_a_file_that_ends_anywhere_is_continued(
    tmp_path: Path, write: Callable[..., dict[str, bytes]], kind: str
) -> None:
    """As after a power cut: any prefix of the file, in any of the formats, beside complete others."""
    others = KINDS[:3]
    whole = write("whole", kinds=others)
    end, middle = len(whole[kind]), len(whole[kind]) // 2
    for size in (*range(0, end, end // 5), *range(middle, middle + 200, 40), end - 3, end - 1):
        path = tmp_path / "whole" / f"out.{kind}"
        path.write_bytes(whole[kind][:size])
        assert write("whole", resumes=True, kinds=others) == whole, size


def test_the_files_say_the_same(write: Callable[..., dict[str, bytes]]) -> None:
    whole = write("whole")
    rows = list(csv.DictReader(whole["csv"].decode().splitlines()))
    lines = [json.loads(line) for line in whole["jsonl"].splitlines()]
    assert json.loads(whole["json"])["answers"] == lines
    assert json.loads(whole["json"])["classes"] == [{"id": 0, "name": "letter"}, {"id": 7, "name": "memo"}]
    for line, row in zip(lines, rows, strict=True):
        jsonschema.validate(line, json_schema())
        assert (line["class"] or "", line["decision"] or "") == (row["class"], row["decision"])
        assert row["source"] in (line["source"], f"./{line['source']}")
    assert [line["page"] for line in lines if line["source"] == "c.pdf"] == [1, 2, 3, None]


@pytest.mark.parametrize(
    ("sources", "named"),
    [(["=a.tif", "x.tif", "c.pdf"], "x.tif"), (["=a.tif"], "given"), (["b.tif", "=a.tif", "c.pdf"], "order")],
)
def test_other_sources_are_refused(
    tmp_path: Path, about: About, write: Callable[..., dict[str, bytes]], sources: list[str], named: str
) -> None:
    write("whole")
    file = LineFile(tmp_path / "whole" / "out.csv", CsvForm(about))
    with pytest.raises(UserError, match=named):
        resume([file], groups_of([Source(path) for path in sources]))


def test_a_file_of_another_run_or_of_other_options_is_refused(
    tmp_path: Path, write: Callable[..., dict[str, bytes]]
) -> None:
    before = write("whole")
    other = About(run="other", classes=[(0, "letter")], members=["top"], probabilities=True)
    for kind in ("csv", "json"):
        path = tmp_path / "whole" / f"out.{kind}"
        with pytest.raises(UserError, match=str(path)):
            resume([LineFile(path, form_of(kind, other))], groups_of([Source(path) for path in FILES]))
        assert path.read_bytes() == before[kind]


def test_a_page_alone_cannot_be_resumed(tmp_path: Path, about: About) -> None:
    with pytest.raises(UserError, match="--csv"):
        resume([LineFile(tmp_path / "out.html", form_of("html", about))], [])
    with pytest.raises(UserError, match="--csv"):
        resume([], [])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe"):
        resume([LineFile(tmp_path / "pipe", CsvForm(about))], [])


def test_nothing_is_touched_before_the_first_answer(tmp_path: Path, about: About) -> None:
    path = tmp_path / "out.csv"
    path.write_text("kept")
    LineFile(path, CsvForm(about)).close(complete=False)
    assert path.read_text() == "kept"


def test_a_write_that_fails_leaves_the_old_file_and_names_it(
    tmp_path: Path, about: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("kept")
    write, room = os.write, 10

    def full(descriptor: int, content: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, content[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space") as caught, LineFile(path, CsvForm(about)) as file:
        file.write([answer("a.tif")])
    assert caught.value.filename == str(path)
    assert path.read_text() == "kept"
    assert [found.name for found in tmp_path.iterdir()] == ["out.csv"]

    with pytest.raises(OSError, match="No space"), LineFile(path, CsvForm(about)) as file:
        room = 10**6
        file.write([answer("a.tif")])
        complete = path.read_bytes()
        room = 10
        file.write([answer("b.tif")])
    assert path.read_bytes() == complete, "complete lines"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "before", "held"),
    # The first group takes a write and a renaming, the second one a write.
    [("write", True, [0, 1]), ("write", False, [0, 1]), ("replace", True, [1]), ("replace", False, [1])],
)
def test_an_interrupt_anywhere_leaves_a_file_that_holds_what_it_counts(
    tmp_path: Path, about: About, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, before: bool, held: list[int]
) -> None:
    """The interrupt comes before or after the system call in which each group is written."""
    owner = os if name == "write" else Path
    real = getattr(owner, name)
    for groups in held:
        path, calls = tmp_path / f"{groups}.{kind}", iter([False] * groups * (name == "write") + [True])

        def interrupted(*arguments: object, calls: Iterator[bool] = calls) -> object:
            now = next(calls, False)
            if now and before:
                raise KeyboardInterrupt
            result = real(*arguments)
            if now:
                raise KeyboardInterrupt
            return result

        with LineFile(path, form_of(kind, about)) as file:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(owner, name, interrupted)
                file.write([answer("a.tif"), answer("b.tif")])
                file.write([answer("c.tif")])
            with contextlib.suppress(OSError):  # the renaming has taken place
                file.close(complete=False)
            assert file.counts.total == 2 * groups
        assert path.exists() == bool(groups)
        if groups:
            assert written_rows(kind, path) == 2
        assert [found.name for found in tmp_path.iterdir()] == [path.name] * bool(groups)
        path.unlink(missing_ok=True)


def written_rows(kind: str, path: Path) -> int:
    text = path.read_text()
    if kind == "html":
        counted = re.search(r"(\d+) answered, 0 rejected, \1 accepted. Shown above: \1\.", Page(path).text)
        assert counted, Page(path).text
        return int(counted[1])
    if kind == "csv":
        return len(list(csv.DictReader(text.splitlines())))
    return len(json.loads(text)["answers"] if kind == "json" else [json.loads(line) for line in text.splitlines()])


def test_a_pipe_is_written_to_and_a_link_stays_one(tmp_path: Path, about: About) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    for name in ("pipe", "link.csv"):
        file = LineFile(tmp_path / name, CsvForm(about))
        file.write([answer("a.tif")])
        file.close(complete=True)
    reader.join()
    assert (tmp_path / "link.csv").is_symlink()
    assert read == [(tmp_path / "target.csv").read_text()]


def test_the_page_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_form, "FIRST", 3)
    monkeypatch.setattr(html_form, "MORE", 2)
    form = HtmlForm("<my>", ["a<b", "memo"], {"holistic": WHOLE_PAGE, "top": Box(0, 0, 1, 0.5)}, lambda answer: None)
    row = np.array([0.9, 0.1], np.float32)
    lines, counts = [], Counts()
    for number in range(40):
        decision = "review" if number % 10 == 9 else "accepted"
        one = answer_of(Place(f"<{number}>.tif"), {"top": row, "stack": row}, ["a<b", "memo"], decision=decision)
        lines.append(form.line(one, number))
        counts.add(rejected=False, decision=decision)
    assert [number for number, line in enumerate(lines) if line] == [0, 1, 2, 9, 19]
    assert not any("\n" in line for line in lines)
    (tmp_path / "page.html").write_text(form.head() + "\n".join(lines) + "\n" + form.tail(counts))
    page = Page(tmp_path / "page.html")
    assert not page.open
    assert not page.loads
    assert "<0>.tif" in page.text
    assert "a<b" in page.text
    assert "<29>.tif" not in page.text
    assert "Shown above: 5" in page.text
    assert "36 accepted" in page.text
