"""A page in every kind of image file: its bytes, and the gray levels that a person sees. No file is stored."""

import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.hand_tiff import (
    BITS,
    COLOR_MAP,
    COMPRESSION,
    EXTRA_SAMPLES,
    FILL_ORDER,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    SAMPLE_FORMAT,
    SAMPLES,
    TiffPage,
    lzw,
    packed,
    tiff,
    tiles,
)

Gray = NDArray[np.uint8]
HEIGHT, WIDTH, TILE = 60, 50, 32
JPEG_START, JPEG_LENGTH, ORIENTATION = 513, 514, 274


class Kind(NamedTuple):
    """seen: uint8 [h, w]; tolerance: largest difference to it (lossy compression)."""

    content: bytes
    seen: Gray
    tolerance: int = 0


def smooth() -> Gray:
    """A ramp with a black and a white block; no symmetry maps it to itself."""
    image = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    image[8:20, 8:32] = 0
    image[32:40, 0:48] = 255
    return image


def colors() -> NDArray[np.uint8]:
    return np.stack([smooth(), smooth()[:, ::-1], 255 - smooth()], axis=2)


def gray_of(rgb: NDArray[np.uint8]) -> Gray:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY), np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def kinds() -> dict[str, Kind]:
    """All kinds by name."""
    parts = (
        _depths,
        _deep,
        _colors,
        _compressions,
        _old_jpegs,
        _orientations,
        _tiled_orientations,
        _unusual,
        _compressed_samples,
        _alpha_tiff,
        _alpha_png,
        _alpha_others,
        _masked_bmp,
    )
    return {name: kind for part in parts for name, kind in part()}


def hand(data: list[bytes], *, tile: int = 0, **tags: int | list[int]) -> TiffPage:
    names = {"bits": BITS, "photometric": PHOTOMETRIC, "samples": SAMPLES, "extra": EXTRA_SAMPLES, "planar": PLANAR}
    names |= {
        "compression": COMPRESSION,
        "format": SAMPLE_FORMAT,
        "fill": FILL_ORDER,
        "colors": COLOR_MAP,
        "predictor": PREDICTOR,
    }
    return TiffPage(WIDTH, HEIGHT, data, {names[name]: value for name, value in tags.items()}, tile)


def _depths() -> Iterator[tuple[str, Kind]]:
    for bits in (1, 2, 4, 8):
        top = 2**bits - 1
        levels = (smooth().astype(int) * top + 127) // 255
        seen = (levels * 255 // top).astype(np.uint8)
        for photometric in (0, 1):
            raw = levels if photometric else top - levels
            common = {"bits": bits, "photometric": photometric, "samples": 1}
            name = f"tiff {bits}-bit {'black' if photometric else 'white'} is zero"
            strip = [packed(raw, bits)]
            yield name, Kind(tiff([hand(strip, **common)]), seen)
            yield f"{name}, big endian", Kind(tiff([hand(strip, **common)], big_endian=True), seen)
            yield f"{name}, BigTIFF", Kind(tiff([hand(strip, **common)], big=True), seen)
            deflated = [zlib.compress(strip[0])]
            yield f"{name}, deflate", Kind(tiff([hand(deflated, compression=8, **common)]), seen)
            tiled = [packed(tile, bits) for tile in tiles(raw, TILE)]
            yield f"{name}, tiled", Kind(tiff([hand(tiled, tile=TILE, **common)]), seen)
        ramp = np.linspace(0, 65535, top + 1).astype(int)
        palette = [*ramp.tolist(), *ramp[::-1].tolist(), *ramp.tolist()]
        page = hand([packed(levels, bits)], bits=bits, photometric=3, samples=1, colors=palette)
        yield f"tiff {bits}-bit palette", Kind(tiff([page]), gray_of(np.stack([seen, 255 - seen, seen], axis=2)))
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in packed(smooth() > 127, 1))
    page = hand([reverse], bits=1, photometric=1, samples=1, fill=2)
    yield "tiff 1-bit, low bits first", Kind(tiff([page]), np.where(smooth() > 127, 255, 0).astype(np.uint8))


