"""Small data sets of noise pages, and invalid image files, for tests of conversion and reading."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_tools.documents.data_set import DataConfig

COUNTS = {"train": 40, "val": 12, "test": 11}


def page(number: int, *, height: int = 60, width: int = 44) -> NDArray[np.uint8]:
    """A gray page, unique to its number."""
    return np.random.default_rng(number).integers(0, 256, (height + number % 7, width), np.uint8)


def write_page(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, content = cv2.imencode(path.suffix, image)
    assert done
    path.write_bytes(content)


def made_data(
    folder: Path, *, counts: Mapping[str, int] = COUNTS, classes: Sequence[int] = (3, 7, 20), **settings: object
) -> DataConfig:
    """Pages under `folder/pages`, label files beside them; class ids in turn."""
    number = 0
    for split, count in counts.items():
        lines = []
        for place in range(count):
            name = f"images/{split}/{'x' * (place % 5)}{place}.tif"
            write_page(folder / "pages" / name, page(number))
            lines.append(f"{name} {classes[place % len(classes)]}\n")
            number += 1
        (folder / f"{split}.txt").write_text("".join(lines))
    return data_config(folder, **settings)


def data_config(folder: Path, **settings: object) -> DataConfig:
    return DataConfig(
        root=str(folder / "pages"),
        train=str(folder / "train.txt"),
        val=str(folder / "val.txt"),
        test=str(folder / "test.txt"),
        **settings,  # type: ignore[arg-type]
    )


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares any size and holds almost no data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff_header(width: int, height: int) -> bytes:
    """An uncompressed gray TIFF of any declared size with one byte of pixels."""
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, min(width * height, 2**32 - 1)),
    ]
    rows = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(entries)) + rows + bytes(4)
