"""The strips and tiles of a TIFF page, decompressed: by zlib with its checksum, or by Pillow's libtiff.

OpenCV ignores libtiff's errors and shows what follows the damage as zeros; here a damaged part is an error.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats.tiff import MAX_SAMPLES, Content, Directory
from data_tools.documents.opencv import MAX_PIXELS

_DEFLATE = frozenset({8, 32946})
_LZW, _PACKBITS, _LZMA, _ZSTANDARD = 5, 32773, 34925, 50000
COMPRESSIONS = _DEFLATE | {1, _LZW, _PACKBITS, _LZMA, _ZSTANDARD}
"""Compressions that `plane` reads."""
_HIDDEN = _DEFLATE | {_LZW, _PACKBITS}
_YCBCR = 6
_MAX_BITS = 64
_MAX_BYTES = 8 * MAX_PIXELS
"""Size of a plane that is decompressed: RGB with alpha of 16 bits has it at the largest page."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in reverse order."""


@dataclass(frozen=True)
class Grid:
    """How a page is divided: `planes` planes of `across` x `down` strips or tiles.

    rows, columns, samples: of one part. row_bytes: of one row of a part. height: rows of a plane's parts, one below
    the other.
    """

    planes: int
    across: int
    down: int
    rows: int
    columns: int
    samples: int
    row_bytes: int
    height: int


def grid(directory: Directory) -> Grid:
    """The division of a page into strips or tiles."""
    columns, rows = directory.tile if directory.tiled else (directory.width, min(directory.rows, directory.height))
    across, down = -(-directory.width // max(columns, 1)), -(-directory.height // max(rows, 1))
    samples = 1 if directory.planar else directory.samples
    return Grid(
        planes=directory.samples if directory.planar else 1,
        across=across,
        down=down,
        rows=rows,
        columns=columns,
        samples=samples,
        row_bytes=-(-columns * samples * directory.bits // 8),
        height=across * down * rows if directory.tiled else directory.height,
    )


def readable(directory: Directory) -> bool:
    """Whether `plane` knows this kind of page. Chroma of YCbCr may be subsampled, which `grid` does not describe."""
    parts = grid(directory)
    return (
        directory.compression in COMPRESSIONS
        and directory.photometric != _YCBCR
        and directory.width * directory.height * directory.samples > 0
        and directory.samples <= MAX_SAMPLES
        and directory.bits <= _MAX_BITS
        and parts.rows * parts.row_bytes > 0
        and parts.height * parts.columns <= MAX_PIXELS
        and parts.height * parts.row_bytes <= _MAX_BYTES
        and len(directory.parts) == parts.planes * parts.across * parts.down
        and all(length for _, length in directory.parts)
    )


def damage_hidden(directory: Directory) -> bool:
    """Whether OpenCV hides damage of this page's parts that `plane` finds."""
    return directory.compression in _HIDDEN and readable(directory)


def intact(content: Content, directory: Directory) -> bool:
    """Whether all parts of a `readable` page decompress to their size."""
    planes = range(grid(directory).planes)
    return all(rows is not None for number in planes for rows in _decompressed(content, directory, number))


def plane(content: Content, directory: Directory, number: int) -> NDArray[np.uint8] | None:
    """The parts of one plane, one below the other: uint8 [height, row_bytes] of its `grid`; None if one is damaged.

    number: of the plane, from 0 on; a chunky page has one.
    """
    parts, found = grid(directory), []
    for rows in _decompressed(content, directory, number):
        if rows is None:
            return None
        found.append(rows)
    return np.frombuffer(bytearray().join(found), np.uint8).reshape(parts.height, parts.row_bytes)


def _decompressed(content: Content, directory: Directory, number: int) -> Iterator[bytes | memoryview | None]:
    """The rows of one plane in turn, those of one part or several; None for damaged ones."""
    parts = grid(directory)
    count = parts.across * parts.down
    places = directory.parts[number * count : (number + 1) * count]
    if directory.compression not in _DEFLATE | {1}:
        yield from _by_libtiff(content, directory, places)
        return
    size = parts.rows * parts.row_bytes
    for row, place in enumerate(places):
        # The last strip may have fewer rows.
        own = min(parts.rows, parts.height - row * parts.rows) * parts.row_bytes
        part = _packed(content, directory, place)
        part = _inflated(part, own, size) if directory.compression in _DEFLATE else part[:own]
        yield part if len(part) == own else None


def _packed(content: Content, directory: Directory, place: tuple[int, int]) -> bytes:
    part = bytes(content[place[0] : place[0] + place[1]])
    return part.translate(_REVERSED) if directory.fill_order == 2 else part


def _inflated(packed: bytes, size: int, spare: int) -> bytes:
    """`size` bytes of a part, or none if it is damaged; up to `spare` further ones lead to its checksum."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(packed, size)
        # Some writers fill up the last strip. One that ends without a checksum is read by other decoders too.
        rest = stream.decompress(stream.unconsumed_tail, spare)
    except zlib.error:
        return b""
    return raw if stream.eof or not rest else b""


_BATCH = 2**20
"""Bytes that libtiff decompresses at once; a decoder is opened for each batch, and large ones leave the cache."""


def _by_libtiff(
    content: Content, directory: Directory, places: Sequence[tuple[int, int]]
) -> Iterator[memoryview | None]:
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    parts = grid(directory)
    several = max(1, _BATCH // (parts.rows * parts.row_bytes))
    for first in range(0, len(places), several):
        packed = [_packed(content, directory, place) for place in places[first : first + several]]
        height = min(len(packed) * parts.rows, parts.height - first * parts.rows)
        file = _as_gray(packed, directory.compression, (height, parts.row_bytes), rows=parts.rows)
        page = pillow.decode(file, "TIFF", limit=height * parts.row_bytes)
        yield None if page is None or page.shape != (height, parts.row_bytes) else np.asarray(page, np.uint8).data


def _as_gray(packed: Sequence[bytes], compression: int, shape: tuple[int, int], *, rows: int) -> bytes:
    """A TIFF file of `shape` that has the parts as strips of 8-bit gray, which a decoder returns as they are.

    rows: of a strip.
    """
    count, entries = len(packed), 9
    lists = 8 + 2 + 12 * entries + 4
    sizes = [len(part) for part in packed]
    offsets = list(itertools.accumulate(sizes[:-1], initial=lists + 8 * count))
    tags = [
        (256, 1, shape[1]),
        (257, 1, shape[0]),
        (258, 1, 8),
        (259, 1, compression),
        (262, 1, 1),
        (273, count, lists if count > 1 else offsets[0]),
        (277, 1, 1),
        (278, 1, rows),
        (279, count, lists + 4 * count if count > 1 else sizes[0]),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, values, value) for tag, values, value in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, entries) + directory + bytes(4)
    return b"".join([head, struct.pack(f"<{2 * count}I", *offsets, *sizes), *packed])
