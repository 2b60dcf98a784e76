"""TIFF files written by hand: any depth, photometric interpretation, layout and number of pages."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BYTE, ASCII, SHORT, LONG = 1, 2, 3, 4
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
SAMPLES, ROWS, STRIP_BYTES, PLANAR, COLOR_MAP = 277, 278, 279, 284, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
SUBFILE_TYPE, FILL_ORDER, PREDICTOR, JPEG_TABLES, SUBSAMPLING = 254, 266, 317, 347, 530


@dataclass(frozen=True)
class TiffPage:
    """One directory. data: the strips or tiles, encoded; tags: SHORT or LONG values by tag."""

    width: int
    height: int
    data: Sequence[bytes]
    tags: Mapping[int, int | Sequence[int]] = field(default_factory=dict)
    tile: int = 0


def gray_page(image: NDArray[np.uint8], **tags: int) -> TiffPage:
    """An uncompressed 8-bit page in one strip; tags as `t274=6`."""
    extra = {int(name[1:]): value for name, value in tags.items()}
    return TiffPage(image.shape[1], image.shape[0], [image.tobytes()], {BITS: 8, PHOTOMETRIC: 1, SAMPLES: 1} | extra)


def packed(samples: NDArray[np.integer], bits: int) -> bytes:
    """Rows of samples [h, w] (or [h, w * samples]) of `bits` each, most significant first, rows padded to bytes."""
    places = np.arange(bits - 1, -1, -1)
    unpacked = ((samples[:, :, None].astype(np.int64) >> places) & 1).astype(np.uint8)
    return np.packbits(unpacked.reshape(len(samples), -1), axis=1).tobytes()


def tiles(image: NDArray, side: int) -> list[NDArray]:
    """`image` [h, w(, c)] in tiles of `side` pixels, row by row, padded by zeros."""
    height, width = image.shape[:2]
    pad = [(0, -height % side), (0, -width % side)] + [(0, 0)] * (image.ndim - 2)
    padded = np.pad(image, pad)
    return [
        padded[y : y + side, x : x + side]
        for y in range(0, padded.shape[0], side)
        for x in range(0, padded.shape[1], side)
    ]


def lzw(raw: bytes) -> bytes:
    """`raw` as LZW codes of TIFF 6.0, section 13, without compression: the table is cleared before codes get longer."""
    codes = []
    for start in range(0, len(raw), 200):
        codes += [256, *raw[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))


def tiff(pages: Sequence[TiffPage], *, big_endian: bool = False, big: bool = False) -> bytes:
    """The file of `pages`; `big`: as BigTIFF."""
    order = ">" if big_endian else "<"
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    start = b"MM" if big_endian else b"II"
    head = start + (struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42))
    content = bytearray(head + bytes(8 if big else 4))
    link = len(head)
    for page in pages:
        places = []
        for part in page.data:
            places.append(len(content))
            content += part + bytes(len(part) % 2)
        tags = _layout(page, places)
        values = b""
        directory = len(content)
        after = directory + struct.calcsize(count) + entry * len(tags) + struct.calcsize(offset)
        entries = b""
        for tag in sorted(tags):
            value = tags[tag]
            numbers = [value] if isinstance(value, int) else list(value)
            kind = LONG if max(numbers) > 65535 or tag in (STRIP_OFFSETS, TILE_OFFSETS) else SHORT
            raw = struct.pack(order + ("I" if kind == LONG else "H") * len(numbers), *numbers)
            entries += struct.pack(order + "HH" + offset, tag, kind, len(numbers))
            room = struct.calcsize(offset)
            if len(raw) <= room:
                entries += raw.ljust(room, b"\0")
            else:
                entries += struct.pack(order + offset, after + len(values))
                values += raw + bytes(len(raw) % 2)
        content[link : link + struct.calcsize(offset)] = struct.pack(order + offset, directory)
        content += struct.pack(order + count, len(tags)) + entries
        link = len(content)
        content += bytes(struct.calcsize(offset)) + values
    return bytes(content)


def _layout(page: TiffPage, places: Sequence[int]) -> dict[int, int | Sequence[int]]:
    sizes = [len(part) for part in page.data]
    own: dict[int, int | Sequence[int]] = {WIDTH: page.width, HEIGHT: page.height, COMPRESSION: 1}
    if page.tile:
        own |= {TILE_WIDTH: page.tile, TILE_HEIGHT: page.tile, TILE_OFFSETS: places, TILE_BYTES: sizes}
    else:
        own |= {STRIP_OFFSETS: places, ROWS: page.height, STRIP_BYTES: sizes}
    return own | dict(page.tags)
