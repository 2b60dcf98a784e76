"""TensorFlow's reading of JPEG and PNG bytes in an exported model agrees with that of `predict`."""

import io
import struct
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data_tools.documents import pixels
from trainer.export.encoded import decode
from trainer.export.file_parts import orientation

GENERATOR = np.random.default_rng(5)
RGBA = Image.fromarray(GENERATOR.integers(0, 256, (40, 30, 4)).astype(np.uint8))
RGB = RGBA.convert("RGB")
GRAY = RGB.convert("L")
TURN = 0x0112


def saved(image: Image.Image, form: str = "PNG", *, turn: int | None = None, **options: Any) -> bytes:
    """The bytes of a file; turn: its EXIF orientation."""
    exif = Image.Exif()
    if turn is not None:
        exif[TURN] = turn
    out = io.BytesIO()
    image.save(out, form, **options, **({"exif": exif} if turn is not None else {}))
    return out.getvalue()


def deep(samples: int, *, opaque: bool = False) -> bytes:
    """A 16-bit PNG of random samples a pixel."""
    import cv2

    page = GENERATOR.integers(0, 2**16, (40, 30, samples)).astype(np.uint16)
    if opaque:
        page[:, :, -1] = 2**16 - 1
    return bytes(cv2.imencode(".png", page)[1])


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_with(*segments: bytes) -> bytes:
    """A JPEG with these bytes before its other segments."""
    return b"\xff\xd8" + b"".join(segments) + saved(GRAY, "JPEG")[2:]


def exif_data(turn: int, *, order: str = "<", tag: int = TURN, first: int = 8) -> bytes:
    """EXIF data with a tag before that of orientation; order: of its bytes; first: where its directory starts."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", first) + bytes(first - 8)
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 99, 0) + struct.pack(f"{order}HHIHH", tag, 3, 1, turn, 0)
    return head + struct.pack(f"{order}H", 2) + entries + bytes(4)


EXIF = segment(0xE1, b"Exif\0\0" + exif_data(6))
PAGES = {
    "RGB": saved(RGB),
    "gray": saved(GRAY),
    "palette": saved(RGB.quantize(16)),
    "bilevel": saved(GRAY.convert("1")),
    "16-bit gray": deep(1),
    "16-bit RGB": deep(3),
    "opaque 16-bit RGBA": deep(4, opaque=True),
    "16-bit RGBA": deep(4),
    "RGBA": saved(RGBA),
    "gray and alpha": saved(RGBA.convert("LA")),
    "palette and tRNS": saved(RGB.quantize(16), transparency=bytes([0, 100, 200]) + bytes([255]) * 13),
    "1-bit palette and tRNS": saved(RGB.quantize(2), transparency=bytes([0, 90])),
    "RGB and tRNS": saved(RGB, transparency=RGB.getpixel((3, 3))),
    "gray and tRNS": saved(GRAY, transparency=GRAY.getpixel((3, 3))),
    "bilevel and tRNS": saved(GRAY.convert("1"), transparency=0),
    "turned RGBA": saved(RGBA, turn=6),
    **{f"PNG turned {turn}": saved(GRAY, turn=turn) for turn in (6, 8)},
    **{f"JPEG turned {turn}": saved(GRAY, "JPEG", turn=turn) for turn in range(10)},
    "big-endian EXIF": jpeg_with(segment(0xE1, b"Exif\0\0" + exif_data(5, order=">", first=20))),
    "another tag": jpeg_with(segment(0xE1, b"Exif\0\0" + exif_data(6, tag=0x0113))),
    "EXIF after XMP": jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), EXIF),
    "EXIF after a profile": jpeg_with(*[segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000))] * 3, EXIF),
    "fill bytes": jpeg_with(b"\xff\xff", EXIF),
    "two of EXIF": jpeg_with(EXIF, segment(0xE1, b"Exif\0\0" + exif_data(3))),
    "truncated EXIF": jpeg_with(segment(0xE1, b"Exif\0\0" + exif_data(6)[:23])),
    "directory outside": jpeg_with(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(30))),
    "no EXIF data": jpeg_with(segment(0xE1, b"Exif\0\0")),
    "EXIF of neither order": jpeg_with(segment(0xE1, b"Exif\0\0XX" + exif_data(6)[2:])),
}


@cache
def read(channels: int) -> Any:
    """`decode` as part of an exported model."""
    import tensorflow as tf

    return tf.function(lambda content: decode(content, channels), input_signature=[tf.TensorSpec([], tf.string)])


def read_as_png(page: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(read(1)(saved(Image.fromarray(page))).numpy()[:, :, 0])


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("kind", PAGES)
def test_a_file_is_read_as_by_predict(kind: str, color: bool) -> None:
    found = read(3 if color else 1)(PAGES[kind]).numpy()
    expected = pixels.decode(PAGES[kind], color=color)
    assert found.shape[:2] == expected.shape[:2]
    # TensorFlow takes 8 bits of 16-bit opacity.
    most = 1 if kind == "16-bit RGBA" else 0
    assert np.abs(found.astype(int) - expected.reshape(found.shape)).max() <= most


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_page_is_turned_as_by_pillow(turn: int) -> None:
    content = saved(GRAY, turn=turn)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert np.array_equal(read(1)(content).numpy()[:, :, 0], np.asarray(upright))


def test_every_level_of_every_opacity_lies_on_white() -> None:
    opacity, level = np.mgrid[:256, :256]
    page = np.stack([level] * 3 + [opacity], axis=2).astype(np.uint8)
    # Rounded to nearest in integers; no value is halfway between two levels.
    assert np.array_equal(read_as_png(page), 255 - (2 * (255 - level) * opacity + 255) // 510)


@pytest.mark.parametrize("color", [False, True])
def test_cmyk_is_read_as_by_predict_within_two_levels(color: bool) -> None:
    content = saved(RGB.convert("CMYK"), "JPEG", turn=6)
    found = read(3 if color else 1)(content).numpy()
    assert np.abs(found.astype(int) - pixels.decode(content, color=color).reshape(found.shape)).max() <= 2


def test_truncated_exif_data_leaves_the_page_as_it_is() -> None:
    data = exif_data(6)
    without_value = len(data) - 8
    assert {int(orientation(data[:length])) for length in range(without_value + 1)} <= {0, 1}
    assert int(orientation(data)) == 6


def test_a_file_of_many_segments_ends() -> None:
    import tensorflow as tf

    content = jpeg_with(*[segment(0xFE, b"")] * 100_000)
    assert np.array_equal(read(1)(content), tf.io.decode_jpeg(content, channels=1, dct_method="INTEGER_ACCURATE"))
