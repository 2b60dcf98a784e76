"""Class names: files of names, and class ids for labels that are names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from data_tools.errors import UserError
from data_tools.labels.label import ALL, PAGE_SUFFIXES, LabelWarning
from data_tools.labels.text import read_text
from data_tools.plain_text import is_printable

_INT32 = range(-(2**31), 2**31)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,][0-9]*|[.,][0-9]+|[0-9.,]+[eE][+-]?[0-9]+)")
"""Numbers that are no integers, with a decimal point or comma."""

_NUMBERED = re.compile(r"""(["']?)([+-]?\d{1,10})\1(\s*[,;:]\s*|\s+)(\S.*)""")
"""A line `ID NAME` of a file; the id may be in quotes."""
_LISTED = re.compile(r"()(-?\d{1,10})( +)(\S.*)")
"""An entry `ID NAME` of a list in the configuration."""
_LIKE_ID = re.compile(r"""["'+-]*(\d{1,9})\d*(?:[.,]0+)?["']?[\s,;:]""")
"""What is meant as an id, such as `2.0` or `--2`."""
_LAST_ID = re.compile(r"[\s,;:]([+-]?\d{1,10})$")
_COMMENT = re.compile(r"#(?:\s|$)")
_NAME_TITLES = frozenset({"name", "names", "class", "classes", "class_name", "label", "labels", "category"})
_TITLES = _NAME_TITLES | {"id", "ids", "class_id", "label_id", "index", "number"}
"""Words of which a header consists, of names alone and of ids and names."""


def plain_name(text: str) -> str:
    """A class as written, without quotes around it, with single blanks and composed accented letters."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return unicodedata.normalize("NFC", " ".join(text.split()))


def is_integer(text: str) -> bool:
    """Whether a class is an integer in ASCII digits, and so a class id."""
    return _INTEGER.fullmatch(text) is not None


def ids_of_labels(
    labels: Mapping[str, str], known: Mapping[str, int] | None = None
) -> tuple[dict[str, int], dict[int, str]]:
    """The class id of each label, and the names by id if the labels are names.

    labels: where each distinct label is found first. If all are integers, they are the ids. Otherwise they are names,
    with the ids that `known` gives (`data.class_names`) or, without it, their positions in sorted order.

    Raises:
        UserError: ids and names are mixed, an id does not fit in 32 bits, or a name is not known or not a name.
    """
    if all(map(is_integer, labels)):
        return {label: _id_of(label, where) for label, where in labels.items()}, {}
    if known is not None and all(label in known for label in labels):
        return {label: known[label] for label in labels}, {known[label]: label for label in labels}
    for label, where in labels.items():
        _check_name(label, where)
    names = sorted(label for label in labels if not is_integer(label))
    if len(names) < len(labels):
        number = next(label for label in labels if is_integer(label))
        raise UserError(
            f"{labels[names[0]]}: the class {names[0]!r} is a name, but {labels[number]} has the class id {number}; "
            "use ids or names, not both, or list every name in data.class_names"
        )
    if known is not None:
        name = next(name for name in names if name not in known)
        raise UserError(
            f"{labels[name]}: the class {name!r} is not in data.class_names ({', '.join(known)}); add it there, or set "
            "data.class_names: null to take the names from the labels"
        )
    ids = {name: place for place, name in enumerate(names)}
    return ids, {place: name for name, place in ids.items()}


def _id_of(label: str, where: str) -> int:
    digits = label.lstrip("+-").lstrip("0") or "0"
    # Python refuses to convert thousands of digits; the first eleven are out of range already.
    class_id = int(digits[:11]) * (-1 if label.startswith("-") else 1)
    if class_id not in _INT32:
        raise UserError(f"{where}: the class id {label[:20]} does not fit in 32 bits")
    return class_id


def _check_name(label: str, where: str) -> None:
    if not label:
        raise UserError(f"{where}: the class is missing; write its id or name")
    if _NUMBER.fullmatch(label):
        raise UserError(f"{where}: the class id must be an integer, found {label!r}")
    if not is_printable(label):
        raise UserError(f"{where}: the class {label!r} is not printable text; check the line")
    if Path(re.split("[,;|]", label)[0]).suffix.lower() in PAGE_SUFFIXES:
        raise UserError(
            f"{where}: expected `path/to/page.tif CLASS`, found no class after {label!r}; a table needs a first line "
            "such as `path,label`"
        )


def alike(names: Mapping[int, str]) -> list[LabelWarning]:
    """A warning for each set of names that differ in upper and lower case, blanks or invisible characters alone."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for name in names.values():
        visible = "".join(letter for letter in name.casefold() if unicodedata.category(letter) != "Cf")
        same[re.sub(r"[\s_-]+", " ", visible).strip()].append(name)
    sets = [some for some in same.values() if len(some) > 1]
    texts = [f"classes {' and '.join(map(repr, some))} are counted as different" for some in sets]
    return [LabelWarning("similar_classes", ALL, None, text, len(some)) for text, some in zip(texts, sets, strict=True)]


def known_names(given: str | tuple[str, ...] | None) -> dict[str, int] | None:
    """Class ids by name from `data.class_names`, a file or the names themselves; None if it gives no such order.

    Raises:
        UserError: the file cannot be read, or a class has two names.
    """
    if given is None:
        return None
    if isinstance(given, str):
        lines = _lines(read_text(Path(given), what="class names file"))
        names = _numbered_file(lines, (), given)
    else:
        lines = list(given)
        names = _numbered(lines, _LISTED, "data.class_names")
    return {plain_name(name): class_id for class_id, name in (names or dict(enumerate(lines))).items()}


def read_class_names(path: Path, class_ids: list[int]) -> dict[int, str]:
    """Names of `class_ids` from a file with lines `ID NAME`, or with one name a line.

    Between id and name are blanks, a tab, a comma, a semicolon or a colon. With ids, a header and comments are skipped.
    Without ids, line i (from 0) names class i if every class id is less than the number of lines. Otherwise line i
    names the i-th smallest class id, and there must be as many lines as classes.

    Raises:
        UserError: the file is missing or unreadable, a class has no name or two names, or some lines look like
            `ID NAME` and others do not.
    """
    source, lines = str(path), _lines(read_text(path, what="class names file"))
    names = _numbered_file(lines, class_ids, source)
    if not names:
        _check_names_alone(lines, class_ids, source)
    return _of_classes(names or _in_order(lines, class_ids, source), class_ids, source)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def class_names_from(lines: list[str], class_ids: list[int], *, source: str) -> dict[int, str]:
    """Names of `class_ids` from a list of names in their order, or of entries `ID NAME`.

    Raises:
        UserError: a class has no name or two names; the text begins with `source`.
    """
    return _of_classes(_numbered(lines, _LISTED, source) or _in_order(lines, class_ids, source), class_ids, source)


def _of_classes(names: Mapping[int, str], class_ids: list[int], source: str) -> dict[int, str]:
    missing = [str(class_id) for class_id in class_ids if class_id not in names]
    if missing:
        raise UserError(f"{source}: no name for class {', '.join(missing)}; add lines `ID NAME`")
    for class_id in class_ids:
        if not is_printable(names[class_id]):
            raise UserError(f"{source}: class {class_id}: the name {names[class_id]!r} is not printable text")
    return {class_id: names[class_id] for class_id in class_ids}


def _numbered_file(lines: list[str], class_ids: Collection[int], path: str) -> dict[int, str]:
    """Names by id from the lines of a file, without a header and comments; none if the lines are names alone.

    Raises:
        UserError: most lines begin like an id, but not all are `ID NAME`: by position, names would be wrong.
    """
    body = [line for line in lines if not _COMMENT.match(line)]
    body = body[1:] if body and _is_header(body[0], _TITLES) else body
    names = _numbered(body, _NUMBERED, path)
    if not names:
        begins = [int(found[1]) for line in body if (found := _LIKE_ID.match(line))]
        likely = sum(number in class_ids or number < len(lines) for number in begins)
        if likely * 2 > len(body):
            wrong = next(line for line in body if not _NUMBERED.fullmatch(line))
            raise UserError(f"{path}: most lines begin like an id; expected `ID NAME`, found {wrong[:80]!r}")
    return names


def _numbered(lines: list[str], form: re.Pattern[str], path: str) -> dict[int, str]:
    """Names by id if all lines have the form; otherwise none."""
    found = [match for line in lines if (match := form.fullmatch(line))]
    names: dict[int, str] = {}
    for match in found if len(found) == len(lines) else ():
        class_id = int(match[2])
        if class_id in names:
            raise UserError(f"{path}: class {class_id} has two names; keep one")
        # After blanks alone, the name is kept as written; a cell of a table may be in quotes.
        names[class_id] = plain_name(match[4]) if match[3].strip(" ") else match[4].strip()
    return names


def _is_header(line: str, titles: frozenset[str]) -> bool:
    words = re.findall(r"\w+", line.casefold())
    return bool(words) and titles.issuperset(words)


def _check_names_alone(lines: list[str], class_ids: list[int], path: str) -> None:
    """Refuse lines that are not names and would shift those below them, and ids at the end of lines."""
    for place, line in enumerate(lines):
        title = place == 0 and _is_header(line, _NAME_TITLES) and len(lines) > len(class_ids)
        if title or _COMMENT.match(line) or line in ("[", "{", "---"):
            raise UserError(f"{path}: {line[:80]!r} is not a class name; remove the line, or write lines `ID NAME`")
    last = [int(found[1]) for line in lines if (found := _LAST_ID.search(line))]
    if len(last) == len(lines) and last != sorted(last) == sorted(class_ids):
        raise UserError(f"{path}: {lines[0][:80]!r} has its id at the end; write lines `ID NAME`")


def _in_order(lines: list[str], class_ids: list[int], path: str) -> dict[int, str]:
    if all(0 <= class_id < len(lines) for class_id in class_ids):
        return dict(enumerate(lines))
    if len(lines) == len(class_ids):
        return dict(zip(sorted(class_ids), lines, strict=True))
    raise UserError(
        f"{path}: {len(lines)} names do not match class ids {class_ids[0]} to {class_ids[-1]}; write lines `ID NAME`"
    )
