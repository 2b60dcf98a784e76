"""The directories of a TIFF file: its pages, and what each of them says about its samples. Pure; reads bytes only."""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass

Content = bytes | bytearray | mmap.mmap

MAX_DIRECTORIES = 2**17
"""Directories that are followed; a loop ends the chain before."""

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_BYTES, _PREDICTOR, _PLANAR, _COLOR_MAP = 273, 277, 279, 317, 284, 320
_TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT, _JPEG_START, _JPEG_BYTES = 324, 325, 338, 339, 513, 514
_FILL_ORDER, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _ORIENTATION = 266, 278, 322, 323, 274
_TAGS = frozenset(
    {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES, _STRIP_BYTES}
    | {_PREDICTOR, _PLANAR, _COLOR_MAP, _TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT, _JPEG_START, _JPEG_BYTES}
    | {_FILL_ORDER, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _ORIENTATION}
)
_OLD_SUBFILE, _OLD_REDUCED = 255, 2
"""The tag SubfileType of TIFF 5.0, and its value for a reduced copy."""
_CUT = -1
"""Key of the tags whose values lie outside the file."""
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_VALUES = 2**20
_NO_PAGE = 0b101
"""Bits of NewSubfileType: a reduced copy of another image, and a transparency mask."""

RGB = 2
MAX_SAMPLES = 16
"""Samples of a pixel that are read."""
UINT, INT, FLOAT, _UNDEFINED = 1, 2, 3, 4
ASSOCIATED = 1
COMPRESSIONS = {
    1: "no",
    2: "CCITT RLE",
    3: "CCITT group 3",
    4: "CCITT group 4",
    5: "LZW",
    6: "old-style JPEG",
    7: "JPEG",
    8: "deflate",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32771: "CCITT RLE with word alignment",
    32773: "PackBits",
    32809: "ThunderScan",
    32908: "Pixar film",
    32909: "Pixar log",
    32946: "deflate",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI Log",
    34677: "SGI Log 24",
    34712: "JPEG 2000",
    34718: "Microsoft Office MDI",
    34719: "Microsoft Office MDI",
    34720: "Microsoft Office MDI",
    34887: "LERC",
    34892: "lossy DNG JPEG",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
"""Names of compressions by their tag's value (libtiff's tiff.h)."""
READ_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32766, 32771, 32773, 32809, 32908, 32909, 32946})
READ_COMPRESSIONS |= {34676, 34677, 34925, 50000}
"""Compressions that OpenCV or Pillow decodes. For others, OpenCV reports an error and returns a page all the same."""


@dataclass(frozen=True)
class Directory:
    """One image of a TIFF file. A value that the file does not give is TIFF's default.

    offset: of the directory, in bytes. bits, sample_format: of the first sample. extra: kinds of the samples beyond
    the color (1: associated alpha, 2: unassociated alpha). parts: (offset, bytes) of strips or tiles. jpeg: the same
    of an old-style JPEG stream. cut: values of a tag lie outside the file. order: byte order as in `struct`.
    rows: of a strip. tile: width and height of a tile.
    """

    offset: int
    subfile: int
    width: int
    height: int
    bits: int
    samples: int
    sample_format: int
    compression: int
    photometric: int
    predictor: int
    planar: bool
    tiled: bool
    extra: tuple[int, ...]
    parts: tuple[tuple[int, int], ...]
    jpeg: tuple[int, int] | None
    cut: bool
    order: str
    fill_order: int
    rows: int
    tile: tuple[int, int]
    orientation: int

    @property
    def alpha(self) -> int | None:
        """The kind of alpha, 1 or 2; None without."""
        return next((kind for kind in self.extra if kind in (1, 2)), None)

    @property
    def undeclared_alpha(self) -> bool:
        """Whether there is one sample beside gray or RGB that is not declared as alpha; some programs write it so."""
        colors = {0: 1, 1: 1, RGB: 3}.get(self.photometric)
        return colors is not None and self.samples == colors + 1 and self.alpha is None

    def truncated(self, size: int) -> bool:
        """Whether a strip, a tile or a tag's values lie outside a file of `size` bytes."""
        return self.cut or any(offset + length > size for offset, length in self.parts)

    def unsupported(self) -> str | None:
        """What decoders lack: a compression or a kind of samples by its name; None if both are common."""
        if self.compression not in READ_COMPRESSIONS:
            name = COMPRESSIONS.get(self.compression)
            return f"{name} compression ({self.compression})" if name else f"compression {self.compression}"
        kind = {INT: "signed ", FLOAT: "floating-point "}.get(self.sample_format, "")
        if self.sample_format > FLOAT or self.bits not in (1, 2, 4, 8, 16, 32):
            return f"{self.bits}-bit {kind}samples (format {self.sample_format})"
        if self.sample_format == FLOAT and self.bits < 32:
            return f"{self.bits}-bit {kind}samples"
        return f"{self.samples} samples a pixel" if self.samples > MAX_SAMPLES else None

    def described(self) -> str:
        """Compression and samples in words, for a file that no decoder reads."""
        kind = {INT: "signed ", FLOAT: "floating-point "}.get(self.sample_format, "")
        name = COMPRESSIONS.get(self.compression, str(self.compression))
        layout = ", tiled" if self.tiled else ""
        return (
            f"{name} compression, {self.samples} x {self.bits}-bit {kind}samples, "
            f"photometric interpretation {self.photometric}{layout}"
        )


def pages(content: Content) -> list[int]:
    """Offsets of the directories that are pages, in their order; thumbnails and masks are none.

    The last offset may lie outside a truncated file: the page is there, and cannot be read. A file whose images are
    all marked as reduced copies has them as pages.
    """
    found = _chain(content)
    kept = [offset for offset, subfile in found if not subfile & _NO_PAGE]
    return kept or [offset for offset, _ in found]


