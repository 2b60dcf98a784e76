"""Complete shards to shard sets: index, manifest, final name, and the reports of rejected pages and labels."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.config import differences, to_mapping
from data_tools.conversion.shard_plan import ShardConfig, ShardPlan
from data_tools.conversion.staging import Receipt, ShardState, read_receipt
from data_tools.documents.data_set import SPLITS, DataSet
from data_tools.documents.pages import DPI
from data_tools.documents.pixels import decoder_version
from data_tools.documents.regions import Box
from data_tools.errors import UserError
from data_tools.files import fsync_folder, read_lines, read_text, write_atomically
from data_tools.shards.index import IDS, INDEX, Index, map_index, write_index
from data_tools.shards.manifest import FORMAT, MANIFEST, Manifest, Shard, read_manifest, write_manifest
from data_tools.shards.records import file_checksum
from data_tools.shards.verify import check

REJECTED = "rejected.jsonl"
LABEL_WARNINGS = "label_warnings.jsonl"


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the bytes of the shard sets."""

    data: DataSet
    shards: ShardConfig
    boxes: dict[str, Box]
    seed: int
    pdf_dpi: int = DPI

    @property
    def folder(self) -> Path:
        """The folder of the sets."""
        return Path(self.shards.folder)

    def identity(self) -> dict[str, Any]:
        """The recipe as plain data; unfinished work with the same identity is resumed."""
        return {
            "boxes": {region: box.edges for region, box in self.boxes.items()},
            "labels": {split: self.data.fingerprint(split) for split in SPLITS},
        } | self.common()

    def settings(self) -> dict[str, int | str | bool]:
        """The settings that determine the bytes; the resolution of PDFs only where it is not the default."""
        return self.shards.written() | ({} if self.pdf_dpi == DPI else {"pdf_dpi": self.pdf_dpi})

    def common(self) -> dict[str, Any]:
        """The part that is equal for all splits and regions."""
        return {
            "version": FORMAT,
            "seed": self.seed,
            "settings": self.settings(),
            "class_ids": list(self.data.class_ids),
            "class_names": list(self.data.class_names),
        }


def is_complete(recipe: Recipe) -> bool:
    """Whether every set has its manifest, which is written last."""
    return all((recipe.folder / split / region / MANIFEST).exists() for split in SPLITS for region in recipe.boxes)


def missing_regions(recipe: Recipe, split: str) -> tuple[str, ...]:
    """Regions of `split` without a complete set.

    Raises:
        UserError: a set has other settings, labels or boxes, or is corrupt.
    """
    missing = []
    for region, box in recipe.boxes.items():
        folder = recipe.folder / split / region
        if (folder / MANIFEST).exists():
            _check_same(recipe, folder, split, box)
        elif folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: not a complete shard set; delete or move it")
        else:
            missing.append(region)
    return tuple(missing)


def _check_same(recipe: Recipe, folder: Path, split: str, box: Box) -> None:
    manifest = to_mapping(read_manifest(folder))
    wanted = recipe.common() | {"box": list(box.edges), "labels_fingerprint": recipe.data.fingerprint(split)}
    other = differences({key: manifest[key] for key in wanted}, wanted)
    if other:
        raise UserError(
            f"{folder}: was converted with other settings ({'; '.join(other)}); "
            "choose another shards.folder, or delete this one to convert again"
        )
    problems = check(folder)
    if problems:
        raise UserError(f"{problems[0]}; delete {folder} to convert it again")


