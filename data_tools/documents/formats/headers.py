"""What the first bytes of a page's file say: its format, and why no decoder reads it."""

import struct

PDF_SEARCHED = 1024
"""A PDF's `%PDF-` may follow other bytes, but starts within these (ISO 32000-1, appendix H, note 13)."""

_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF image"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (4, b"ftyphei", "a HEIF image"),
    (4, b"ftyphev", "a HEIF image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftypmsf1", "a HEIF image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypavis", "an AVIF image"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"\x97JB2\r\n\x1a\n", "a JBIG2 image"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"8BPS", "a Photoshop image"),
    (0, b"\xd0\xcf\x11\xe0", "a Microsoft Office document"),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document"),
    (0, b"<!DOCTYPE html", "an HTML page"),
    (0, b"<html", "an HTML page"),
    (0, b"version https://git-lfs", "a Git LFS pointer; fetch the file itself"),
)
"""(offset, bytes, name) of files that people list as pages and that are not read."""

_FRAME_KINDS = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "lossless hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded progressive",
    0xCB: "arithmetic-coded lossless",
    0xCD: "arithmetic-coded hierarchical",
    0xCE: "arithmetic-coded hierarchical",
    0xCF: "arithmetic-coded lossless hierarchical",
    0xF7: "JPEG-LS",
}
"""Kinds of JPEG by their start-of-frame marker (ITU-T T.81, table B.1) that libjpeg may lack."""
_BMP_COMPRESSION = {4: "JPEG", 5: "PNG", 11: "CMYK", 12: "CMYK RLE8", 13: "CMYK RLE4"}


def image_format(content: bytes | bytearray) -> str | None:
    """The format by a file's first bytes: an image format, or `PDF`; None if it is not a supported one."""
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if content[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if content[:2] == b"BM":
        return "BMP"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if b"%PDF-" in content[:PDF_SEARCHED]:
        return "PDF"
    return None


def foreign(content: bytes | bytearray) -> str:
    """The reason to reject a file of none of the formats."""
    for offset, start, name in _FOREIGN:
        if content[offset : offset + len(start)] == start:
            return f"{name}, not a TIFF, PNG, JPEG, BMP or WebP image or a PDF"
    return "not a TIFF, PNG, JPEG, BMP or WebP image or a PDF"


def unsupported_jpeg(content: bytes | bytearray) -> str | None:
    """What an intact JPEG has that decoders lack, such as 12 bits a sample; None if it is of a common kind."""
    for marker, body in _jpeg_segments(content):
        if marker in _FRAME_KINDS:
            return f"{_FRAME_KINDS[marker]} coding"
        if 0xC0 <= marker <= 0xC2:
            return None if body[:1] == b"\x08" else f"{body[0]} bits a sample" if body else None
    return None


def _jpeg_segments(content: bytes | bytearray) -> list[tuple[int, bytes]]:
    """(marker, body) of the segments before the first scan."""
    segments, place = [], 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == 0xDA:
            break
        (length,) = struct.unpack_from(">H", content, place + 2)
        segments.append((marker, bytes(content[place + 4 : place + 2 + length])))
        place += 2 + max(length, 2)
    return segments


def unsupported_bmp(content: bytes | bytearray) -> str | None:
    """What an intact BMP has that decoders lack; None if it is of a common kind."""
    if len(content) < 34:
        return None
    (bits, compression) = struct.unpack_from("<HI", content, 28)
    if compression in _BMP_COMPRESSION:
        return f"{_BMP_COMPRESSION[compression]} compression"
    return f"{bits} bits a pixel" if bits not in (1, 4, 8, 16, 24, 32) else None


def png_transparency(content: bytes | bytearray) -> tuple[int, bytes] | None:
    """(color type, body of the tRNS chunk or b"") of a PNG that may be transparent; None for an opaque one."""
    if len(content) < 33:
        return None
    color_type, place = content[25], 8
    if color_type in (4, 6):
        return color_type, b""
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name = bytes(content[place + 4 : place + 8])
        if name == b"tRNS":
            return color_type, bytes(content[place + 8 : place + 8 + length])
        if name == b"IDAT":
            return None
        place += 12 + length
    return None


def webp_transparent(content: bytes | bytearray) -> bool:
    """Whether a WebP image declares an alpha channel (RFC 9649, sections 2.7 and 3.4)."""
    if content[12:16] == b"VP8X":
        return len(content) > 20 and bool(content[20] & 0x10)
    return content[12:16] == b"VP8L" and len(content) > 24 and bool(content[24] & 0x10)


def bmp_transparent(content: bytes | bytearray) -> bool:
    """Whether a BMP has 32 bits a pixel and a mask of alpha bits (BITMAPV3INFOHEADER and later)."""
    if len(content) < 70:
        return False
    header, bits = struct.unpack_from("<I", content, 14)[0], struct.unpack_from("<H", content, 28)[0]
    compression, alpha = struct.unpack_from("<I", content, 30)[0], struct.unpack_from("<I", content, 66)[0]
    return bool(header >= 56 and bits == 32 and compression in (3, 6) and alpha)