def put_first(content: bytearray, offset: int) -> None:
    """Change a file in memory, so that the directory at `offset` is its first: decoders then read this page."""
    order, big = _layout(content)
    struct.pack_into(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4, offset)


def unturned(content: Content) -> bytearray:
    """A copy of a file whose first directory can be read, with orientation 1 in it: decoders return it as stored."""
    copy = bytearray(content)
    order, big = _layout(content)
    offset = _number(content, 8 if big else 4, f"{order}{'Q' if big else 'I'}")
    for place in _places(content, offset):
        tag, kind = struct.unpack_from(f"{order}HH", content, place)
        if tag == _ORIENTATION and kind in _FORMATS:
            struct.pack_into(f"{order}{_FORMATS[kind]}", copy, place + (12 if big else 8), 1)
    return copy


def directory(content: Content) -> Directory | None:
    """The first directory; None if it cannot be read."""
    try:
        order, big = _layout(content)
        offset = _number(content, 8 if big else 4, f"{order}{'Q' if big else 'I'}")
        tags, _ = _entries(content, offset)
    except (struct.error, ValueError):
        return None

    def one(tag: int, default: int) -> int:
        values = tags.get(tag, ())
        return values[0] if values else default

    tiled = _TILE_OFFSETS in tags
    starts, sizes = (_TILE_OFFSETS, _TILE_BYTES) if tiled else (_STRIP_OFFSETS, _STRIP_BYTES)
    stream = one(_JPEG_START, 0), one(_JPEG_BYTES, 0)
    return Directory(
        offset=offset,
        subfile=one(_SUBFILE, 0),
        width=one(_WIDTH, 0),
        height=one(_HEIGHT, 0),
        bits=one(_BITS, 1),
        samples=one(_SAMPLES, 1),
        # TIFF 6.0 has undefined samples read as unsigned integers.
        sample_format=UINT if one(_FORMAT, UINT) == _UNDEFINED else one(_FORMAT, UINT),
        compression=one(_COMPRESSION, 1),
        photometric=one(_PHOTOMETRIC, 1),
        predictor=one(_PREDICTOR, 1),
        planar=one(_PLANAR, 1) == 2,
        tiled=tiled,
        extra=tuple(tags.get(_EXTRA, ())),
        parts=tuple(zip(tags.get(starts, ()), tags.get(sizes, ()), strict=False)),
        jpeg=stream if stream[0] else None,
        cut=_CUT in tags,
        order=order,
        fill_order=one(_FILL_ORDER, 1),
        rows=one(_ROWS, 2**32 - 1),
        tile=(one(_TILE_WIDTH, 0), one(_TILE_HEIGHT, 0)),
        orientation=one(_ORIENTATION, 1),
    )


def _chain(content: Content) -> list[tuple[int, int]]:
    """(offset, NewSubfileType) of the directories; a broken one ends the chain and is its last entry."""
    try:
        order, big = _layout(content)
        offset = _number(content, 8 if big else 4, f"{order}{'Q' if big else 'I'}")
    except (struct.error, ValueError):
        return []
    found: dict[int, int] = {}
    while offset and offset not in found and len(found) < MAX_DIRECTORIES:
        found[offset] = 0
        try:
            tags, after = _entries(content, offset, wanted=frozenset({_SUBFILE, _OLD_SUBFILE}))
        except (struct.error, ValueError):
            break
        reduced = next(iter(tags.get(_OLD_SUBFILE, ())), 0) == _OLD_REDUCED
        found[offset] = next(iter(tags.get(_SUBFILE, ())), int(reduced))
        offset = after
    return list(found.items())


def _layout(content: Content) -> tuple[str, bool]:
    """Byte order for `struct`, and whether offsets have 8 bytes (BigTIFF)."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(content[:2]))
    if order is None:
        raise ValueError("not a TIFF file")
    return order, _number(content, 2, f"{order}H") == 43


def _entries(content: Content, offset: int, *, wanted: frozenset[int] = _TAGS) -> tuple[dict[int, Sequence[int]], int]:
    """The values of the `wanted` tags of a directory, and the offset of the next directory."""
    order, big = _layout(content)
    room = 8 if big else 4
    places = _places(content, offset)
    tags: dict[int, Sequence[int]] = {}
    for place in places:
        tag, kind = struct.unpack_from(f"{order}HH", content, place)
        if tag not in wanted or kind not in _FORMATS:
            continue
        values = _number(content, place + 4, order + ("Q" if big else "I"))
        if values > _MAX_VALUES:
            raise ValueError(f"tag {tag} has {values} values")
        numbers = f"{order}{values}{_FORMATS[kind]}"
        at = place + (12 if big else 8)
        if struct.calcsize(numbers) > room:
            at = _number(content, at, order + ("Q" if big else "I"))
        if at + struct.calcsize(numbers) > len(content):
            tags[_CUT] = (tag,)
            continue
        tags[tag] = struct.unpack_from(numbers, content, at)
    # A file may end right after its last directory.
    end = places.stop
    after = _number(content, end, order + ("Q" if big else "I")) if end + room <= len(content) else 0
    return tags, after


def _places(content: Content, offset: int) -> range:
    """Where the entries of the directory at `offset` start; it ends where the last one ends."""
    order, big = _layout(content)
    count_format, entry = ("Q", 20) if big else ("H", 12)
    count = _number(content, offset, order + count_format)
    start = offset + struct.calcsize(count_format)
    if start + count * entry > len(content):
        raise ValueError("the directory ends outside the file")
    return range(start, start + count * entry, entry)


def _number(content: Content, place: int, form: str) -> int:
    if place < 0 or place > len(content):
        raise ValueError("outside the file")
    return int(struct.unpack_from(form, content, place)[0])
