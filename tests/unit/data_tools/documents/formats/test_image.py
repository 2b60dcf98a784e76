"""Every kind of intact image is read as a person sees it; what is not read is rejected with a true reason."""

import io
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_tools.documents.pixels import PageError, decode, read_page
from tests.helpers.hand_tiff import (
    BITS,
    COMPRESSION,
    EXTRA_SAMPLES,
    PHOTOMETRIC,
    ROWS,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_BYTES,
    STRIP_OFFSETS,
    TiffPage,
    packed,
    tiff,
)
from tests.helpers.page_kinds import HEIGHT, WIDTH, bmp, colors, hand, inked, kinds, png, saved, smooth

KINDS = kinds()

MISREAD = ("signed", "undeclared", "16-bit tiled", "tiled orientation", "bmp masks")
"""Kinds that OpenCV 5.0 returns as another page than the file holds."""

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.mark.parametrize("name", KINDS)
def test_a_page_is_read_as_a_person_sees_it(name: str) -> None:
    content, seen, tolerance = KINDS[name]
    gray = decode(content)
    assert gray.shape == seen.shape
    assert np.abs(gray.astype(int) - seen).max() <= tolerance
    in_color = decode(content, color=True)
    assert in_color.shape == (*seen.shape, 3)
    back = cv2.cvtColor(in_color, cv2.COLOR_RGB2GRAY)
    assert np.abs(back.astype(int) - seen).max() <= tolerance + 2


@pytest.mark.parametrize("name", [name for name in KINDS if "alpha" not in name and "RGBA" not in name])
def test_what_opencv_reads_keeps_its_bits(name: str) -> None:
    content = KINDS[name].content
    for flag, color in ((cv2.IMREAD_GRAYSCALE, False), (cv2.IMREAD_COLOR_RGB, True)):
        known = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        if known is not None and "tRNS" not in name and not any(word in name for word in MISREAD):
            assert np.array_equal(decode(content, color=color), known)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_opaque_alpha_channel_changes_nothing(kind: str) -> None:
    opaque = Image.fromarray(np.dstack([colors(), np.full((HEIGHT, WIDTH), 255, np.uint8)]))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    content = saved(opaque, kind, **options)
    for flag, color in ((cv2.IMREAD_GRAYSCALE, False), (cv2.IMREAD_COLOR_RGB, True)):
        assert np.array_equal(decode(content, color=color), cv2.imdecode(np.frombuffer(content, np.uint8), flag))


def test_colors_are_composited() -> None:
    _, opacity, _ = inked()
    rgba = np.dstack([colors(), opacity])
    share = (opacity / 255)[:, :, None]
    expected = np.floor(255 - (255.0 - colors()) * share + 0.5)
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        found = decode(saved(Image.fromarray(rgba), kind, **options), color=True)
        assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (hand([bytes(100)], bits=8, photometric=1, samples=1, compression=34712), "JPEG 2000 compression"),
        (hand([bytes(100)], bits=8, photometric=1, samples=1, compression=50001), "WebP compression"),
        (hand([bytes(100)], bits=8, photometric=1, samples=1, compression=34661), "JBIG compression"),
        (hand([bytes(100)], bits=8, photometric=1, samples=1, compression=4711), "compression 4711"),
        (hand([bytes(100)], bits=16, photometric=1, samples=1, format=3, compression=32766), "16-bit floating-point"),
        (hand([bytes(100)], bits=24, photometric=1, samples=1, compression=32766), "24-bit samples"),
        (
            hand([bytes(100)], bits=[16, 16], photometric=1, samples=2, extra=2, compression=32766),
            "2 x 16-bit samples",
        ),
        (hand([bytes(64 * WIDTH * HEIGHT)], bits=8, photometric=1, samples=64), "64 samples a pixel"),
        (hand([bytes(100)], bits=5512, photometric=1, samples=1, compression=5), "5512-bit samples"),
        (hand([bytes(3 * WIDTH * HEIGHT)], bits=[8] * 3, photometric=32844, samples=3), "interpretation 32844"),
    ],
)
def test_an_intact_tiff_that_is_not_read_is_not_called_damaged(page: TiffPage, reason: str) -> None:
    with pytest.raises(PageError, match=reason) as error:
        decode(tiff([page]))
    assert "truncated" not in str(error.value)


STRIPS = ("tiff_lzw", "packbits", "tiff_adobe_deflate")


def strips(mode: str, compression: str, rows: int) -> tuple[bytes, list[tuple[int, int]]]:
    """A TIFF file of strips of `rows` rows, and (offset, bytes) of each."""
    image = Image.fromarray(np.tile(colors(), (2, 2, 1))).convert(mode)
    content = saved(image, "TIFF", compression=compression, tiffinfo={ROWS: rows})
    with Image.open(io.BytesIO(content)) as image:
        return content, list(zip(image.tag_v2[STRIP_OFFSETS], image.tag_v2[STRIP_BYTES], strict=True))