def _deep() -> Iterator[tuple[str, Kind]]:
    def one(raw: bytes, bits: int, form: int = 1, photometric: int = 1, **options: bool) -> Kind:
        page = hand([raw], bits=bits, photometric=photometric, samples=1, format=form)
        return Kind(tiff([page], **options), smooth(), 1)

    gray = smooth()
    yield "tiff 16-bit", one((gray.astype("<u2") * 257).tobytes(), 16)
    yield "tiff 16-bit white is zero", one(((255 - gray).astype("<u2") * 257).tobytes(), 16, photometric=0)
    yield "tiff 16-bit big endian", one((gray.astype(">u2") * 257).tobytes(), 16, big_endian=True)
    yield "tiff 12-bit", one(packed(gray.astype(int) * 16 + gray // 16, 12), 12)
    yield "tiff 10-bit", one(packed(gray.astype(int) * 4 + gray // 64, 10), 10)
    yield "tiff 32-bit", one((gray.astype("<u4") * 0x01010101).tobytes(), 32)
    yield "tiff signed 8-bit", one((gray.astype(int) - 128).astype(np.int8).tobytes(), 8, 2)
    tiled = [tile.tobytes() for tile in tiles((gray.astype(int) - 128).astype(np.int8), 16)]
    page = hand(tiled, tile=16, bits=8, photometric=1, samples=1, format=2)
    yield "tiff signed 8-bit tiled", Kind(tiff([page]), gray)
    yield "tiff signed 16-bit", one((gray.astype("<i2") * 128).tobytes(), 16, 2)
    yield "tiff signed 32-bit", one((gray.astype("<i4") * 0x00808080).tobytes(), 32, 2)
    yield "tiff float to 1", one((gray / 255).astype("<f4").tobytes(), 32, 3)
    yield "tiff float to 1, white is zero", one((1 - gray / 255).astype("<f4").tobytes(), 32, 3, 0)
    yield "tiff float to 255", one(gray.astype("<f4").tobytes(), 32, 3)
    yield "tiff double", one((gray / 255).astype("<f8").tobytes(), 64, 3)
    for bits in (1, 2, 4, 8, 10, 16):
        levels = (gray.astype(int) * (2**bits - 1) + 127) // 255
        raw = levels.astype("<u2").tobytes() if bits == 16 else packed(levels, bits)
        seen = (levels * 255 // (2**bits - 1)).astype(np.uint8)
        yield f"tiff undefined {bits}-bit", Kind(one(raw, bits, 4).content, seen, 1)
    yield "png 16-bit", Kind(saved(Image.fromarray(gray.astype(np.uint16) * 257), "PNG"), gray, 1)


def _colors() -> Iterator[tuple[str, Kind]]:
    rgb = colors()
    seen = gray_of(rgb)
    planes = [np.ascontiguousarray(rgb[:, :, place]).tobytes() for place in range(3)]
    three = {"bits": [8, 8, 8], "photometric": 2, "samples": 3}
    yield "tiff RGB", Kind(tiff([hand([rgb.tobytes()], **three)]), seen)
    yield "tiff RGB planar", Kind(tiff([hand(planes, planar=2, **three)]), seen)
    tiled = [np.ascontiguousarray(tile).tobytes() for tile in tiles(rgb, TILE)]
    yield "tiff RGB tiled", Kind(tiff([hand(tiled, tile=TILE, **three)]), seen)
    deep = (rgb.astype("<u2") * 257).tobytes()
    yield "tiff RGB 16-bit", Kind(tiff([hand([deep], **three | {"bits": [16] * 3})]), seen)
    floats = (rgb / 255).astype("<f4").tobytes()
    page = hand([floats], **three | {"bits": [32] * 3, "format": [3] * 3})
    yield "tiff RGB float", Kind(tiff([page]), seen, 1)
    more = np.dstack([rgb, rgb[:, :, :2]]).tobytes()
    page = hand([more], bits=[8] * 5, photometric=2, samples=5, extra=[0, 0])
    yield "tiff RGB and two extra samples", Kind(tiff([page]), seen)
    cmyk = np.dstack([255 - rgb, np.zeros((HEIGHT, WIDTH), np.uint8)])
    four = {"photometric": 5, "samples": 4}
    yield "tiff CMYK", Kind(tiff([hand([cmyk.tobytes()], bits=[8] * 4, **four)]), seen)
    yield "tiff CMYK 16-bit", Kind(tiff([hand([(cmyk.astype("<u2") * 257).tobytes()], bits=[16] * 4, **four)]), seen)
    yield "tiff YCbCr", Kind(saved(Image.fromarray(rgb).convert("YCbCr"), "TIFF"), seen, 2)
    yield "jpeg CMYK", Kind(saved(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=95), seen, 5)
    yield (
        "jpeg progressive",
        Kind(saved(Image.fromarray(rgb), "JPEG", quality=95, progressive=True, subsampling=0), seen, 8),
    )


def _compressions() -> Iterator[tuple[str, Kind]]:
    bilevel = Image.fromarray(smooth() > 127)
    black_and_white = np.where(smooth() > 127, 255, 0).astype(np.uint8)
    for name in ("tiff_ccitt", "group3", "group4"):
        for photometric in (0, 1):
            content = saved(bilevel, "TIFF", compression=name, tiffinfo={PHOTOMETRIC: photometric})
            yield f"tiff {name} {photometric}", Kind(content, black_and_white)
    for name in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd"):
        yield f"tiff {name}", Kind(saved(Image.fromarray(smooth()), "TIFF", compression=name), smooth())
        yield f"tiff {name} RGB", Kind(saved(Image.fromarray(colors()), "TIFF", compression=name), gray_of(colors()))
        yield f"tiff {name} 1-bit", Kind(saved(bilevel, "TIFF", compression=name), black_and_white)
    yield "tiff jpeg", Kind(saved(Image.fromarray(smooth()), "TIFF", compression="jpeg", quality=95), smooth(), 12)
    yield "tiff jpeg RGB", Kind(saved(Image.fromarray(colors()), "TIFF", compression="jpeg"), gray_of(colors()), 40)


def _old_jpegs() -> Iterator[tuple[str, Kind]]:
    gray = saved(Image.fromarray(smooth()), "JPEG", quality=95)
    color = saved(Image.fromarray(colors()), "JPEG", quality=95, subsampling=0)
    head = tiff([TiffPage(WIDTH, HEIGHT, [gray])]).index(gray)
    for name, stream, seen, bits, photometric in (
        ("gray", gray, smooth(), 8, 1),
        ("YCbCr", color, gray_of(colors()), [8, 8, 8], 6),
    ):
        tags = {BITS: bits, PHOTOMETRIC: photometric, SAMPLES: 1 if photometric == 1 else 3, COMPRESSION: 6, 512: 1}
        whole = tags | {JPEG_START: head, JPEG_LENGTH: len(stream)}
        yield f"tiff old-style JPEG {name}", Kind(tiff([TiffPage(WIDTH, HEIGHT, [stream], whole)]), seen, 8)
        if bits == 8:
            upside_down = Kind(tiff([TiffPage(WIDTH, HEIGHT, [stream], tags | {ORIENTATION: 3})]), seen[::-1, ::-1], 8)
            yield f"tiff old-style JPEG {name}, orientation 3", upside_down
        yield f"tiff old-style JPEG {name}, strip only", Kind(tiff([TiffPage(WIDTH, HEIGHT, [stream], tags)]), seen, 8)


def _orientations() -> Iterator[tuple[str, Kind]]:
    turn = Image.Transpose
    stored_as = [turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM]
    stored_as += [turn.TRANSPOSE, turn.ROTATE_90, turn.TRANSVERSE, turn.ROTATE_270]
    bilevel = np.where(smooth() > 127, 255, 0).astype(np.uint8)
    transparent = np.dstack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), 255 - smooth()])
    for orientation, how in enumerate(stored_as, start=2):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        stored = Image.fromarray(smooth()).transpose(how)
        raw = np.asarray(stored)
        size = {"bits": 8, "photometric": 1, "samples": 1}
        page = TiffPage(raw.shape[1], raw.shape[0], [raw.tobytes()], hand([], **size).tags | {ORIENTATION: orientation})
        yield f"tiff orientation {orientation}", Kind(tiff([page]), smooth())
        data = [packed(tile, 1) for tile in tiles(raw > 127, TILE)]
        tags = hand([], **size | {"bits": 1}).tags | {ORIENTATION: orientation}
        page = TiffPage(raw.shape[1], raw.shape[0], data, tags, TILE)
        yield f"tiff 1-bit tiled orientation {orientation}", Kind(tiff([page]), bilevel)
        yield f"jpeg orientation {orientation}", Kind(saved(stored, "JPEG", quality=95, exif=exif), smooth(), 8)
        yield f"png orientation {orientation}", Kind(saved(stored, "PNG", exif=exif), smooth())
        alpha = Image.fromarray(transparent).transpose(how)
        yield f"png RGBA orientation {orientation}", Kind(saved(alpha, "PNG", exif=exif), smooth())
        turned = np.asarray(alpha)
        tags = hand([], bits=[8] * 4, photometric=2, samples=4, extra=2).tags | {ORIENTATION: orientation}
        page = TiffPage(turned.shape[1], turned.shape[0], [turned.tobytes()], tags)
        yield f"tiff RGBA orientation {orientation}", Kind(tiff([page]), smooth(), 1)
        content = saved(alpha, "WEBP", lossless=True, exact=True, exif=exif)
        yield f"webp RGBA orientation {orientation}", Kind(content, smooth())


def _tiled_orientations() -> Iterator[tuple[str, Kind]]:
    """Ground truth: NumPy's transformations of the page as stored, by the table of TIFF 6.0's tag Orientation."""
    gray, rgb = smooth(), colors()
    _, opacity, seen = inked()
    cmyk = np.dstack([255 - rgb, np.zeros_like(gray)])
    ink = np.dstack([np.full((HEIGHT, WIDTH, 3), 40, np.uint8), opacity])
    palette = [*range(65535, -1, -257)] * 3
    layouts = {
        "gray": (gray, {"bits": 8, "photometric": 1, "samples": 1}, gray),
        "gray white is zero": (255 - gray, {"bits": 8, "photometric": 0, "samples": 1}, gray),
        "RGB": (rgb, {"bits": [8] * 3, "photometric": 2, "samples": 3}, gray_of(rgb)),
        "RGB 16-bit": (rgb.astype("<u2") * 257, {"bits": [16] * 3, "photometric": 2, "samples": 3}, gray_of(rgb)),
        "RGBA": (ink, {"bits": [8] * 4, "photometric": 2, "samples": 4, "extra": 2}, seen),
        "CMYK": (cmyk, {"bits": [8] * 4, "photometric": 5, "samples": 4}, gray_of(rgb)),
        "palette": (255 - gray, {"bits": 8, "photometric": 3, "samples": 1, "colors": palette}, gray),
    }
    stored_as = {
        2: lambda page: page[:, ::-1],
        3: lambda page: page[::-1, ::-1],
        6: lambda page: np.rot90(page, 1),
        7: lambda page: np.swapaxes(page[::-1, ::-1], 0, 1),
    }
    for orientation, turned in stored_as.items():
        for name, (page, layout, shown) in layouts.items():
            stored = turned(page)
            data = [np.ascontiguousarray(tile).tobytes() for tile in tiles(stored, TILE)]
            tags = hand([], **layout).tags | {ORIENTATION: orientation}
            content = tiff([TiffPage(stored.shape[1], stored.shape[0], data, tags, TILE)], big="gray" in name)
            yield f"tiff {name} tiled orientation {orientation}", Kind(content, shown, 1)


def _zstandard(raw: bytes) -> bytes:
    """`raw` as the only strip of a file that Pillow writes."""
    content = saved(Image.frombytes("L", (len(raw), 1), raw), "TIFF", compression="zstd")
    with Image.open(io.BytesIO(content)) as image:
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    return content[start : start + length]


def _compressed_samples() -> Iterator[tuple[str, Kind]]:
    """Deep, signed and transparent samples in compressions that OpenCV lacks or reads only with common samples."""
    gray, rgb, (level, opacity, seen) = smooth(), colors(), inked()
    one = {"bits": 16, "photometric": 1, "samples": 1}
    layouts = {
        "signed 16-bit": ((gray.astype(int) - 128) * 256, "i2", one | {"format": 2}, gray),
        "signed 8-bit": (gray.astype(int) - 128, "i1", one | {"bits": 8, "format": 2}, gray),
        "32-bit": (gray.astype("u4") * 0x1010101, "u4", one | {"bits": 32}, gray),
        "float": (gray / 255, "f4", one | {"bits": 32, "format": 3}, gray),
        "half float": (gray / 255, "f2", one | {"format": 3}, gray),
        "16-bit white is zero": ((255 - gray).astype("u2") * 257, "u2", one | {"photometric": 0}, gray),
        "RGB float": (
            rgb / 255,
            "f4",
            {"bits": [32] * 3, "photometric": 2, "samples": 3, "format": [3] * 3},
            gray_of(rgb),
        ),
        "16-bit gray and alpha": (
            np.dstack([level, opacity]).astype("u2") * 257,
            "u2",
            {"bits": [16] * 2, "photometric": 1, "samples": 2, "extra": 2},
            seen,
        ),
        "CMYK and alpha": (
            np.dstack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), 255 - level, opacity]),
            "u1",
            {"bits": [8] * 5, "photometric": 5, "samples": 5, "extra": 2},
            seen,
        ),
    }
    for name, (samples, kind, layout, shown) in layouts.items():
        for number, compress in ((5, lzw), (34925, lzma.compress), (50000, _zstandard)):
            for order in "<>":
                page = hand([compress(samples.astype(order + kind).tobytes())], compression=number, **layout)
                content = tiff([page], big_endian=order == ">")
                yield f"tiff {name}, compression {number} {order}", Kind(content, shown, 1)
    # Technical Note 3 of Adobe Photoshop's TIFF: bytes by significance, then differences.
    for samples, width in (((gray / 255).astype(">f4"), 4), ((gray / 255).astype(">f2"), 2)):
        grouped = samples.view(np.uint8).reshape(HEIGHT, WIDTH, width).swapaxes(1, 2).reshape(HEIGHT, -1)
        steps = np.diff(grouped, axis=1, prepend=np.zeros((HEIGHT, 1), np.uint8))
        options = one | {"bits": 8 * width, "format": 3, "predictor": 3}
        for number, compress in ((8, zlib.compress), (5, lzw), (34925, lzma.compress)):
            page = hand([compress(steps.tobytes())], compression=number, **options)
            yield f"tiff {8 * width}-bit float predictor, compression {number}", Kind(tiff([page]), gray, 1)


