"""What all commands share: options, one line to the person, and errors as one line with an exit status."""

import argparse
import logging
import shutil
import signal
import sys
from collections.abc import Callable
from typing import TypeAlias

from rich.console import Console

from data_tools.errors import UserError

USER_ERROR = 2
PLAIN_WIDTH = 120
HELP_WIDTH = 110
INTERRUPTED = 130


Handler = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Text as it is written, options in two columns, the same width for every terminal that has it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(HELP_WIDTH, shutil.get_terminal_size().columns))

    def add_argument(self, action: argparse.Action) -> None:
        """Leave room for the names of commands, which argparse measures without the indent that it gives them."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2


def command(
    commands: Commands,
    name: str,
    handler: Handler,
    *,
    about: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Add a command with its help and examples, and what runs it."""
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
    """`--config` and `--set`, the same in every command."""
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
        help="one setting on top of the file, as stages.regions.epochs=3; may be repeated",
    )


def tables() -> Console:
    """Where tables are printed: as wide as the terminal, and wide enough where there is none (a log, a pipe)."""
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)


def print_out(line: str) -> None:
    """One line to the person at the terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_err(line: str) -> None:
    """One line beside the output proper, on stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def interrupt_on_sigterm() -> None:
    """Let SIGTERM end a command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def guarded(command: Callable[[], int]) -> int:
    """Run a command; a UserError becomes one line on stderr and status 2, Ctrl-C or SIGTERM status 130."""
    # The level stands on the handler: a job's log wants more than a terminal does.
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    logging.basicConfig(format="%(levelname)s %(message)s", handlers=[terminal])
    interrupt_on_sigterm()
    try:
        return command()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return USER_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to go on\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone; that is no error of ours.
        sys.stderr.close()
        return 0
