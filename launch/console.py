"""What all commands share: options, output, and errors as one line with an exit status."""

import argparse
import logging
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console

from data_tools.errors import UserError

USER_ERROR = 2
"""Exit status after a UserError."""
INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM (128 + SIGINT)."""
PLAIN_WIDTH = 120
HELP_WIDTH = 110
"""Characters per line of tables without a terminal, and of help texts at most."""

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
    """Add `--config` and `--set`, the same in every command."""
    parser.add_argument(
        "--config",
        required=required,
        metavar="FILE|PRESET",
        help="YAML file, or the name of a preset: demo, rvl_cdip, das2018",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, as in stages.regions.epochs=3; repeatable",
    )


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


def interrupt_on_sigterm() -> None:
    """Make SIGTERM end a command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def guarded(command: Callable[[], int]) -> int:
    """Run a command. A UserError prints one line and returns 2; Ctrl-C or SIGTERM returns 130."""
    # The level is set on the handler, since a job's log records more than a terminal shows.
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    logging.basicConfig(format="%(levelname)s %(message)s", handlers=[terminal])
    interrupt_on_sigterm()
    try:
        return command()
    except UserError as error:
        print_err(f"error: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        print_err("interrupted; run the same command again to resume")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) has exited, which is not an error of this command.
        sys.stderr.close()
        return 0