def inked() -> tuple[NDArray[np.uint8], NDArray[np.uint8], Gray]:
    """Gray ink (level 40) on transparent paper of the same color: level [h, w], opacity [h, w], what is seen [h, w]."""
    opacity = 255 - smooth()
    level = np.full_like(opacity, 40)
    seen = np.floor(255 - (255.0 - level) * (opacity / 255) + 0.5).astype(np.uint8)
    return level, opacity, seen


def _unusual() -> Iterator[tuple[str, Kind]]:
    """Layouts that neither decoder reads, or reads as they are not."""
    gray, rgb, (level, opacity, seen) = smooth(), colors(), inked()
    deep = [(tile.astype("<u2") * 257).tobytes() for tile in tiles(gray, TILE)]
    yield "tiff 16-bit tiled", Kind(tiff([hand(deep, bits=16, photometric=1, samples=1, tile=TILE)]), gray)
    deep = [((255 - tile).astype("<u2") * 257).tobytes() for tile in tiles(gray, TILE)]
    yield (
        "tiff 16-bit tiled white is zero",
        Kind(tiff([hand(deep, bits=16, photometric=0, samples=1, tile=TILE)]), gray),
    )
    for bits in (3, 5, 6, 7, 14, 24):
        levels = (gray.astype(int) * (2**bits - 1) + 127) // 255
        page = hand([packed(levels, bits)], bits=bits, photometric=1, samples=1)
        yield f"tiff {bits}-bit", Kind(tiff([page]), (levels * 255 // (2**bits - 1)).astype(np.uint8), 1)
    for bits in (1, 2, 4):
        levels = (rgb.astype(int) * (2**bits - 1) + 127) // 255
        page = hand([packed(levels.reshape(HEIGHT, -1), bits)], bits=[bits] * 3, photometric=2, samples=3)
        shown = (levels * 255 // (2**bits - 1)).astype(np.uint8)
        yield f"tiff RGB {bits}-bit", Kind(tiff([page]), gray_of(shown))
    half = (gray / 255).astype("<f2").tobytes()
    yield "tiff half float", Kind(tiff([hand([half], bits=16, photometric=1, samples=1, format=3)]), gray, 1)
    planes = [(rgb[:, :, place] / 255).astype("<f4").tobytes() for place in range(3)]
    page = hand(planes, bits=[32] * 3, photometric=2, samples=3, format=[3] * 3, planar=2)
    yield "tiff RGB float planar", Kind(tiff([page]), gray_of(rgb), 1)
    rgba = (np.dstack([level, level, level, opacity]) / 255).astype("<f4").tobytes()
    page = hand([rgba], bits=[32] * 4, photometric=2, samples=4, format=[3] * 4, extra=2)
    yield "tiff RGBA float alpha", Kind(tiff([page]), seen, 1)
    cmyk = np.dstack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), 255 - level, opacity]).tobytes()
    page = hand([cmyk], bits=[8] * 5, photometric=5, samples=5, extra=2)
    yield "tiff CMYK and alpha", Kind(tiff([page]), seen, 1)
    yield from _gray_alpha(level, opacity, seen)