def assemble(recipe: Recipe, staging: Path, *, plans: list[ShardPlan], region: str) -> None:
    """Add index and manifest to the complete shards of one split and region, and move them to their final folder.

    Raises:
        UserError: all pages of a class were rejected, or another region's set has other pages.
    """
    split = plans[0].split
    source, target = staging / split / region, recipe.folder / split / region
    receipts = [complete_receipt(staging, plan) for plan in plans]
    index = _index(receipts, region)
    _check_siblings(recipe, split, index)
    counts = Counter(index.entries["label"].tolist())
    histogram = {class_id: counts[class_id] for class_id in recipe.data.class_ids}
    empty = [class_id for class_id, pages in histogram.items() if not pages]
    if split == "train" and empty and not recipe.data.allow_empty_classes:
        name = dict(zip(recipe.data.class_ids, recipe.data.class_names, strict=True))[empty[0]]
        raise UserError(
            f"class {empty[0]} ({name}): all its training pages were rejected; see {recipe.folder / REJECTED}, or set "
            "data.allow_empty_classes: true"
        )
    write_index(source, index)
    shards = tuple(
        Shard(plan.name, len(receipt["kept"]), file["bytes"], file["crc32c"])
        for plan, receipt in zip(plans, receipts, strict=True)
        for file in [receipt["regions"][region]]
    )
    manifest = Manifest(
        region=region,
        split=split,
        box=recipe.boxes[region].edges,
        height=recipe.shards.height,
        width=recipe.shards.width,
        channels=recipe.shards.channels,
        encoding=recipe.shards.encoding,
        count=len(index.entries),
        rejected=sum(len(receipt["rejected"]) for receipt in receipts),
        class_ids=recipe.data.class_ids,
        class_names=recipe.data.class_names,
        histogram=histogram,
        shards=shards,
        index_crc32c=file_checksum(source / INDEX),
        ids_crc32c=file_checksum(source / IDS),
        labels_fingerprint=recipe.data.fingerprint(split),
        settings=recipe.settings(),
        seed=recipe.seed,
        version=FORMAT,
        decoder=decoder_version(),
    )
    _publish(source, target, manifest)


def _publish(source: Path, target: Path, manifest: Manifest) -> None:
    """Write the manifest, then move the set from `source` to `target`."""
    # The names of the shards must be on disk before the manifest.
    fsync_folder(source)
    write_manifest(source, manifest)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    fsync_folder(target.parent)


def complete_receipt(staging: Path, plan: ShardPlan) -> Receipt:
    """The receipt of a shard that is complete."""
    # Without its regions, the receipt alone is read: the files of some may carry their final name already.
    receipt = read_receipt(staging, replace(plan, regions=()))
    if receipt is None:
        raise RuntimeError(f"{plan.split} {plan.name}: no receipt for a complete shard")
    return receipt


def _index(receipts: list[Receipt], region: str) -> Index:
    kept = [page for receipt in receipts for page in receipt["kept"]]
    counts = [len(receipt["kept"]) for receipt in receipts]
    parts = [receipt["regions"][region] for receipt in receipts]
    return Index.build(
        shard=np.repeat(np.arange(len(receipts), dtype=np.int32), counts),
        offset=np.array([offset for part in parts for offset in part["offsets"]], np.int64),
        length=np.array([length for part in parts for length in part["lengths"]], np.int64),
        label=np.array([class_id for _, class_id in kept], np.int32),
        ids=[page_id.encode() for page_id, _ in kept],
    )


def _check_siblings(recipe: Recipe, split: str, index: Index) -> None:
    """Check that all regions of a split have the same pages; files may have changed between conversions."""
    for region in recipe.boxes:
        folder = recipe.folder / split / region
        if (folder / MANIFEST).exists() and not map_index(folder).same_pages(index):
            raise UserError(
                f"{folder}: some pages changed since it was converted; delete {folder.parent} to convert again"
            )


def write_rejected(folder: Path, states: Iterable[ShardState]) -> None:
    """Write REJECTED; lines of splits that were not converted now are kept."""
    states = list(states)
    fresh = {state.plan.split for state in states}
    lines = [line for line in read_lines(folder / REJECTED) if line["split"] not in fresh]
    for state in states:
        lines += [
            {
                "split": state.plan.split,
                "page": page["page"],
                "label": page["label"],
                "reason": page["reason"],
            }
            for page in state.rejected
        ]
    lines.sort(key=lambda line: SPLITS.index(line["split"]))
    write_atomically(folder / REJECTED, _lines(lines))


def write_label_warnings(recipe: Recipe) -> None:
    """Write LABEL_WARNINGS."""
    write_atomically(recipe.folder / LABEL_WARNINGS, _label_warnings(recipe))


def label_warnings_written(recipe: Recipe) -> bool:
    """Whether LABEL_WARNINGS holds the warnings of these labels."""
    return read_text(recipe.folder / LABEL_WARNINGS) == _label_warnings(recipe)


def _label_warnings(recipe: Recipe) -> str:
    return _lines(map(asdict, recipe.data.label_warnings))


def _lines(values: Iterable[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)
