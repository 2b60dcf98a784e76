"""What a run's models take and answer, recorded in `run.json`, so that the folder alone is enough to use them."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data_tools.config import from_mapping, read_yaml, to_mapping
from data_tools.documents.data_set import SPLITS, class_names
from data_tools.documents.regions import HOLISTIC, Box
from data_tools.errors import UserError
from data_tools.files import read_object, write_json
from data_tools.shards.manifest import MANIFEST, Manifest, read_manifest
from launch.config import Config, config_from
from launch.run.folder import CONFIG, RUN
from launch.run.record import JOBS
from trainer.config import STACK
from trainer.job_folder.journal import STACK_DESCRIPTION, job_folder

KEYS = ("classes", "regions", "page", "shards", "labels")
"""The keys of `run.json` that hold the record."""

METRICS = "metrics.json"

Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class ClassRecord:
    """A class: its id in the label files and its name."""

    id: int
    name: str


@dataclass(frozen=True)
class PageRecord:
    """Size of a stored region in pixels, and its channels: 1, or 3 in color."""

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.channels not in (1, 3):
            raise UserError(f"height, width, channels: {self.height}, {self.width}, {self.channels} is no page")


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What the models of a run take and answer.

    classes: in the order of the outputs. regions: boxes by name, as fractions of the page. shards: absolute path of the
    shards that the run was made from. labels: fingerprint of the examples by split; empty if unknown.
    """

    classes: tuple[ClassRecord, ...]
    regions: dict[str, Edges]
    page: PageRecord
    shards: str
    labels: dict[str, str]

    def __post_init__(self) -> None:
        for name, edges in self.regions.items():
            try:
                Box(*edges)
            except UserError as error:
                raise UserError(f"regions.{name}: {error}") from None

    @property
    def class_ids(self) -> list[int]:
        """Class ids in the order of the outputs."""
        return [entry.id for entry in self.classes]

    @property
    def boxes(self) -> dict[str, Box]:
        """Box of each region."""
        return {name: Box(*edges) for name, edges in self.regions.items()}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a stored region."""
        return self.page.height, self.page.width, self.page.channels


def record_model(run: Path, shards: Path) -> None:
    """Write the record of the shards that the run is made from into its `run.json`, unless it is there already.

    Raises:
        UserError: a shard set is missing.
        OSError: the run folder cannot be written.
    """
    known = read_object(run / RUN)
    config = config_from(read_yaml(run / CONFIG))
    record = to_mapping(_of_manifests(*_manifests(shards, config), shards))
    if any(known.get(key) != _plain(record[key]) for key in KEYS):
        write_json(run / RUN, {**known, **record})


def model_record(run: Path, config: Config) -> ModelRecord:
    """The record in the run's `run.json`; one that an older version did not write is collected from what is readable.

    A collected record is written to the run folder if that is writable.

    Raises:
        UserError: the record is corrupt, or nothing says which classes the run has.
    """
    info = read_object(run / RUN)
    if all(key in info for key in KEYS):
        return _recorded(run, info)
    found = next(_of_shards(run, config), None)
    if found is None:
        return _of_folder(run, config, info)
    if info:
        with contextlib.suppress(OSError):
            write_json(run / RUN, {**info, **to_mapping(found)})
    return found


def _recorded(run: Path, info: Mapping[str, Any]) -> ModelRecord:
    """The record in `run.json`, whose classes are those that the run's stack answers with, if that is finished."""
    try:
        record = from_mapping(ModelRecord, {key: info[key] for key in KEYS}, where=str(run / RUN))
    except UserError as error:
        raise UserError(f"{error}; restore it from a copy of the run") from None
    ids = _stack_ids(run)
    if ids not in (None, record.class_ids):
        raise UserError(
            f"{run / RUN}.classes: ids {record.class_ids}, and {job_folder(run, STACK) / STACK_DESCRIPTION} has "
            f"{ids}; restore the damaged one from a copy of the run"
        )
    return record


def complete_record(run: Path) -> None:
    """Add the record to a run of an earlier version, if its shards are readable and its folder is writable."""
    with contextlib.suppress(UserError):
        model_record(run, config_from(read_yaml(run / CONFIG)))


def _of_manifests(regions: Mapping[str, Manifest], labels: dict[str, str], shards: Path) -> ModelRecord:
    first = next(iter(regions.values()))
    entries = zip(first.class_ids, first.class_names, strict=True)
    return ModelRecord(
        classes=tuple(ClassRecord(class_id, name) for class_id, name in entries),
        regions={name: manifest.box for name, manifest in regions.items()},
        page=PageRecord(first.height, first.width, first.channels),
        shards=str(shards.absolute()),
        labels=labels,
    )


