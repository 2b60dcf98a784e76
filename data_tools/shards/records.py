"""One example to bytes and back: tf.train.Example in TFRecord framing, written without TensorFlow.

The image comes first, so that its place in a record follows from its length. The records of a `raw` shard
set all have one length: ids and labels of different lengths are levelled by an unknown field of the Example
message, which every protobuf reader passes over.
"""

import struct
from functools import lru_cache, reduce
from pathlib import Path

import google_crc32c

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEAD_BYTES = _LENGTH.size + _CHECKSUM.size
FRAME_BYTES = _HEAD_BYTES + _CHECKSUM.size
"""What TFRecord adds to a record: its length and two checksums."""

PIECE_BYTES = 2**20
"""What is read at once of a long file: large enough for the calls to cost nothing, and still in the cache."""

# Tags of tensorflow/core/example/{example,feature}.proto: 0x0A is field 1, 0x12 field 2, 0x1A field 3, each
# with a length; 0x7A is field 15, which Example does not have.
_FIELD_1, _FIELD_2, _FIELD_3, _PADDING = b"\x0a", b"\x12", b"\x1a", b"\x7a"


class RecordError(Exception):
    """Bytes that are no record; its text is the reason."""


def example(image: bytes, class_id: int, page_id: bytes, *, metadata_bytes: int = 0) -> tuple[bytes, bytes, bytes]:
    """A serialised tf.train.Example with the features `image` and `id` (bytes) and `label` (int64).

    In three pieces, of which the second is `image` itself: it is never copied. Label, id and padding together
    take `metadata_bytes` where that is not 0; see `min_metadata_bytes`.
    """
    head = _image_head(len(image))
    tail = _metadata(class_id, page_id)
    features = len(head) + len(image) + len(tail)
    if metadata_bytes:
        # Two bytes of length whatever the length: one byte more of padding is one byte more of record.
        missing = metadata_bytes - len(tail) - 3
        tail += _PADDING + _varint(missing, width=2) + bytes(missing)
    return _FIELD_1 + _varint(features, width=5) + head, image, tail


def min_metadata_bytes(class_id: int, page_id: bytes) -> int:
    """Least `metadata_bytes` that this label and id need, padding's own three bytes included."""
    return len(_metadata(class_id, page_id)) + 3


def metadata_bytes_of(record_bytes: int, image_bytes: int) -> int:
    """The `metadata_bytes` with which a whole framed record of `record_bytes` was made."""
    return record_bytes - image_start(image_bytes) - image_bytes - _CHECKSUM.size


def image_start(image_bytes: int) -> int:
    """Where the image begins, counted from the record's first byte, for an image of `image_bytes`."""
    return _HEAD_BYTES + 6 + len(_image_head(image_bytes))


def frame(*payload: bytes) -> tuple[bytes, ...]:
    """One TFRecord in pieces: the length and its checksum, the pieces of the payload, their checksum."""
    length = _LENGTH.pack(sum(map(len, payload)))
    return length + _masked(length), *payload, _masked(*payload)


def unframe(record: bytes) -> bytes:
    """The payload of one whole TFRecord.

    Raises:
        RecordError: the length or a checksum is wrong.
    """
    if len(record) < FRAME_BYTES:
        raise RecordError("the record is cut off")
    (length,) = _LENGTH.unpack_from(record)
    if length != len(record) - FRAME_BYTES or record[_LENGTH.size : _HEAD_BYTES] != _masked(record[: _LENGTH.size]):
        raise RecordError("the record's length is damaged")
    payload = record[_HEAD_BYTES : -_CHECKSUM.size]
    if record[-_CHECKSUM.size :] != _masked(payload):
        raise RecordError("the record's checksum is wrong")
    return payload


def checksum(*pieces: bytes, before: int = 0) -> int:
    """CRC-32C of all pieces together, continuing the checksum `before` of what came before them."""
    return int(reduce(google_crc32c.extend, pieces, before))


def file_checksum(path: Path) -> str:
    """CRC-32C of a file's bytes as manifests write it."""
    crc = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            crc = checksum(piece, before=crc)
    return written_checksum(crc)


def written_checksum(crc: int) -> str:
    """A checksum in the eight hexadecimal digits in which manifests write it."""
    return f"{crc:08x}"


def _masked(*pieces: bytes) -> bytes:
    """The checksum of all pieces as TFRecord stores it."""
    value = checksum(*pieces)
    # TFRecord's mask: a checksum of data that contains checksums would otherwise be weak.
    return _CHECKSUM.pack((((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int, *, width: int = 1) -> bytes:
    """Base-128 integer of at least `width` bytes; longer than needed is valid and reads the same."""
    raw = bytearray()
    value &= 2**64 - 1
    while value > 127 or len(raw) + 1 < width:
        raw.append(value & 127 | 128)
        value >>= 7
    raw.append(value)
    return bytes(raw)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


@lru_cache(maxsize=64)
def _image_head(image_bytes: int) -> bytes:
    """Everything of the `image` map entry that stands before the image's bytes."""
    values = _FIELD_1 + _varint(image_bytes)
    lists = _FIELD_1 + _varint(len(values) + image_bytes) + values
    feature = _field(_FIELD_1, b"image") + _FIELD_2 + _varint(len(lists) + image_bytes) + lists
    return _FIELD_1 + _varint(len(feature) + image_bytes) + feature


# One page's records, of all its regions, come one after the other.
@lru_cache(maxsize=8)
def _metadata(class_id: int, page_id: bytes) -> bytes:
    label = _field(_FIELD_3, _field(_FIELD_1, _varint(class_id)))
    name = _field(_FIELD_1, _field(_FIELD_1, page_id))
    return _entry(b"label", label) + _entry(b"id", name)


def _entry(key: bytes, feature: bytes) -> bytes:
    return _field(_FIELD_1, _field(_FIELD_1, key) + _field(_FIELD_2, feature))
