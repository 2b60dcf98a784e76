"""Events of TensorBoard: scalars and images of one step, as tensorflow/core/util/event.proto encodes them.

Written without TensorFlow: its writer (`tf.summary`) runs operations of the graph, knows no purge step, and reports a
full disk from a thread of its own.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from data_tools.shards.records import FRAME_BYTES, RecordError, field, frame, unframe, varint

VERSION = b"brain.Event:2"

# Tags of event.proto (wall_time, step, file_version, summary, session_log), of summary.proto (a summary's value; its
# tag, simple_value and image) and of its Image (height, width, colorspace, encoded_image_string).
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY, _SESSION_LOG = b"\x09", b"\x10", b"\x1a", b"\x2a", b"\x3a"
_VALUE, _TAG, _SIMPLE_VALUE, _IMAGE = b"\x0a", b"\x0a", b"\x15", b"\x22"
_HEIGHT, _WIDTH, _COLORSPACE, _ENCODED = b"\x08", b"\x10", b"\x18", b"\x22"
_SESSION_START = b"\x08\x01"
_DOUBLE, _FLOAT, _LENGTH = struct.Struct("<d"), struct.Struct("<f"), struct.Struct("<Q")
_LARGEST = 3.4028234663852886e38
"""Of float32, which `simple_value` is."""
_VARINT_TYPE, _BYTES_TYPE = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
"""Bytes of a field's value by wire type."""


@dataclass(frozen=True)
class Picture:
    """An encoded PNG image and its size in pixels. channels: 1, or 3 in color."""

    png: bytes
    height: int
    width: int
    channels: int


def event(
    step: int,
    *,
    wall_time: float,
    scalars: Mapping[str, float] | None = None,
    images: Mapping[str, Picture] | None = None,
) -> bytes:
    """A framed event of `step` with scalars and images by tag. wall_time: unix seconds."""
    values = [
        field(_TAG, tag.encode()) + _SIMPLE_VALUE + _FLOAT.pack(_as_float32(value))
        for tag, value in (scalars or {}).items()
    ]
    values += [field(_TAG, tag.encode()) + field(_IMAGE, _image(picture)) for tag, picture in (images or {}).items()]
    summary = b"".join(field(_VALUE, value) for value in values)
    return _framed(step, wall_time, field(_SUMMARY, summary))


def file_start(wall_time: float) -> bytes:
    """The first events of a file: its version, and a session that begins at step 0, so that a reader which still holds
    the points of an earlier file drops them.
    """
    version = _framed(0, wall_time, field(_FILE_VERSION, VERSION))
    return version + _framed(0, wall_time, field(_SESSION_LOG, _SESSION_START))


def points_of(content: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Step, first tag and framed bytes of each event with a summary in a file's content.

    Ends before a record that is truncated or corrupt, as a killed process leaves it.
    """
    start = 0
    while len(content) - start >= FRAME_BYTES:
        end = start + FRAME_BYTES + _LENGTH.unpack_from(content, start)[0]
        record, start = content[start:end], end
        try:
            fields = _fields(unframe(record))
            first = _fields(_fields(fields[_SUMMARY])[_VALUE]) if _SUMMARY in fields else {}
        except (RecordError, IndexError, KeyError, struct.error):
            return
        if _TAG in first:
            yield int.from_bytes(fields.get(_STEP, b""), "little"), first[_TAG].decode(errors="replace"), record


def _framed(step: int, wall_time: float, content: bytes) -> bytes:
    return b"".join(frame(_WALL_TIME + _DOUBLE.pack(wall_time) + _STEP + varint(step) + content))


def _as_float32(value: float) -> float:
    """`value`, or infinity of its sign where float32 has no such number: a loss may diverge."""
    return value if abs(value) <= _LARGEST or math.isnan(value) else math.copysign(math.inf, value)


def _image(picture: Picture) -> bytes:
    numbers = ((_HEIGHT, picture.height), (_WIDTH, picture.width), (_COLORSPACE, picture.channels))
    return b"".join(tag + varint(number) for tag, number in numbers) + field(_ENCODED, picture.png)


def _fields(message: bytes) -> dict[bytes, bytes]:
    """The first value of each field of a message, by the field's tag; integers as little-endian bytes."""
    found: dict[bytes, bytes] = {}
    place = 0
    while place < len(message):
        tag, kind = message[place : place + 1], message[place] & 7
        number, size = 0, _FIXED_BYTES.get(kind, 0)
        place += 1
        if kind in (_VARINT_TYPE, _BYTES_TYPE):
            number, place = _read_varint(message, place)
            size = number if kind == _BYTES_TYPE else 0
        value = number.to_bytes(8, "little") if kind == _VARINT_TYPE else message[place : place + size]
        found.setdefault(tag, value)
        place += size
    return found


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    """The integer at `place`, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
