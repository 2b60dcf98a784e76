"""The reasons of refusals, in the code and in docs/serve.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import launch.service

DOCS = Path(__file__).parents[4] / "docs" / "serve.md"
PLACES = {"UploadError": 1, "Refusal": 1, "Rejection": 0, "_error": 1, "busy": 0, "Busy": None}
"""Position of the reason among the arguments of what makes a refusal; None: by name alone."""


def reasons_of(tree: ast.AST) -> Iterator[str]:
    """The literal reasons in a module."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            found = [
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "reason"
            ]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = PLACES.get(name, -1)
            if place is not None and 0 <= place < len(node.args):
                found = [node.args[place]]
            found += [word.value for word in node.keywords if word.arg == "reason"]
        yield from (one.value for one in found if isinstance(one, ast.Constant) and isinstance(one.value, str))


def test_the_documentation_lists_every_reason_and_no_other() -> None:
    modules = Path(launch.service.__file__).parent.glob("*.py")
    used = {reason for path in modules for reason in reasons_of(ast.parse(path.read_text()))}
    assert {"queue_full", "unsupported", "token", "parameter"} <= used
    rows = re.findall(r"^\| [1-9][\d, ]*\|(.*)\|$", DOCS.read_text(), re.MULTILINE)
    documented = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    assert documented == used
