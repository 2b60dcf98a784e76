"""Reading pages: every format, every kind of bad file, crop then area resize."""

import io
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_tools.documents.pixels import PageError, decode, encode, fit, image_format, read_page
from data_tools.documents.regions import PRESETS, WHOLE_PAGE, Box
from tests.helpers.synthetic_pages import page, png_header, tiff_header, write_page


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("compression", [None, "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_compressions(compression: str | None) -> None:
    content = saved(Image.fromarray(page(1)), "TIFF", compression=compression)
    assert np.array_equal(decode(content), page(1))


def test_fax_tiff() -> None:
    black_and_white = Image.fromarray(page(1)).convert("1")
    expected = np.asarray(black_and_white).astype(np.uint8) * 255
    for compression in ("group4", "group3"):
        assert np.array_equal(decode(saved(black_and_white, "TIFF", compression=compression)), expected)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif"])
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    write_page(tmp_path / f"p{suffix}", page(2))
    assert np.array_equal(read_page(tmp_path / f"p{suffix}"), page(2))


def test_jpeg() -> None:
    smooth = np.tile(np.arange(0, 250, 5, dtype=np.uint8), (40, 1))
    assert np.abs(decode(saved(Image.fromarray(smooth), "JPEG", quality=95)).astype(int) - smooth).max() < 8


def test_first_page_of_many() -> None:
    first, second = Image.fromarray(page(1)), Image.fromarray(page(2))
    content = saved(first, "TIFF", save_all=True, append_images=[second])
    assert np.array_equal(decode(content), page(1))


def test_color_is_rgb() -> None:
    red = np.zeros((10, 12, 3), np.uint8)
    red[..., 0] = 200
    content = saved(Image.fromarray(red), "PNG")
    assert np.array_equal(decode(content, color=True), red)
    assert decode(content).shape == (10, 12)
    # A gray page in color has three equal channels.
    gray = decode(saved(Image.fromarray(page(3)), "TIFF"), color=True)
    assert np.array_equal(gray, np.repeat(page(3)[:, :, None], 3, axis=2))
    for encoding in ("png", "jpeg"):
        back = decode(encode(red, encoding), color=True)
        assert np.abs(back.astype(int) - red).max() <= (0 if encoding == "png" else 8)


GOOD = {
    suffix: bytes(cv2.imencode(suffix, page(1, height=300, width=200))[1])
    for suffix in (".tif", ".png", ".jpg", ".bmp", ".webp")
}


@pytest.mark.parametrize("suffix", GOOD)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_cut_files_are_refused(suffix: str, share: float) -> None:
    with pytest.raises(PageError):
        decode(GOOD[suffix][: int(len(GOOD[suffix]) * share)])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a TIFF, PNG, JPEG, BMP or WebP"),
        (b"GIF89a" + bytes(100), "a GIF image, not a TIFF"),
        (b"\0\0\0\x18ftypmsf1" + bytes(100), "a HEIF image, not a TIFF"),
        (b"\0\0\0\x18ftyphevc" + bytes(100), "a HEIF image, not a TIFF"),
        (b"\0\0\0\x18ftypavis" + bytes(100), "an AVIF image, not a TIFF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), "JPEG 2000"),
        (b"PK\x03\x04" + bytes(100), "ZIP archive"),
        (png_header(100_000, 100_000), "more than 268435456 pixels"),
        (tiff_header(100_000, 100_000), "more than 268435456 pixels|cannot be decoded"),
        (tiff_header(0, 0), "cannot be decoded|refused"),
        (png_header(2_000_000, 1), "more than|cannot be decoded"),
        (b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0), "BMP"),
    ],
)
def test_bad_content(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "p.tif").write_bytes(content)
    with pytest.raises(PageError, match=reason):
        read_page(tmp_path / "p.tif")


def test_a_reason_is_opencvs_own_words_without_its_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    imdecode = cv2.imdecode
    # Empty input fails an assertion inside OpenCV, as some corrupt files do.
    monkeypatch.setattr(cv2, "imdecode", lambda raw, flags: imdecode(raw[:0], flags))
    with pytest.raises(PageError, match=r"^PNG cannot be decoded: OpenCV: !buf\.empty\(\)$"):
        decode(png_header(8, 8))


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="no such file"):
        read_page(tmp_path / "none.tif")
    with pytest.raises(PageError, match="not readable: Is a directory"):
        read_page(tmp_path)
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(PageError, match="not a regular file"):
        read_page(tmp_path / "pipe.tif")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    with pytest.raises(PageError, match="not readable"):
        read_page(tmp_path / "loop.tif")
    with pytest.raises(PageError, match="not readable"):
        read_page(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("box", [WHOLE_PAGE, *PRESETS["halves"].values(), *PRESETS["das2018"].values()])
@pytest.mark.parametrize("size", [(64, 48), (101, 33), (7, 5), (1, 1), (400, 3)])
def test_fit_is_crop_then_area_resize(box: Box, size: tuple[int, int]) -> None:
    height, width = size
    image = np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)
    y0, y1 = int(box.top * height + 0.5), int(box.bottom * height + 0.5)
    x0, x1 = int(box.left * width + 0.5), int(box.right * width + 0.5)
    if y1 > y0 and x1 > x0:
        expected = cv2.resize(image[y0:y1, x0:x1].copy(), (32, 16), interpolation=cv2.INTER_AREA)
        assert np.array_equal(fit(image, box, 16, 32)[:, :, 0], expected)
    assert fit(image, box, 16, 32).shape == (16, 32, 1)


def test_formats_by_their_first_bytes() -> None:
    assert {suffix: image_format(content) for suffix, content in GOOD.items()} == {
        ".tif": "TIFF",
        ".png": "PNG",
        ".jpg": "JPEG",
        ".bmp": "BMP",
        ".webp": "WebP",
    }
