"""Lines for people: one line each, whatever the names of files hold."""

import pytest

from data_tools.errors import ErrorList, UserError
from launch.terminal.console import USER_ERROR, guarded, print_note

NAME, SHOWN = "a\x1b[31m\nb\udcff.tif", r"a\x1b[31m\nb\xff.tif"


def test_names_in_notes_and_errors_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        print_note(f"{NAME} is no page – Größe 3")
        raise UserError(f"{NAME}: rename it")

    assert guarded(command) == USER_ERROR
    assert capsys.readouterr() == (f"note: {SHOWN} is no page – Größe 3\n", f"error: {SHOWN}: rename it\n")


def test_a_list_of_errors_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise ErrorList("two failed\n  a\x1b\n  b")

    assert guarded(command) == USER_ERROR
    assert capsys.readouterr().err == "error: two failed\n  a\\x1b\n  b\n"