@pytest.mark.parametrize("rows", [9, 2 * HEIGHT])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "RGBA"])
@pytest.mark.parametrize("compression", STRIPS)
def test_a_strip_with_wrong_bytes_is_rejected(compression: str, mode: str, rows: int) -> None:
    content, places = strips(mode, compression, rows)
    assert decode(content).shape == (2 * HEIGHT, 2 * WIDTH)
    start, length = places[len(places) // 2]
    wrong = bytearray(content)
    # PackBits: codes that stand for nothing.
    fill = b"\x80" if compression == "packbits" else b"\0"
    wrong[start + length // 2 : start + length] = fill * (length - length // 2)
    with pytest.raises((OSError, zlib.error)):
        if compression == "tiff_adobe_deflate":
            zlib.decompress(wrong[start : start + length])
        else:
            Image.open(io.BytesIO(wrong)).load()
    for color in (False, True):
        with pytest.raises(PageError, match="truncated or damaged"):
            decode(bytes(wrong), color=color)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_checksum_of_deflate_is_checked(mode: str) -> None:
    content, places = strips(mode, "tiff_adobe_deflate", 9)
    start, length = places[-1]
    wrong = bytearray(content)
    wrong[start + length - 1] ^= 1
    with pytest.raises(PageError, match="truncated or damaged"):
        decode(bytes(wrong))


@pytest.mark.parametrize("bits", [8, 4])
def test_deflate_as_other_decoders_tolerate_it(bits: int) -> None:
    raw = packed(smooth() >> (8 - bits), bits)
    seen = (smooth() >> (8 - bits)) * (255 // (2**bits - 1))
    tags = {"bits": bits, "photometric": 1, "samples": 1, "compression": 8}
    without_checksum = hand([zlib.compress(raw)[:-4]], **tags)
    assert np.array_equal(decode(tiff([without_checksum])), seen)
    row = len(raw) // HEIGHT
    halves = [zlib.compress(raw[: 40 * row]), zlib.compress(raw[40 * row :] + bytes(20 * row))]
    filled_up = hand(halves, **tags)
    assert np.array_equal(decode(tiff([replace(filled_up, tags={**filled_up.tags, ROWS: 40})])), seen)


def test_color_masks_that_are_none() -> None:
    pixels = smooth().astype(np.int64)
    for bits, masks in ((16, (0xFF0000, 0xFF00, 0xFF)), (32, (0xF0F, 0xF0, 0xF000))):
        with pytest.raises(PageError, match="BMP cannot be decoded"):
            decode(bmp(pixels, bits, masks, header=40))


def test_a_jpeg_with_twelve_bits_a_sample() -> None:
    content = bytearray(saved(Image.fromarray(smooth()), "JPEG"))
    content[content.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(PageError, match="12 bits a sample"):
        decode(bytes(content))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if len(kind.content) > 1000])
def test_a_truncated_file_is_rejected_as_such(name: str, share: float) -> None:
    content = KINDS[name].content
    with pytest.raises(PageError, match=r"truncated|damaged|OpenCV|alpha channel"):
        decode(content[: int(len(content) * share)])


def test_too_many_pixels_are_not_decoded_by_the_second_decoder() -> None:
    side = 2**15
    page = TiffPage(side, side, [zlib.compress(bytes(2000))], {BITS: 4, PHOTOMETRIC: 1, SAMPLES: 1, COMPRESSION: 8})
    with pytest.raises(PageError, match=r"more than 268435456 pixels|cannot be decoded"):
        decode(tiff([page]))


def test_sizes_that_lie() -> None:
    lies = [{EXTRA_SAMPLES: 2, SAMPLES: 60_000}, {SAMPLE_FORMAT: 9}, {BITS: 0}, {PHOTOMETRIC: 60_000}]
    for tags in (*lies, {BITS: 2**32 - 1, COMPRESSION: 5}, {BITS: 2**32 - 1, COMPRESSION: 8}):
        page = TiffPage(WIDTH, HEIGHT, [smooth().tobytes()], {BITS: 8, PHOTOMETRIC: 1, SAMPLES: 1} | tags)
        try:
            assert decode(tiff([page])).size
        except PageError as error:
            assert str(error)
    rows = hand([zlib.compress(bytes(WIDTH))] * HEIGHT, bits=8, photometric=1, samples=1, compression=8)
    with pytest.raises(PageError):
        decode(tiff([replace(rows, tags={**rows.tags, ROWS: 0})]))
    short = png(8, 3, [bytes(WIDTH)] * HEIGHT, {b"PLTE": bytes(6), b"tRNS": struct.pack(">H", 0)})
    assert decode(short).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("seed", range(4))
def test_tags_of_any_value_are_read_or_rejected(seed: int) -> None:
    dice = random.Random(seed)
    pages = [kind.content for kind in KINDS.values() if kind.content[:4] == b"II*\0"]
    for _ in range(150):
        raw = bytearray(dice.choice(pages))
        start = int.from_bytes(raw[4:8], "little")
        entry = start + 2 + 12 * dice.randrange(int.from_bytes(raw[start : start + 2], "little"))
        field, values = dice.choice(
            [(0, (258, 262, 277, 284, 317, 322, 338, 339)), (4, (0, 1, 2, 5)), (8, (0, 1, 2, 3, 64))]
        )
        raw[entry + field : entry + field + 2] = dice.choice(values).to_bytes(2, "little")
        try:
            assert decode(bytes(raw), color=dice.random() < 0.5).size
        except PageError as error:
            assert str(error)


@pytest.mark.parametrize("name", ["rgba_transparent_paper.png", "palette_trns.png", "u4_gray.tif", "u1_tiled.tif"])
def test_field_cases(field_cases: Path, name: str) -> None:
    page = read_page(field_cases / name)
    with Image.open(field_cases / name) as image:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        seen = np.asarray(paper.convert("L"))
    assert np.abs(page.astype(int) - seen).max() <= 1
    assert 150 < page.mean() < 250
