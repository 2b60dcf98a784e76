"""The manifest of a shard set: what is in it, by what settings, with which checksums; and verification."""

from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError
from data_tools.files import read_json, write_json
from data_tools.shards.records import example, file_checksum, frame, image_start, tail_bytes

FORMAT = 2
"""Version of the shard format; a reader refuses any other."""
MANIFEST = "manifest.json"
INDEX = "index.npz"


class Shard(NamedTuple):
    """One shard file."""

    name: str
    records: int
    bytes: int
    crc32c: str


@dataclass(frozen=True)
class Manifest:
    """What a shard set holds. Its file is written last: where it stands, the set is whole.

    `box` is left, top, right, bottom in fractions of the page; `class_ids` are those of the whole data set,
    sorted, with `class_names` beside them; `histogram` counts pages by class id; `labels_fingerprint` is
    `DataSet.fingerprint`.
    """

    region: str
    split: str
    box: tuple[float, float, float, float]
    height: int
    width: int
    channels: int
    encoding: str
    count: int
    rejected: int
    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    histogram: dict[int, int]
    shards: tuple[Shard, ...]
    index_crc32c: str
    labels_fingerprint: str
    settings: dict[str, Any]
    seed: int
    version: int
    decoder: str


class Index(NamedTuple):
    """Where each example's image lies, in the order on disk; labels are class ids, ids UTF-8 bytes."""

    shard: NDArray[np.int32]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    label: NDArray[np.int32]
    id: NDArray[np.bytes_]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest's file; the set must be whole."""
    value = asdict(manifest)
    value["shards"] = [shard._asdict() for shard in manifest.shards]
    write_json(folder / MANIFEST, value)


def read_manifest(folder: Path, *, name: str = MANIFEST) -> Manifest:
    """The manifest of the shard set in `folder`; `name` is that of a set which is still arriving.

    Raises:
        UserError: there is no whole set, or it is of another version.
    """
    if not (folder / name).exists():
        raise UserError(f"{folder}: no shard set, or an unfinished one; convert the pages first")
    value = read_json(folder / name)
    try:
        if value["version"] != FORMAT:
            raise UserError(f"{folder}: shard format {value['version']}, this program reads {FORMAT}; convert again")
        value["box"] = tuple(map(float, value["box"]))
        value["class_ids"], value["class_names"] = tuple(value["class_ids"]), tuple(value["class_names"])
        value["histogram"] = {int(class_id): count for class_id, count in value["histogram"].items()}
        value["shards"] = tuple(Shard(**shard) for shard in value["shards"])
        return Manifest(**{field.name: value[field.name] for field in fields(Manifest)})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / name}: damaged ({error!r}); convert again") from None


def write_index(folder: Path, index: Index) -> None:
    """Write the index's file; the same index gives the same bytes."""
    with (folder / INDEX).open("wb") as file:
        np.savez(file, **index._asdict())


def read_index(folder: Path) -> Index:
    """The index of the shard set in `folder`.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with np.load(folder / INDEX, allow_pickle=False) as arrays:
            return Index(**{name: arrays[name] for name in Index._fields})
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{folder / INDEX}: cannot be read ({error}); convert again") from None


def check(folder: Path, deep: bool = False) -> list[str]:
    """What is wrong with the shard set in `folder`, a line each; nothing wrong, no line.

    Cheaply: the manifest, the index's checksum, the sizes of all shards. Deeply: the checksums of all shards,
    and every record against the index.
    """
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        return [str(error)]
    problems = _check_index(folder, manifest)
    known = {shard.name for shard in manifest.shards} | {MANIFEST, INDEX}
    problems += [f"{path}: does not belong here" for path in sorted(folder.iterdir()) if path.name not in known]
    sound = True
    for shard in manifest.shards:
        problem = _check_shard(folder / shard.name, shard, deep=deep)
        problems += [problem] if problem else []
        sound = sound and not problem
    if deep and sound and not problems:
        problems += _check_records(folder, manifest)
    return problems


def _check_index(folder: Path, manifest: Manifest) -> list[str]:
    path = folder / INDEX
    if not path.exists():
        return [f"{path}: missing"]
    if file_checksum(path) != manifest.index_crc32c:
        return [f"{path}: changed since it was written (checksum)"]
    index = read_index(folder)
    problems = []
    if len(index.label) != manifest.count or sum(shard.records for shard in manifest.shards) != manifest.count:
        problems.append(f"{path}: {len(index.label)} examples, the manifest counts {manifest.count}")
    if dict(Counter(index.label.tolist())) != {k: n for k, n in manifest.histogram.items() if n}:
        problems.append(f"{path}: its labels are not those that the manifest counts")
    return problems


def _check_shard(path: Path, shard: Shard, *, deep: bool) -> str | None:
    if not path.exists():
        return f"{path}: missing"
    size = path.stat().st_size
    if size != shard.bytes:
        return f"{path}: {size} bytes, the manifest says {shard.bytes}"
    if deep and file_checksum(path) != shard.crc32c:
        return f"{path}: changed since it was written (checksum)"
    return None


def _check_records(folder: Path, manifest: Manifest) -> list[str]:
    """Build every record again from the index and its image, and compare."""
    index = read_index(folder)
    problems = []
    for number, shard in enumerate(manifest.shards):
        path = folder / shard.name
        stride = shard.bytes // max(shard.records, 1)
        with path.open("rb") as file:
            for place in np.flatnonzero(index.shard == number):
                length, label, page_id = (
                    int(index.length[place]),
                    int(index.label[place]),
                    bytes(index.id[place]),
                )
                tail = tail_bytes(stride, length) if manifest.encoding == "raw" else 0
                file.seek(int(index.offset[place]))
                image = file.read(length)
                whole = b"".join(frame(*example(image, label, page_id, tail_bytes=tail)))
                file.seek(int(index.offset[place]) - image_start(length))
                if file.read(len(whole)) != whole:
                    problems.append(f"{path}: the record of {page_id.decode()} does not agree with the index")
    return problems
