"""The console of progress: live on a terminal that can draw, plain lines on anything else."""

import os
import sys

from rich.console import Console

DUMB = ("dumb", "unknown", "")
OFF = ("", "0", "false", "no")


def progress_console() -> Console:
    """A console for standard output; `is_terminal` says whether it may be drawn on.

    Plain are a file, a pipe, a terminal without cursor movement (TERM=dumb), and a log of continuous integration (CI),
    whatever FORCE_COLOR says about colors.
    """
    live = draws(sys.stdout.isatty(), term=os.environ.get("TERM", ""), ci=os.environ.get("CI", ""))
    return Console(highlight=False, soft_wrap=True, force_terminal=live, force_interactive=live)


def draws(terminal: bool, *, term: str, ci: str) -> bool:
    """Whether the cursor can be moved. term, ci: the environment variables of these names."""
    return terminal and term.lower() not in DUMB and ci.lower() in OFF
