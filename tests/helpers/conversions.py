"""Small conversions and the files that they write."""

import json
from pathlib import Path

from data_tools.conversion.convert import ConversionSummary, DataConfig, ShardConfig, convert
from data_tools.documents.regions import PRESETS

REGIONS = {"top": PRESETS["halves"]["top"], "right": PRESETS["halves"]["right"]}
SMALL = {"height": 32, "width": 24}
SETS = [f"{split}/{region}" for split in ("train", "val", "test") for region in ("holistic", "top", "right")]


def run(data: DataConfig, folder: Path, *, workers: int = 2, seed: int = 1, **settings: object) -> ConversionSummary:
    shards = ShardConfig(folder=str(folder), **(SMALL | settings))  # type: ignore[arg-type]
    return convert(data, shards, regions=REGIONS, seed=seed, workers=workers)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def rejected(folder: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    return {line["page"]: line["reason"] for line in lines}


def real_data(folder: Path) -> DataConfig:
    labels = {split: str(folder / "labels" / f"{split}.txt") for split in ("train", "val", "test")}
    return DataConfig(root=str(folder), **labels)