def _gray_alpha(level: Gray, opacity: Gray, seen: Gray) -> Iterator[tuple[str, Kind]]:
    pair, two = np.dstack([level, opacity]), {"photometric": 1, "samples": 2, "extra": 2}
    pages = {}
    deep = (pair.astype("<u2") * 257).tobytes()
    pages["16-bit"] = hand([deep], bits=[16, 16], **two)
    steps = np.diff(pair.astype("<u2") * 257, axis=1, prepend=np.zeros((HEIGHT, 1, 2), "<u2")).astype("<u2")
    pages["16-bit deflate"] = hand([zlib.compress(steps.tobytes())], bits=[16, 16], compression=8, predictor=2, **two)
    white = np.dstack([255 - level, opacity]).tobytes()
    pages["white is zero"] = hand([white], bits=[8, 8], **two | {"photometric": 0})
    pages["planar"] = hand([level.tobytes(), opacity.tobytes()], bits=[8, 8], planar=2, **two)
    tiled = [np.ascontiguousarray(tile).tobytes() for tile in tiles(pair, TILE)]
    pages["tiled"] = hand(tiled, bits=[8, 8], tile=TILE, **two)
    for name, page in pages.items():
        yield f"tiff gray and alpha {name}", Kind(tiff([page]), seen, 1)
    page = hand([(pair.astype(">u2") * 257).tobytes()], bits=[16, 16], **two)
    yield "tiff gray and alpha 16-bit big endian", Kind(tiff([page], big_endian=True), seen, 1)
    page = TiffPage(WIDTH, HEIGHT, [pair.tobytes()], hand([], bits=[8, 8], **two).tags | {ORIENTATION: 3})
    yield "tiff gray and alpha orientation 3", Kind(tiff([page]), np.ascontiguousarray(seen[::-1, ::-1]), 1)


