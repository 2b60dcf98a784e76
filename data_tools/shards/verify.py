"""Verification of shard sets: their files against the manifest, and every record against the index."""

from collections import Counter
from pathlib import Path

import numpy as np

from data_tools.errors import UserError
from data_tools.shards.index import INDEX, Index, map_index
from data_tools.shards.manifest import MANIFEST, Manifest, Shard, read_manifest
from data_tools.shards.records import example, file_checksum, frame, image_start, metadata_bytes_of


def open_verified(folder: Path) -> tuple[Manifest, Index]:
    """Manifest and index of the shard set in `folder`, verified as `check` does without `deep`.

    Raises:
        UserError: there is no complete set, or it differs from its manifest.
    """
    manifest = read_manifest(folder)
    index, problems = _check_index(folder, manifest)
    problems += _check_files(folder, manifest, deep=False)
    if index is None or problems:
        raise UserError(f"{problems[0]}; convert again, or list all problems with `regionstack verify`")
    return manifest, index


def check(folder: Path, *, deep: bool = False) -> list[str]:
    """The problems of the shard set in `folder`, one line each; empty for an intact set.

    Compares the manifest, the checksums of the index files and the sizes of all shards. With `deep`, also the
    checksums of all shards, and every record with the index.
    """
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        return [str(error)]
    index, problems = _check_index(folder, manifest)
    problems += _check_files(folder, manifest, deep=deep)
    if deep and index is not None and not problems:
        problems += _check_records(folder, manifest, index)
    return problems


def _check_index(folder: Path, manifest: Manifest) -> tuple[Index | None, list[str]]:
    """The mapped index, None if it is unusable, and its problems."""
    for name, crc32c in manifest.index_files.items():
        if not (folder / name).exists():
            return None, [f"{folder / name}: missing"]
        if file_checksum(folder / name) != crc32c:
            return None, [f"{folder / name}: changed since it was written (checksum)"]
    try:
        index = map_index(folder)
    except UserError as error:
        return None, [str(error)]
    count, path, problems = len(index.entries), folder / INDEX, []
    if count != manifest.count or sum(shard.records for shard in manifest.shards) != manifest.count:
        problems.append(f"{path}: {count} examples, but the manifest counts {manifest.count}")
    histogram: Counter[int] = Counter()
    for chunk in index.chunks():
        class_ids, counts = np.unique(index.entries["label"][chunk], return_counts=True)
        histogram.update(dict(zip(class_ids.tolist(), counts.tolist(), strict=True)))
    if histogram != {class_id: pages for class_id, pages in manifest.histogram.items() if pages}:
        problems.append(f"{path}: its labels differ from the histogram in the manifest")
    return index, problems


def _check_files(folder: Path, manifest: Manifest, *, deep: bool) -> list[str]:
    known = {shard.name for shard in manifest.shards} | {MANIFEST, *manifest.index_files}
    problems = [f"{path}: does not belong here" for path in sorted(folder.iterdir()) if path.name not in known]
    for shard in manifest.shards:
        problem = _check_shard(folder / shard.name, shard, deep=deep)
        problems += [problem] if problem else []
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


def _check_records(folder: Path, manifest: Manifest, index: Index) -> list[str]:
    """Rebuild every record from the index and its image, and compare."""
    problems = []
    for number, shard in enumerate(manifest.shards):
        path = folder / shard.name
        stride = shard.bytes // max(shard.records, 1)
        with path.open("rb") as file:
            places = np.flatnonzero(index.entries["shard"] == number)
            for entry, page_id in zip(index.entries[places], index.page_ids(places), strict=True):
                offset, length, label = (int(entry[name]) for name in ("offset", "length", "label"))
                tail = metadata_bytes_of(stride, length) if manifest.encoding == "raw" else 0
                file.seek(offset)
                image = file.read(length)
                record = b"".join(frame(*example(image, label, page_id.encode(), metadata_bytes=tail)))
                file.seek(offset - image_start(length))
                if file.read(len(record)) != record:
                    problems.append(f"{path}: the record of {page_id} differs from the index")
    return problems
