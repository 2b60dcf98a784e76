"""`regionstack predict`: every source to its answers, written as they come."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console

from data_tools.documents.document import MAX_PAGES
from data_tools.errors import UserError
from launch.api import Run, open_run
from launch.predict.answers import Judgement
from launch.predict.engine import Resources, open_engine
from launch.predict.forms import About, Counts, CsvForm, Form, JsonForm, JsonLinesForm
from launch.predict.html_form import HtmlForm, picture_of_answer
from launch.predict.line_file import LineFile
from launch.predict.outputs import check_outputs
from launch.predict.resume import Position, resume
from launch.predict.sources import Source, Sources, find_sources, groups_of
from launch.predict.table import AnswerTable
from launch.terminal.console import INTERRUPTED, USER_ERROR, print_err, print_out
from launch.terminal.outputs import is_stdout, output_files
from launch.terminal.page_progress import PageProgress
from trainer.config import STACK
from trainer.scoring.decision import read_policy
from trainer.serving.answer import Answer, Place, rejected
from trainer.serving.classify import FileOutputs, Group
from trainer.serving.ensemble import check_model, open_stack

SOME_REJECTED = 3
NONE_READ = USER_ERROR
"""Exit statuses."""

NO_FILE = "no such file"
"""How the reason begins with which `data_tools.documents` rejects a missing file."""

OUTPUTS = ("csv", "jsonl", "json", "html")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `predict` was asked for. outputs: file names by kind (`OUTPUTS`), `-` for standard output.

    model: what answers, the stack or a student.
    """

    run: Path
    sources: Sequence[str]
    outputs: dict[str, str] = field(default_factory=dict)
    model: str = STACK
    probabilities: bool = False
    resume: bool = False
    resources: Resources = field(default_factory=Resources)


def predict(request: Request, *, run: Run | None = None) -> int:
    """Classify everything that was asked for; the exit status: 0, or 3 if some and 2 if all of it was rejected.

    run: that of the request, if it is open, with its models. An interrupt leaves files with complete lines and gives
    130.

    Raises:
        UserError: the run is not finished, a list or a file to resume cannot be used, or an output would replace a
            source or a file of the run.
    """
    run = run or open_run(request.run, model=request.model)
    check_model(run.folder, run.model)
    if request.resume and any(map(is_stdout, request.outputs.values())):
        raise UserError("--resume: standard output cannot be read back; name a file")
    sources = find_sources(request.sources)
    if sources.skipped:
        print_err(f"{sources.skipped} other files in the folders are no pages and were left out")
    with output_files(*(request.outputs.get(kind) for kind in OUTPUTS)) as paths:
        given = {kind: path for kind, path in zip(OUTPUTS, paths, strict=True) if path is not None}
        check_outputs(given, sources, run.folder, resume=request.resume)
        return _Prediction(request, run, sources, given).run()