def _plain(value: Any) -> Any:
    """`value` as JSON gives it back: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _of_shards(run: Path, config: Config) -> Iterator[ModelRecord]:
    """Records of the shard sets that lie where the run's configuration and jobs say, and have the run's classes."""
    ids = _stack_ids(run)
    for folder in shard_folders(run, [config.shards.folder]):
        with contextlib.suppress(UserError):
            record = _of_manifests(*_manifests(folder, config), folder)
            if ids in (None, record.class_ids):
                yield record


def _manifests(shards: Path, config: Config) -> tuple[dict[str, Manifest], dict[str, str]]:
    """The manifests of the training shards by region, and the fingerprint of the examples by split."""
    regions = {name: read_manifest(shards / "train" / name) for name in config.boxes}
    return regions, {split: read_manifest(shards / split / HOLISTIC).labels_fingerprint for split in SPLITS}


def _of_folder(run: Path, config: Config, info: Mapping[str, Any]) -> ModelRecord:
    """The record of a run without shards, from its configuration and its stack."""
    ids = _stack_ids(run)
    if ids is None:
        raise UserError(f"{run}: {STACK} is not finished; run train-all to the end first")
    names = _names(run, config, info, ids)
    shards = config.shards
    return ModelRecord(
        classes=tuple(ClassRecord(class_id, names.get(class_id, str(class_id))) for class_id in ids),
        regions={name: box.edges for name, box in config.boxes.items()},
        page=PageRecord(shards.height, shards.width, 3 if shards.color else 1),
        shards=next((name for name in _named(run) if Path(name).is_absolute()), shards.folder),
        labels={},
    )


def _stack_ids(run: Path) -> list[int] | None:
    """Class ids in the order of the stack's outputs; None if it is not finished or its file is damaged."""
    ids = read_object(job_folder(run, STACK) / STACK_DESCRIPTION).get("class_ids")
    return ids if isinstance(ids, list) and all(isinstance(class_id, int) for class_id in ids) else None


def _names(run: Path, config: Config, info: Mapping[str, Any], ids: list[int]) -> dict[int, str]:
    """Names by class id from the record, the file of names or the last report; empty if none has them."""
    given = config.data.class_names
    for entries in (info.get("classes"), read_object(run / METRICS).get("classes")):
        if named := names_in(entries):
            return named
    if given is None or (isinstance(given, str) and not Path(given).exists()):
        return {}
    return class_names(given, ids)


def names_in(entries: Any) -> dict[int, str]:
    """Names by class id of `classes` in a record or a report; those that are damaged are left out."""
    listed = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {e["id"]: str(e["name"]) for e in listed if isinstance(e.get("id"), int) and e.get("name")}


def shard_folders(run: Path, named: Sequence[str]) -> Iterator[Path]:
    """Places where the run's shards may lie: as `named` and as its jobs name them, and beside the run folder."""
    parents = [run.resolve(), *run.resolve().parents[:4]]
    seen = set()
    for name in dict.fromkeys([*named, *_named(run)]):
        tails = [Path(name).name] if Path(name).is_absolute() else [name, Path(name).name]
        for folder in (Path(name), *(parent / tail for parent in parents for tail in tails)):
            if folder.absolute() not in seen:
                seen.add(folder.absolute())
                yield folder


def _named(run: Path) -> Iterator[str]:
    """The folders of shards that the configurations of the run's jobs name."""
    for path in sorted((run / JOBS).glob(f"*/{CONFIG}")):
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if isinstance(value, dict) and isinstance(value.get("shards"), str):
            yield value["shards"]


def find_shards(run: Path, record: ModelRecord, split: str) -> Path:
    """The folder that holds the shards of `split` that the run was made from: as recorded, or beside the run.

    Shard sets with other classes, boxes or examples are passed over.

    Raises:
        UserError: there is none; the text names the places.
    """
    tried = []
    for folder in shard_folders(run, [record.shards]):
        reason = _why_not(folder / split, record, split)
        if reason is None:
            return folder
        tried.append(f"{folder} ({reason})")
    raise UserError(
        f"{run}: the {split} shards of this run are in none of {'; '.join(tried[:6])}; give their folder with --shards"
    )


def check_shards(folder: Path, record: ModelRecord, split: str) -> None:
    """Check that a folder that was given holds the shards of `split` that the run was made from.

    Raises:
        UserError: it does not.
    """
    reason = _why_not(folder / split, record, split)
    if reason is not None:
        raise UserError(f"--shards {folder}: not the {split} shards of this run: {reason}")


def _why_not(folder: Path, record: ModelRecord, split: str) -> str | None:
    """Why `folder`, of one split, does not hold the run's shards; None: it does."""
    for region in record.regions:
        if not (folder / region / MANIFEST).is_file():
            return "absent"
        try:
            manifest = read_manifest(folder / region)
        except UserError as error:
            return str(error)
        if problem := other_pages(manifest, region, record):
            return problem
        if manifest.labels_fingerprint != record.labels.get(split, manifest.labels_fingerprint):
            return "other pages or labels"
    return None


def other_pages(manifest: Manifest, region: str, record: ModelRecord) -> str | None:
    """How a shard set's classes or box differ from what the run's models learned; None: they do not."""
    if list(manifest.class_ids) != record.class_ids:
        return f"classes {list(manifest.class_ids)}, and the run was trained on {record.class_ids}"
    if tuple(manifest.box) != tuple(record.regions[region]):
        return f"box {list(manifest.box)} for {region}, and the run was trained on {list(record.regions[region])}"
    if manifest.channels != record.page.channels:
        return f"{manifest.channels} channels, and the run was trained on {record.page.channels}"
    return None
