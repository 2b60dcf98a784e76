"""What all commands share: options, output, and errors as one line with an exit status."""

import argparse
import errno
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console

from data_tools.errors import ErrorList, UserError, storage_problem
from data_tools.plain_text import plain_output, printable

USER_ERROR = 2
"""Exit status after a UserError."""
INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM (128 + SIGINT)."""
PLAIN_WIDTH = 120
HELP_WIDTH = 110
"""Characters per line of tables without a terminal, and of help texts at most."""

DISTILL_EXAMPLES = """  regionstack distill runs/my
  regionstack distill runs/my --pool scans/ 'more/**/*.pdf' --temperature 3 --epochs 10
  regionstack distill runs/my --set distill.start=weights --set cluster.slots=4
with several workers, without Ray:
  horovodrun -np 4 python launch/distill.py runs/my
then:
  regionstack predict runs/my page.tif --model distilled
  regionstack export runs/my --model distilled"""

Handler = Callable[[argparse.Namespace], int]


class Commands(Protocol):
    """What `ArgumentParser.add_subparsers` returns; argparse has no public name for it."""

    def add_parser(self, *arguments: Any, **options: Any) -> argparse.ArgumentParser:
        """Add a command by its name."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps line breaks, puts options in two columns, and uses the same width on every terminal that has it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(HELP_WIDTH, shutil.get_terminal_size().columns))

    def add_argument(self, action: argparse.Action) -> None:
        """Reserve room for the indent of command names, which argparse leaves out when it measures them."""
        super().add_argument(action)
        if action.nargs == argparse.PARSER:
            self._action_max_length += 2


def command(commands: Commands, name: str, handler: Handler, *, about: str, examples: str) -> argparse.ArgumentParser:
    """Add a command with its one-line description and examples; `handler` runs it and returns the exit status."""
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def add_config_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--config` and `--set`, the same in every command.

    required: a command without `--config` takes the default one (`launch.startup`); otherwise it has none.
    """
    default = " (default: $REGIONSTACK_CONFIG, regionstack.yaml, or demo)" if required else ""
    parser.add_argument(
        "--config",
        metavar="FILE|PRESET",
        help=f"YAML file, or the name of a preset: demo, small_data, rvl_cdip, rvl_cdip_best, das2018{default}",
    )
    parser.set_defaults(needs_config=required)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, as in stages.regions.epochs=3; repeatable",
    )


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `regionstack train` and `launch/train.py`."""
    add_config_options(parser)
    parser.add_argument("--stage", help="name of a stage in the configuration (default: all that is left to train)")
    parser.add_argument("--region", help="region, if the stage trains one model for each")


def add_distill_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `regionstack distill` and `launch/distill.py`."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--pool", nargs="+", default=[], metavar="SOURCE",
        help="also learn from unlabelled pages: image files and documents, folders (searched recursively), globs, "
        "@FILE (a list, one path a line)",
    )  # fmt: skip
    parser.add_argument("--shards", metavar="DIR", help="the shards of the run, if they were moved")
    parser.add_argument("--temperature", metavar="T", help="of teacher and student in the loss (default: 2)")
    parser.add_argument("--alpha", metavar="SHARE", help="weight of the teacher in the loss, 0 to 1; the labels have "
                        "the rest (default: 0.7)")  # fmt: skip
    parser.add_argument("--epochs", metavar="N", help="epochs (default: as many as the whole-page model had)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="override one setting of distill, cluster or checkpoint; repeatable",
    )  # fmt: skip


def tables() -> Console:
    """Console for tables: as wide as the terminal, and `PLAIN_WIDTH` without one (a log, a pipe)."""
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)


def print_out(line: str) -> None:
    """Print one line of output to stdout, flushed."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_err(line: str) -> None:
    """Print one line that is not part of the output to stderr, flushed."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def print_note(text: str) -> None:
    """Print `text` to stdout as one line that begins with `note:`; what is not printable in it is escaped."""
    print_out(printable(f"note: {text}"))


class TerminalLog(logging.StreamHandler[TextIO]):
    """Log records on standard error as it is at that moment: a live view puts what is printed meanwhile above it."""

    @property
    def stream(self) -> TextIO:
        """Standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Ignore the stream that the base class chooses once."""


def interrupt_on_sigterm() -> None:
    """Make SIGTERM end a command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def guarded(command: Callable[[], int]) -> int:
    """Run a command; its exit status.

    A UserError prints one line and returns 2, and so does a path that cannot be written or read, in whatever part of
    the command; Ctrl-C or SIGTERM returns 130.
    """
    plain_output()
    # The level is set on the handler, since a job's log records more than a terminal shows.
    terminal = TerminalLog()
    terminal.setLevel(logging.WARNING)
    logging.basicConfig(format="%(levelname)s %(message)s", handlers=[terminal])
    interrupt_on_sigterm()
    try:
        return _flushed(command)
    except UserError as error:
        return _failed(error)
    except KeyboardInterrupt:
        print_err("interrupted; run the same command again to resume")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) has exited, which is not an error of this command.
        _discard_output()
        return 0
    except OSError as error:
        problem = _path_problem(error)
        if problem is None:
            raise
        return _failed(problem)


def _flushed(command: Callable[[], int]) -> int:
    """Run the command, or argparse's exit, and flush what it printed while errors can still be reported."""
    try:
        return command()
    finally:
        sys.stdout.flush()


def _path_problem(error: OSError) -> UserError | None:
    """The user's line; None for what may be a bug: other errors, a missing file, or a failed call without a path."""
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        # Files are written by functions that name them, so this is the output itself.
        _discard_output()
        return UserError("standard output: no space left on device; make room, then run the same command again")
    if error.filename is None and error.errno == errno.ENOENT and "temporary directory" in str(error.strerror):
        # tempfile's own error; it lists the folders that it has tried.
        return UserError(f"TMPDIR: {str(error.strerror).lower()}; set it to a folder that this user can write")
    if error.filename is None and error.errno == errno.ENOENT and not _has_working_folder():
        return UserError("the working folder was deleted; change to another one, then run the same command again")
    if error.filename is None or error.errno == errno.ENOENT:
        return None
    return storage_problem(error)


def _has_working_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _discard_output() -> None:
    """Let stdout lead nowhere: the interpreter flushes at its exit what could not be written, and would fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _failed(error: UserError) -> int:
    # The lines of a list are its own; in any other text, a line break is part of a name.
    lines = str(error).split("\n") if isinstance(error, ErrorList) else [str(error)]
    print_err("error: " + "\n".join(map(printable, lines)))
    return USER_ERROR