class _Prediction:
    """One call of `predict`."""

    def __init__(self, request: Request, run: Run, sources: Sources, paths: dict[str, Path]) -> None:
        self._request, self._run = request, run
        self._members = list(open_stack(run.folder).members) if run.model == STACK else []
        self._groups = groups_of(sources.files)
        self._files = [LineFile(path, self._form(kind)) for kind, path in paths.items()]
        self._position = resume(self._files, self._groups) if request.resume else Position()
        self._counts = self._position.counts
        if self._position.groups:
            print_err(f"{self._counts.total} answers are there already; continuing after them")
        self._left_out = 0
        self._table = AnswerTable(self._members, only_few=bool(paths))
        policy = read_policy(run.folder, run.model)
        self._judgement = Judgement(run.class_names, policy)
        if policy is None:
            print_err(f"{run.folder}: an older run without calibration; confidences are the models' own")

    def _form(self, kind: str) -> Form:
        run = self._run
        if kind == "html":
            picture = partial(picture_of_answer, color=run.record.shape[2] == 3)
            return HtmlForm(run.folder.resolve().name, run.class_names, run.record.boxes, picture)
        about = About(
            run=run.folder.resolve().name,
            classes=list(zip(run.class_ids, run.class_names, strict=True)),
            members=self._members,
            probabilities=self._request.probabilities,
            model=run.model,
        )
        forms: dict[str, type[CsvForm | JsonLinesForm]] = {"csv": CsvForm, "jsonl": JsonLinesForm, "json": JsonForm}
        return forms[kind](about)

    def run(self) -> int:
        """Classify the groups that are left; the exit status."""
        complete = False
        with ExitStack() as stack:
            for file in self._files:
                stack.enter_context(file)
            try:
                self._classify(self._groups[self._position.groups :])
                complete = True
            except KeyboardInterrupt:
                print_err("interrupted")
            finally:
                for file in self._files:
                    # What stopped the command matters more than a file that cannot be ended.
                    with nullcontext() if complete else suppress(OSError):
                        file.close(complete=complete)
        return self._report(complete)

    def _classify(self, groups: Sequence[Sequence[Source]]) -> None:
        if not groups:
            return
        with ExitStack() as stack:
            progress = _Progress(self._counts.total, sum(map(len, groups)), shown=bool(self._files))
            engine = stack.enter_context(open_engine(self._run, self._request.resources, on_pages=progress.computed))
            stack.enter_context(progress)
            for group, outputs in zip(groups, engine(map(_payload, groups)), strict=True):
                answers = self._answers(group, outputs)
                for file in self._files:
                    file.write(answers)
                self._counts = self._counts.plus(answers)
                self._table.add(answers)
                progress.written(len(group), self._counts)
        self._table.close()

    def _answers(self, group: Sequence[Source], outputs: Iterable[FileOutputs]) -> list[Answer]:
        found, answers = iter(outputs), list[Answer]()
        for source in group:
            if source.error is not None:
                answers.append(rejected(Place(source.path, None), source.error))
                continue
            file = next(found)
            absent = file.error is not None and file.error.startswith(NO_FILE)
            if absent and self._request.resources.on_ray and Path(source.path).exists():
                raise UserError(
                    f"{source.path}: a host of the cluster does not see it; use storage that all hosts mount"
                )
            self._left_out += file.left_out
            answers += self._judgement.answers(source.path, file)
        return answers

    def _report(self, complete: bool) -> int:
        # An interrupt may have come when some files had the answers of a group, and others had not.
        counts = max([self._counts, *(file.counts for file in self._files)], key=lambda one: one.total)
        if not complete and counts.total == 0:
            print_err("no file was written" if self._files else "no page was classified")
            return INTERRUPTED
        decided = "".join(f", {number} {decision}" for decision, number in sorted(counts.decisions.items()))
        print_err(f"{counts.answered} answered{decided}, {counts.rejected} rejected")
        if self._left_out:
            print_err(f"{self._left_out} pages of documents of more than {MAX_PAGES} pages were left out")
        for file in self._files:
            if complete or file.counts.total:
                behind = "" if file.counts.total == counts.total else f" (the first {file.counts.total} answers)"
                print_out(f"{file.form.kind}: {file.path}{behind}")
        if not complete:
            print_err("the files are usable; the same command with --resume continues them" if self._files else "")
            return INTERRUPTED
        if counts.answered == 0:
            return NONE_READ
        return SOME_REJECTED if counts.rejected else 0


def _payload(group: Sequence[Source]) -> Group:
    # Processes on other hosts have another working folder.
    return tuple(str(Path(source.path).absolute()) for source in group if source.error is None)


class _Progress:
    """Pages done, their rate and the time left, on standard error; a file counts as one page until it is read."""

    def __init__(self, done: int, files: int, *, shown: bool) -> None:
        self._before, self._done, self._files = done, done, files
        self._within = 0
        self._rejected = 0
        self._shown = PageProgress("classifying", console=Console(stderr=True, highlight=False)) if shown else None

    def computed(self, pages: int) -> None:
        """Count pages of the group at hand."""
        self._within += pages
        self._update()

    def written(self, files: int, counts: Counts) -> None:
        """Count a complete group."""
        self._done, self._within, self._rejected = counts.total, 0, counts.rejected
        self._files -= files
        self._update()

    def _update(self) -> None:
        if self._shown is not None:
            done = self._done - self._before + self._within
            self._shown.update(done, max(self._done - self._before + self._files, done), self._rejected)

    def __enter__(self) -> "_Progress":
        if self._shown is not None:
            self._shown.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown is not None:
            self._shown.__exit__(*error)  # type: ignore[arg-type]
