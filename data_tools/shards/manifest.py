"""The manifest of a shard set: its content, the settings it was made with, and checksums of its files."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from data_tools.errors import UserError
from data_tools.files import read_json, write_json
from data_tools.shards.index import IDS, INDEX

FORMAT = 3
"""Version of the shard format; readers refuse any other. Version 2 had one `index.npz`, which cannot be mapped."""
MANIFEST = "manifest.json"


class Shard(NamedTuple):
    """One shard file."""

    name: str
    records: int
    bytes: int
    crc32c: str


@dataclass(frozen=True)
class Manifest:
    """Description of a shard set. The file is written last: a set with a manifest is complete.

    `box` is (left, top, right, bottom) in fractions of the page; `height` and `width` are pixels; `class_ids` are the
    sorted ids of the whole data set and `class_names` their names; `histogram` counts pages by class id;
    `labels_fingerprint` is `DataSet.fingerprint`.
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
    ids_crc32c: str
    labels_fingerprint: str
    settings: dict[str, Any]
    seed: int
    version: int
    decoder: str

    @property
    def index_files(self) -> dict[str, str]:
        """Checksums of the index files by name."""
        return {INDEX: self.index_crc32c, IDS: self.ids_crc32c}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; all other files of the set must be complete."""
    value = asdict(manifest)
    value["shards"] = [shard._asdict() for shard in manifest.shards]
    write_json(folder / MANIFEST, value)


def read_manifest(folder: Path, *, name: str = MANIFEST) -> Manifest:
    """The manifest of the shard set in `folder`; `name` differs for a set that is being copied.

    Raises:
        UserError: there is no complete set, or it has another format version.
    """
    if not (folder / name).exists():
        raise UserError(f"{folder}: no complete shard set; convert the pages first")
    value = read_json(folder / name)
    try:
        if value["version"] != FORMAT:
            raise UserError(
                f"{folder}: shard format {value['version']}, but this version reads format {FORMAT}; delete the shard "
                "folder, or choose another shards.folder, and convert the pages again"
            )
        value["box"] = tuple(map(float, value["box"]))
        value["class_ids"], value["class_names"] = tuple(value["class_ids"]), tuple(value["class_names"])
        value["histogram"] = {int(class_id): count for class_id, count in value["histogram"].items()}
        value["shards"] = tuple(Shard(**shard) for shard in value["shards"])
        return Manifest(**{field.name: value[field.name] for field in fields(Manifest)})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / name}: corrupt ({error!r}); convert again") from None
