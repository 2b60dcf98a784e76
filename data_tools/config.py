"""Configuration as data: strict conversion between YAML mappings and frozen dataclasses."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from data_tools.errors import UserError
from data_tools.files import read_json_object

T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file with the safe loader.

    Raises:
        UserError: the file is missing, is not valid YAML, or does not hold a mapping.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML: {problem}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping of settings at the top level, found {type(value).__name__}")
    return value


def from_mapping(cls: type[T], mapping: Mapping[str, Any], *, where: str) -> T:
    """Build the dataclass `cls` from `mapping`; `where` is the dotted key of the mapping.

    Raises:
        UserError: an unknown or missing key, a value of the wrong type, or a number that is not finite; the text names
            the dotted key.
    """
    if not isinstance(mapping, Mapping):
        raise UserError(f"{where}: expected a mapping, found {mapping!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise UserError(unknown_key(f"{where}.{key}" if where else str(key), str(key), list(fields)))
    values = {}
    for name, field in fields.items():
        dotted = f"{where}.{name}" if where else name
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], dotted)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{dotted}: this setting has no default and must be given")
    try:
        made = cls(**values)
    except UserError as error:
        raise UserError(f"{where}.{error}" if where else str(error)) from None
    for name, value in values.items():
        _check_finite(value, f"{where}.{name}" if where else name)
    return made


def _check_finite(value: Any, dotted: str) -> None:
    """Check the numbers in a converted value; those of a dataclass are checked already."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{dotted}: expected a finite number, found {value}")
    if isinstance(value, tuple):
        for place, item in enumerate(value):
            _check_finite(item, f"{dotted}[{place}]")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_finite(item, f"{dotted}.{key}")


def read_record(cls: type[T], path: Path, *, advice: str) -> T:
    """The dataclass `cls` from the JSON object in `path`.

    Raises:
        UserError: as `from_mapping`, or the file is missing or not JSON; the text ends with `advice`.
    """
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    required = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    value = read_json_object(path, dict.fromkeys(required, object), advice=advice)
    try:
        return from_mapping(cls, value, where=str(path))
    except UserError as error:
        raise UserError(f"{error}; {advice}") from None


def unknown_key(dotted: str, key: str, known: Sequence[str]) -> str:
    """The error line for an unknown key, with the closest known key if there is one."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"{dotted}: unknown setting; {hint}"


def _convert(hint: Any, value: Any, dotted: str) -> Any:
    """`value` as type `hint`; raises a UserError that names `dotted`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        options = [argument for argument in arguments if argument is not type(None)]
        return _first_that_fits(options, value, dotted)
    if origin is typing.Literal:
        if value not in arguments:
            raise UserError(f"{dotted}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UserError(f"{dotted}: expected a list, found {value!r}")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise UserError(f"{dotted}: expected a list of {len(arguments)}, found {len(value)}")
        each = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_convert(t, v, f"{dotted}[{i}]") for i, (t, v) in enumerate(zip(each, value, strict=True)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{dotted}: expected a mapping, found {value!r}")
        return {_convert(arguments[0], k, dotted): _convert(arguments[1], v, f"{dotted}.{k}") for k, v in value.items()}
    return _convert_plain(hint, value, dotted)


def _convert_plain(hint: Any, value: Any, dotted: str) -> Any:
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return from_mapping(typing.cast(type, hint), value, where=dotted)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4 as text: it requires a decimal point in numbers with an exponent.
        try:
            value = float(value)
        except ValueError:
            raise UserError(f"{dotted}: expected a number, found {value!r}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (hint is int and isinstance(value, bool)) or not isinstance(value, hint):
        expected = {int: "an integer", float: "a number", str: "text", bool: "true or false"}.get(hint, str(hint))
        raise UserError(f"{dotted}: expected {expected}, found {value!r}")
    return value


def _first_that_fits(options: Sequence[Any], value: Any, dotted: str) -> Any:
    problems: list[UserError] = []
    for option in options:
        try:
            return _convert(option, value, dotted)
        except UserError as error:
            problems.append(error)
    mappings = [typing.get_origin(option) is dict for option in options]
    if isinstance(value, Mapping) and any(mappings):
        raise problems[mappings.index(True)]
    if any(mappings) and typing.get_origin(options[0]) is typing.Literal:
        words = ", ".join(map(str, typing.get_args(options[0])))
        raise UserError(f"{dotted}: expected {words} or a mapping, found {value!r}")
    raise problems[0]


def to_mapping(value: Any) -> Any:
    """`value` (dataclasses, tuples, mappings) as plain data for YAML or JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_mapping(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_mapping(item) for item in value]
    return value


def override(mapping: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of `mapping` with `a.b=value` applied in order; values are read as YAML.

    Raises:
        UserError: an assignment without `=`, or a key path through a value that is not a mapping.
    """
    result = _copy(mapping)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise UserError(f"--set {assignment}: write it as key.of.setting=value")
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            inner = place.get(parent)
            if inner is None:
                inner = place[parent] = {}
            if not isinstance(inner, dict):
                raise UserError(f"--set {assignment}: {parent} holds {inner!r}, not a mapping")
            place = inner
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"--set {assignment}: the value is not valid YAML") from None
    return result


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` overridden by the values of `over`; mappings are merged key by key."""
    result = _copy(base)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result


def _copy(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in mapping.items()}


def differences(old: Any, new: Any, *, where: str = "") -> list[str]:
    """One line for each field in which two plain values differ: `a.b: OLD -> NEW`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in dict.fromkeys([*old, *new]):
            dotted = f"{where}.{key}" if where else str(key)
            if key not in old:
                lines.append(f"{dotted}: (absent) -> {new[key]!r}")
            elif key not in new:
                lines.append(f"{dotted}: {old[key]!r} -> (absent)")
            else:
                lines.extend(differences(old[key], new[key], where=dotted))
        return lines
    return [] if old == new else [f"{where}: {old!r} -> {new!r}"]
