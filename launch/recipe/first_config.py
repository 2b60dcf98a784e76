"""The first configuration of a user: what labels were found, as a YAML file with comments."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data_tools.config import from_mapping
from data_tools.documents.data_set import SPLITS, DataConfig, DataSet, read_data_set
from data_tools.labels.discover import Discovery, discover

UNBALANCED = 3.0
"""Ratio of the largest to the smallest class from which on class weights are proposed."""
_SPLIT = {"val": 0.1, "test": 0.1, "seed": 1, "by": "document"}


@dataclass(frozen=True)
class FirstConfig:
    """The text of the file, and what was found, for the user."""

    text: str
    discovery: Discovery
    data_set: DataSet


def first_config(place: Path, *, name: str, preset: str, root: Path | None = None) -> FirstConfig:
    """Look at `place` and write a configuration for it, checked by reading its labels; `name` is that of the run.

    Raises:
        UserError: nothing looks like labels, or the labels cannot be used.
    """
    found = discover(place, root=root)
    settings: dict[str, Any] = {"root": str(found.root), **found.sources}
    if found.divide:
        settings["split"] = dict(_SPLIT)
    data_set = read_data_set(from_mapping(DataConfig, settings, where="data"), seed=1)
    if found.class_names is not None and not _has_names(data_set):
        settings["class_names"] = str(found.class_names)
        data_set = read_data_set(from_mapping(DataConfig, settings, where="data"), seed=1)
    text = _text(found, data_set, settings, name=name, preset=preset)
    return FirstConfig(text, found, data_set)


def run_name(place: Path) -> str:
    """A name for the run of a folder or file: its own name, in plain characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", place.absolute().stem).strip("._-") or "pages"


def _text(found: Discovery, data_set: DataSet, settings: dict[str, Any], *, name: str, preset: str) -> str:
    pages = ", ".join(f"{len(data_set.labels[split])} {split}" for split in SPLITS)
    lines = [
        f"# Found: {found.kind}; {len(data_set.class_ids)} classes; pages: {pages}.",
        "# All settings: docs/configuration.md; labels: docs/labels.md",
        f"preset: {preset}",
        "data:",
        f"  root: {_value(settings['root'])}  # page paths are relative to this folder",
        *(f"  {key}: {_value(value)}" for key, value in found.sources.items()),
        *(f"  {split}: null" for split in _without_source(found)),
    ]
    if found.divide:
        split = ", ".join(f"{key}: {value}" for key, value in _SPLIT.items())
        lines += [
            "  # Pages without a split are divided: each class by these shares, and never within a group. A group is a",
            "  # document (all pages of a file), a folder, or what a column of the table says, such as the customer.",
            f"  split: {{{split}}}",
        ]
    lines += [*_class_lines(data_set, settings), *_weight_lines(data_set), "  max_per_class: null"]
    lines += ["shards:", f"  folder: {_value(f'shards/{name}')}", "run:", f"  folder: {_value(f'runs/{name}')}"]
    return "\n".join(lines) + "\n"


def _without_source(found: Discovery) -> list[str]:
    """Splits that have no source while others have: the preset's would not fit."""
    return [] if "labels" in found.sources else [split for split in SPLITS if split not in found.sources]


def _class_lines(data_set: DataSet, settings: dict[str, Any]) -> list[str]:
    if "class_names" in settings:
        return [f"  class_names: {_value(settings['class_names'])}"]
    if not _has_names(data_set):
        ids = ", ".join(map(str, data_set.class_ids[:20])) + (", ..." if data_set.class_ids[20:] else "")
        return [f"  class_names: null  # or a list of names, or a file with lines `ID NAME`, for the ids {ids}"]
    return ["  class_names: null  # the names of the classes come with the labels"]


def _has_names(data_set: DataSet) -> bool:
    return any(name != str(class_id) for class_id, name in zip(data_set.class_ids, data_set.class_names, strict=True))


def _weight_lines(data_set: DataSet) -> list[str]:
    counts = Counter(label.class_id for label in data_set.labels["train"])
    names = dict(zip(data_set.class_ids, data_set.class_names, strict=True))
    least, most = (choose(counts, key=lambda class_id: (counts[class_id], class_id)) for choose in (min, max))
    if counts[most] < UNBALANCED * counts[least]:
        return []
    return [
        f"  # Unbalanced: {counts[most]} training pages of {names[most]!r}, {counts[least]} of {names[least]!r}.",
        "  # Class weights make every class count alike in the loss; without them, common classes win.",
        "  # class_weights: balanced",
    ]


def _value(text: str) -> str:
    """`text` as a YAML value on one line."""
    return yaml.safe_dump(text, default_flow_style=True, width=10**9, allow_unicode=True).splitlines()[0]
