"""A data set of any size from few pages: the same files under many names."""

import os
import shutil
from pathlib import Path

from data_tools.documents.data_set import DataConfig

SPLITS = ("train", "val", "test")


def repeated(pages: Path, folder: Path, count: int) -> tuple[DataConfig, str]:
    """`count` training pages in `folder`: those in `pages` or, if that folder is missing, drawn ones.

    Each page is copied once and has its other names by hard links; symbolic links to a page would be one page.

    `by_class/<class>/` holds the training pages as folders too; validation and test get one page of each class.
    Returns the data set, and whether its pages are `real` or `drawn`.
    """
    source = "real"
    if not pages.is_dir():
        from data_tools.drawn import draw_data_set

        pages, source = folder / "drawn", "drawn"
        draw_data_set(pages, seed=1, pages_per_class={"train": 10, "val": 1, "test": 1}, height=1000)
    lines = [line for split in SPLITS for line in (pages / "labels" / f"{split}.txt").read_text().splitlines()]
    first: dict[str, str] = {}
    copies: dict[str, Path] = {}
    train = []
    for number in range(count):
        name, _, class_id = lines[number % len(lines)].rpartition(" ")
        path = folder / "by_class" / class_id / f"{number:06d}{Path(name).suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in copies:
            os.link(copies[name], path)
        else:
            copies[name] = shutil.copyfile(pages / name, path)
        train.append(f"{path.relative_to(folder)} {class_id}\n")
        first.setdefault(class_id, train[-1])
    for split in SPLITS:
        (folder / f"{split}.txt").write_text("".join(train if split == "train" else first.values()))
    places = {split: str(folder / f"{split}.txt") for split in SPLITS}
    return DataConfig(root=str(folder), **places), source
