"""Files of a run folder, read while a run writes them: what is damaged is a line for a person, never an end."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def read_text(path: Path, problems: list[str]) -> str:
    """The text of a file; empty where there is none. What cannot be read is added to `problems`."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: cannot be read ({error})")
        return ""


def parse_yaml(text: str, path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The mapping in `text`, the content of `path`; empty where it holds none."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        problems.append(f"{path.name}: not valid YAML")
        return {}
    return value if isinstance(value, dict) else {}


def read_json(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The object of a JSON file; empty where there is none."""
    text = read_text(path, problems)
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        problems.append(f"{path.parent.name}/{path.name}: not valid JSON")
        return {}
    return value if isinstance(value, dict) else {}


def read_json_lines(path: Path, problems: list[str]) -> list[Mapping[str, Any]]:
    """The objects of a JSON-lines file; an unfinished last line is normal, another bad one is a problem."""
    text = read_text(path, problems)
    values: list[Mapping[str, Any]] = []
    damaged = 0
    for line in text[: text.rfind("\n") + 1].splitlines():
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError:
            damaged += 1
            continue
        if isinstance(value, dict):
            values.append(value)
    if damaged:
        problems.append(f"{path.parent.name}/{path.name}: {damaged} damaged line(s) left out")
    return values
