"""Records: framing and checksums, read back by TensorFlow, and damage found."""

import struct

import pytest

from data_tools.shards.records import (
    FRAME_BYTES,
    RecordError,
    example,
    frame,
    image_start,
    metadata_bytes_of,
    min_metadata_bytes,
    unframe,
)

# CRC-32C of "123456789" is 0xE3069283 (RFC 3720's polynomial); TFRecord masks it.
CHECK = 0xE3069283


def test_frame_is_tfrecord() -> None:
    record = b"".join(frame(b"1234", b"", b"56789"))
    assert len(record) == 9 + FRAME_BYTES
    assert record[:8] == struct.pack("<Q", 9)
    masked = (((CHECK >> 15) | (CHECK << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert record[-4:] == struct.pack("<I", masked)
    assert unframe(record) == b"123456789"


@pytest.mark.parametrize("place", [0, 7, 8, 12, 15, 20, -1])
def test_any_changed_byte_is_found(place: int) -> None:
    record = bytearray(b"".join(frame(b"123456789")))
    record[place] ^= 1
    with pytest.raises(RecordError):
        unframe(bytes(record))


@pytest.mark.parametrize("length", [0, 3, 15, 24])
def test_cut_records_are_found(length: int) -> None:
    with pytest.raises(RecordError):
        unframe(b"".join(frame(b"123456789"))[:length])


@pytest.mark.parametrize("image_bytes", [0, 1, 100, 127, 128, 16_200, 16_384, 65_536, 196_608])
@pytest.mark.parametrize(("label", "page_id"), [(0, "a"), (15, "b" * 200), (-1, "ä"), (2**31 - 1, "c" * 16_000)])
def test_image_lies_where_its_length_says(image_bytes: int, label: int, page_id: str) -> None:
    image = bytes(range(256)) * (image_bytes // 256) + bytes(image_bytes % 256)
    record = b"".join(frame(*example(image, label, page_id.encode())))
    start = image_start(image_bytes)
    assert record[start : start + image_bytes] == image


def test_padding_levels_all_records() -> None:
    examples = [(0, b"a"), (300, b"b" * 127), (-5, b"c" * 128), (7, b"d" * 3000), (1, b"")]
    tail = max(min_metadata_bytes(label, name) for label, name in examples)
    records = [b"".join(frame(*example(bytes(500), label, name, metadata_bytes=tail))) for label, name in examples]
    assert len({len(record) for record in records}) == 1
    assert metadata_bytes_of(len(records[0]), 500) == tail


def test_tensorflow_reads_records() -> None:
    import tensorflow as tf

    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
    }
    for label, name, size in [(0, b"a", 4), (-3, b"b" * 130, 70_000), (300, "ö".encode(), 20_000)]:
        for padding in (0, 300):
            payload = b"".join(example(b"\x01" * size, label, name, metadata_bytes=padding))
            for parsed in (
                tf.io.parse_single_example(payload, features),
                {key: value[0] for key, value in tf.io.parse_example([payload], features).items()},
            ):
                assert parsed["image"].numpy() == b"\x01" * size
                assert parsed["label"].numpy() == label
                assert parsed["id"].numpy() == name
            message = tf.train.Example.FromString(payload)
            assert message.features.feature["id"].bytes_list.value == [name]
            assert message.features.feature["label"].int64_list.value == [label]
