"""Records: tf.train.Example in TFRecord framing, written without TensorFlow.

The image comes first, so its offset in a record follows from its length. All records of a `raw` shard set have the same
length: an unknown field of the Example message, which protobuf readers skip, pads labels and ids of different lengths.
"""

import struct
from functools import lru_cache, reduce
from pathlib import Path

import google_crc32c

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEAD_BYTES = _LENGTH.size + _CHECKSUM.size
FRAME_BYTES = _HEAD_BYTES + _CHECKSUM.size
"""Bytes that TFRecord adds to a record: its length and two checksums."""

PIECE_BYTES = 2**20
"""Bytes of a long file that are read at a time: few calls, and still in the processor's cache."""

# Tags of tensorflow/core/example/{example,feature}.proto: 0x0A is field 1, 0x12 field 2, 0x1A field 3, each
# length-delimited; 0x7A is field 15, which Example does not have.
_FIELD_1, _FIELD_2, _FIELD_3, _PADDING = b"\x0a", b"\x12", b"\x1a", b"\x7a"


class RecordError(Exception):
    """Bytes that are not a record; the text is the reason."""


def example(image: bytes, class_id: int, page_id: bytes, *, metadata_bytes: int = 0) -> tuple[bytes, bytes, bytes]:
    """A serialized tf.train.Example with the features `image` and `id` (bytes) and `label` (int64).

    Returned in three pieces, of which the second is `image` itself, which is not copied. Unless `metadata_bytes` is 0,
    label, id and padding together take this size; see `min_metadata_bytes`.
    """
    head = _image_head(len(image))
    tail = _metadata(class_id, page_id)
    features = len(head) + len(image) + len(tail)
    if metadata_bytes:
        # Always two bytes of length, so that a byte of padding is a byte of the record.
        missing = metadata_bytes - len(tail) - 3
        tail += _PADDING + varint(missing, width=2) + bytes(missing)
    return _FIELD_1 + varint(features, width=5) + head, image, tail


def min_metadata_bytes(class_id: int, page_id: bytes) -> int:
    """The least `metadata_bytes` for this label and id, with the three bytes of the padding field."""
    return len(_metadata(class_id, page_id)) + 3


def metadata_bytes_of(record_bytes: int, image_bytes: int) -> int:
    """The `metadata_bytes` of a framed record of `record_bytes` with an image of `image_bytes`."""
    return record_bytes - image_start(image_bytes) - image_bytes - _CHECKSUM.size


def image_start(image_bytes: int) -> int:
    """Offset of the image in its framed record, in bytes, for an image of `image_bytes`."""
    return _HEAD_BYTES + 6 + len(_image_head(image_bytes))


def frame(*payload: bytes) -> tuple[bytes, ...]:
    """One TFRecord in pieces: length with its checksum, the pieces of the payload, and their checksum."""
    length = _LENGTH.pack(sum(map(len, payload)))
    return length + _masked(length), *payload, _masked(*payload)


def unframe(record: bytes) -> bytes:
    """The payload of one TFRecord.

    Raises:
        RecordError: the record is truncated, or its length or a checksum is wrong.
    """
    if len(record) < FRAME_BYTES:
        raise RecordError("the record is truncated")
    (length,) = _LENGTH.unpack_from(record)
    if length != len(record) - FRAME_BYTES or record[_LENGTH.size : _HEAD_BYTES] != _masked(record[: _LENGTH.size]):
        raise RecordError("the record's length is corrupt")
    payload = record[_HEAD_BYTES : -_CHECKSUM.size]
    if record[-_CHECKSUM.size :] != _masked(payload):
        raise RecordError("the record's checksum is wrong")
    return payload


def checksum(*pieces: bytes, before: int = 0) -> int:
    """CRC-32C of the concatenated pieces, continuing the checksum `before` of preceding bytes."""
    return int(reduce(google_crc32c.extend, pieces, before))


def file_checksum(path: Path) -> str:
    """CRC-32C of a file as in manifests."""
    crc = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            crc = checksum(piece, before=crc)
    return written_checksum(crc)


def written_checksum(crc: int) -> str:
    """A checksum as eight hexadecimal digits, as in manifests."""
    return f"{crc:08x}"


def _masked(*pieces: bytes) -> bytes:
    """The masked checksum of the concatenated pieces, as TFRecord stores it."""
    value = checksum(*pieces)
    # TFRecord masks checksums, since a CRC of data that contains its own CRC is weak.
    return _CHECKSUM.pack((((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(value: int, *, width: int = 1) -> bytes:
    """Base-128 integer of at least `width` bytes; readers accept more bytes than needed."""
    raw = bytearray()
    value &= 2**64 - 1
    while value > 127 or len(raw) + 1 < width:
        raw.append(value & 127 | 128)
        value >>= 7
    raw.append(value)
    return bytes(raw)


def field(tag: bytes, content: bytes) -> bytes:
    """A length-delimited protobuf field. tag: its number and wire type, encoded."""
    return tag + varint(len(content)) + content


@lru_cache(maxsize=64)
def _image_head(image_bytes: int) -> bytes:
    """The bytes of the `image` map entry before the image."""
    values = _FIELD_1 + varint(image_bytes)
    lists = _FIELD_1 + varint(len(values) + image_bytes) + values
    feature = field(_FIELD_1, b"image") + _FIELD_2 + varint(len(lists) + image_bytes) + lists
    return _FIELD_1 + varint(len(feature) + image_bytes) + feature


# A page's records of all regions are written one after another.
@lru_cache(maxsize=8)
def _metadata(class_id: int, page_id: bytes) -> bytes:
    label = field(_FIELD_3, field(_FIELD_1, varint(class_id)))
    name = field(_FIELD_1, field(_FIELD_1, page_id))
    return _entry(b"label", label) + _entry(b"id", name)


def _entry(key: bytes, feature: bytes) -> bytes:
    return field(_FIELD_1, field(_FIELD_1, key) + field(_FIELD_2, feature))
