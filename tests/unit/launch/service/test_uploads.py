"""The way from a request's bytes to its files."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from launch.service.limits import MIB, Limits
from launch.service.uploads import (
    UploadedFile,
    UploadError,
    clean_name,
    declared_length,
    files_of,
    name_of_header,
    read_body,
)

LIMITS = Limits(upload_mib=1, files=3)
TYPE = "multipart/form-data; boundary=cut"


def form(*parts: bytes, end: bytes = b"--cut--\r\n") -> bytes:
    return b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + end


def part(content: bytes, name: str = 'filename="a.tif"', more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="file"; ' + name.encode() + b"\r\n" + more + b"\r\n" + content


def test_files_of_a_form_in_their_order() -> None:
    body = form(part(b"one"), part(b"two\r\n--cu", 'filename="b.tif"'), part(b"", 'filename="a.tif"'))
    assert files_of(TYPE, body, name=None, limits=LIMITS) == [
        UploadedFile("a.tif", b"one"),
        UploadedFile("b.tif", b"two\r\n--cu"),
        UploadedFile("a.tif", b""),
    ]


def test_an_image_as_the_body_is_one_file() -> None:
    assert files_of("image/tiff", b"II", name="x.tif", limits=LIMITS) == [UploadedFile("x.tif", b"II")]
    assert files_of("application/pdf; a=b", b"%PDF", name=None, limits=LIMITS) == [UploadedFile("upload", b"%PDF")]


def test_a_part_without_file_name_is_a_file_if_its_type_says_so() -> None:
    body = form(part(b"one", "", b"Content-Type: image/png\r\n"))
    assert files_of(TYPE, body, name=None, limits=LIMITS) == [UploadedFile("file", b"one")]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "reason"),
    [
        ("", b"", 415, "content_type"),
        ("text/plain", b"x", 415, "content_type"),
        ("application/json", b"{}", 415, "content_type"),
        ("image/", b"x", 415, "content_type"),
        ("multipart/form-data", b"x", 400, "malformed"),
        ("multipart/form-data; boundary=", b"x", 400, "malformed"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x", 400, "malformed"),
        (TYPE, b"", 400, "malformed"),
        (TYPE, b"nonsense", 400, "malformed"),
        (TYPE, form(part(b"one"), end=b""), 400, "malformed"),
        (TYPE, form(part(b"one"))[:-20], 400, "malformed"),
        (TYPE, form(b"\r\none"), 400, "malformed"),
        (TYPE, form(b"A" * 100_000 + b": b\r\n\r\none"), 400, "malformed"),
        (TYPE, form(b"Content-Disposition: attachment; filename=a\r\n\r\none"), 400, "malformed"),
        (TYPE, form(part(b"text", "")), 422, "not_a_file"),
        (TYPE, form(), 422, "no_file"),
        (TYPE, form(*[part(b"one")] * 4), 413, "too_many_files"),
    ],
)
def test_what_is_refused(content_type: str, body: bytes, status: int, reason: str) -> None:
    with pytest.raises(UploadError) as refused:
        files_of(content_type, body, name=None, limits=LIMITS)
    assert (refused.value.status, refused.value.reason) == (status, reason)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\a.tif", "a.tif"),
        ("a\r\nSet-Cookie: b.tif", "a��Set-Cookie: b.tif"),
        ("", "upload"),
        ("folder/", "upload"),
        ("x" * 500, "x" * 200),
        ("Prüfbericht 文書.tif", "Prüfbericht 文書.tif"),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
    ],
)
def test_names_are_labels(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    ("header", "name"),
    [(None, None), ("attachment", None), ('attachment; filename="a%20b.tif"', "a b.tif"), ("\xff;;=", None)],
)
def test_the_name_of_a_raw_upload(header: str | None, name: str | None) -> None:
    assert name_of_header(header) == name


@pytest.mark.parametrize(("header", "length"), [(None, None), ("0", 0), (str(MIB), MIB)])
def test_a_declared_length(header: str | None, length: int | None) -> None:
    assert declared_length(header, LIMITS) == length


@pytest.mark.parametrize(
    ("header", "status"), [("-1", 400), ("1e3", 400), ("٣", 400), ("9" * 40, 400), (str(MIB + 1), 413)]
)
def test_a_declared_length_that_is_refused(header: str, status: int) -> None:
    with pytest.raises(UploadError) as refused:
        declared_length(header, LIMITS)
    assert refused.value.status == status


def test_a_required_length() -> None:
    with pytest.raises(UploadError) as refused:
        declared_length(None, LIMITS, required=True)
    assert refused.value.status == 411


def test_reading_stops_at_the_limit() -> None:
    taken = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(65536)
            yield bytes(65536)

    with pytest.raises(UploadError) as refused:
        asyncio.run(read_body(endless(), LIMITS))
    assert refused.value.status == 413
    assert sum(taken) == MIB + 65536