def _alpha_tiff() -> Iterator[tuple[str, Kind]]:
    level, opacity, seen = inked()
    multiplied = (level.astype(int) * opacity // 255).astype(np.uint8)
    for kind, gray in ((1, multiplied), (2, level)):
        name = "associated" if kind == 1 else "unassociated"
        rgba, pair = np.dstack([gray, gray, gray, opacity]), np.dstack([gray, opacity])
        four = {"bits": [8] * 4, "photometric": 2, "samples": 4, "extra": kind}
        yield f"tiff RGBA {name}", Kind(tiff([hand([rgba.tobytes()], **four)]), seen, 1)
        planes = [np.ascontiguousarray(rgba[:, :, place]).tobytes() for place in range(4)]
        yield f"tiff RGBA planar {name}", Kind(tiff([hand(planes, planar=2, **four)]), seen, 1)
        tiled = [np.ascontiguousarray(tile).tobytes() for tile in tiles(rgba, TILE)]
        yield f"tiff RGBA tiled {name}", Kind(tiff([hand(tiled, tile=TILE, **four)]), seen, 1)
        deep = (rgba.astype("<u2") * 257).tobytes()
        yield f"tiff RGBA 16-bit {name}", Kind(tiff([hand([deep], **four | {"bits": [16] * 4})]), seen, 1)
        page = hand([pair.tobytes()], bits=[8, 8], photometric=1, samples=2, extra=kind)
        yield f"tiff gray and alpha {name}", Kind(tiff([page]), seen, 1)
    rgba = np.dstack([level, level, level, opacity])
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"):
        yield f"tiff RGBA {name}", Kind(saved(Image.fromarray(rgba), "TIFF", compression=name), seen, 1)
    black = np.dstack([np.zeros_like(rgba[:, :, :3]), opacity])
    page = hand([black.tobytes()], bits=[8] * 4, photometric=2, samples=4, extra=0)
    yield "tiff black RGB and an undeclared sample", Kind(tiff([page]), smooth(), 1)
    page = hand([black[:, :, 2:].tobytes()], bits=[8, 8], photometric=1, samples=2, extra=0)
    yield "tiff black gray and an undeclared sample", Kind(tiff([page]), smooth(), 1)
    page = hand([(black.astype("<u2") * 257).tobytes()], bits=[16] * 4, photometric=2, samples=4)
    yield "tiff black 16-bit RGB and an undeclared sample", Kind(tiff([page]), smooth(), 1)


def png(depth: int, color_type: int, rows: list[bytes], chunks: dict[bytes, bytes]) -> bytes:
    """A PNG of WIDTH x HEIGHT without filters."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, 0)
    middle = b"".join(chunk(name, body) for name, body in chunks.items())
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _alpha_png() -> Iterator[tuple[str, Kind]]:
    level, opacity, seen = inked()
    pair, rgba = np.dstack([level, opacity]), np.dstack([level, level, level, opacity])
    yield "png RGBA", Kind(saved(Image.fromarray(rgba), "PNG"), seen)
    yield "png gray and alpha", Kind(saved(Image.fromarray(pair, "LA"), "PNG"), seen)
    for name, color_type, image in (("RGBA", 6, rgba), ("gray and alpha", 4, pair)):
        rows = [(row.astype(">u2") * 257).tobytes() for row in image]
        yield f"png 16-bit {name}", Kind(png(16, color_type, rows, {}), seen, 1)
    ink = smooth() < 128
    on_paper = np.where(ink, 0, 255).astype(np.uint8)
    for depth in (1, 2, 4, 8):
        rows = [packed(row[None].astype(int), depth) for row in ink]
        palette = {b"PLTE": bytes(6), b"tRNS": b"\0"}
        yield f"png {depth}-bit palette with tRNS", Kind(png(depth, 3, rows, palette), on_paper)
        rows = [packed(1 - row[None].astype(int), depth) for row in ink]
        yield f"png {depth}-bit gray with tRNS", Kind(png(depth, 0, rows, {b"tRNS": b"\0\1"}), on_paper)
    rows = [np.where(row[:, None], 0, [1, 2, 3]).astype(np.uint8).tobytes() for row in ink]
    yield "png RGB with tRNS", Kind(png(8, 2, rows, {b"tRNS": struct.pack(">HHH", 1, 2, 3)}), on_paper)
    rows = [np.where(row, 0, 300).astype(">u2").tobytes() for row in ink]
    yield "png 16-bit gray with tRNS", Kind(png(16, 0, rows, {b"tRNS": struct.pack(">H", 300)}), on_paper)
    rows = [np.where(row[:, None], 0, [300, 301, 302]).astype(">u2").tobytes() for row in ink]
    yield "png 16-bit RGB with tRNS", Kind(png(16, 2, rows, {b"tRNS": struct.pack(">HHH", 300, 301, 302)}), on_paper)


def _alpha_others() -> Iterator[tuple[str, Kind]]:
    level, opacity, seen = inked()
    rgba = np.dstack([level, level, level, opacity])
    yield "webp RGBA", Kind(saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True), seen)
    flat = np.dstack([np.zeros_like(rgba[:, :, :3]), opacity])
    yield "webp RGBA lossy", Kind(saved(Image.fromarray(flat), "WEBP", exact=True, quality=95), smooth(), 8)
    pixels = np.ascontiguousarray(rgba[::-1, :, [2, 1, 0, 3]]).tobytes()
    masks = struct.pack("<IIII", 0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
    body = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 2835, 2835, 0, 0) + masks
    body = body.ljust(108, b"\0")
    head = b"BM" + struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 14 + 108)
    yield "bmp RGBA", Kind(head + body + pixels, seen)


def _masked_bmp() -> Iterator[tuple[str, Kind]]:
    """Ground truth: each color rounded to the number of its mask's bits."""
    masks = {
        "RGBX": (32, (0xFF, 0xFF00, 0xFF0000)),
        "XBGR": (32, (0xFF000000, 0xFF0000, 0xFF00)),
        "XRGB": (32, (0xFF00, 0xFF0000, 0xFF000000)),
        "BGRX": (32, (0xFF0000, 0xFF00, 0xFF)),
        "10-10-10": (32, (0x3FF00000, 0xFFC00, 0x3FF)),
        "4-4-4": (16, (0xF00, 0xF0, 0xF)),
        "5-6-5 BGR": (16, (0x1F, 0x7E0, 0xF800)),
    }
    for name, (bits, each) in masks.items():
        pixels, shown = np.zeros((HEIGHT, WIDTH), np.int64), []
        for place, mask in enumerate(each):
            top, lowest = mask // (mask & -mask), mask & -mask
            levels = (colors()[:, :, place].astype(np.int64) * top + 127) // 255
            pixels += levels * lowest
            shown.append(np.rint(levels * 255 / top).astype(np.uint8))
        seen = gray_of(np.dstack(shown))
        for header in (40, 52, 108):
            for upward in (True, False):
                # OpenCV cuts ten bits, where it knows the masks.
                tolerance = 2 if name == "10-10-10" else 1
                content = bmp(pixels, bits, each, header=header, upward=upward)
                yield f"bmp masks {name} {header} {upward}", Kind(content, seen, tolerance)


def bmp(pixels: NDArray[np.int64], bits: int, masks: tuple[int, ...], *, header: int, upward: bool = True) -> bytes:
    """A BMP of pixels [HEIGHT, WIDTH] with the masks of red, green and blue; header: its bytes."""
    rows = [row.astype(f"<u{bits // 8}").tobytes() for row in (pixels[::-1] if upward else pixels)]
    data = b"".join(row + bytes(-len(row) % 4) for row in rows)
    height = HEIGHT if upward else -HEIGHT
    head = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, 3, len(data), 2835, 2835, 0, 0)
    head = (head + struct.pack("<III", *masks)).ljust(header, b"\0")
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + data
