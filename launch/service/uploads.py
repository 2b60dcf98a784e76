"""From the bytes of a request to its files: reading under a limit, multipart forms, names."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from launch.service.limits import Limits

LONGEST_NAME = 200
FORM = "multipart/form-data"
UNNAMED = "upload"
_RAW = re.compile(r"(image/[\w.+-]+|application/(pdf|x-pdf|octet-stream))")


class UploadError(Exception):
    """A request that the service refuses; the text says why. status: of HTTP, 4xx; reason: a short label."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class UploadedFile:
    """One file of a request; the name is a label and never a path that is opened."""

    name: str
    content: bytes


def declared_length(header: str | None, limits: Limits, *, required: bool = False) -> int | None:
    """The Content-Length of a request in bytes; None where the client does not say and need not.

    Raises:
        UploadError: required and absent, not a number, or more than the limit.
    """
    if header is None and required:
        raise UploadError(411, "no_length", "send the upload with a Content-Length")
    if header is None:
        return None
    if not re.fullmatch(r"\d{1,18}", header, re.ASCII):
        raise UploadError(400, "malformed", "Content-Length is not a number")
    if int(header) > limits.upload_bytes:
        raise too_large(limits)
    return int(header)


def too_large(limits: Limits) -> UploadError:
    """The refusal of a request that is longer than the limit."""
    return UploadError(413, "too_large", f"the upload has more than {limits.upload_mib} MiB")


async def read_body(chunks: AsyncIterator[bytes], limits: Limits) -> bytes:
    """All bytes of a request; holds at most the limit and one chunk.

    Raises:
        UploadError: more bytes than the limit.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limits.upload_bytes:
            raise too_large(limits)
    return bytes(body)


def check_content_type(content_type: str, *, encoding: str | None = None) -> None:
    """Check that the service takes such a request, before its body is read. encoding: its Content-Encoding.

    Raises:
        UploadError: neither a multipart form nor an image, PDF or octet stream; or a compressed body.
    """
    kind = _kind(content_type)
    if encoding is not None and encoding.strip().lower() != "identity":
        raise UploadError(415, "content_encoding", f"Content-Encoding {encoding[:80]!r}: send the body uncompressed")
    if kind != FORM and not _RAW.fullmatch(kind):
        raise UploadError(
            415,
            "content_type",
            f"Content-Type {kind[:80] or 'is missing'}: send {FORM} with files, or one image/* or application/pdf",
        )


def files_of(content_type: str, body: bytes, *, name: str | None, limits: Limits) -> list[UploadedFile]:
    """The files of a request; one for a body that is itself an image or PDF. name: of that one.

    Raises:
        UploadError: a malformed form, a field that is not a file, no file, or more files than the limit.
    """
    check_content_type(content_type)
    if _kind(content_type) != FORM:
        return [UploadedFile(clean_name(name or UNNAMED), body)]
    files = _files_of_form(content_type, body, limits)
    if not files:
        raise UploadError(422, "no_file", "the form has no file")
    return files


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


@dataclass
class _Form:
    """Collects the parts of a form as its parser finds them."""

    limits: Limits
    files: list[UploadedFile] = field(default_factory=list)
    complete: bool = False
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _content: bytearray = field(default_factory=bytearray)

    def begin(self) -> None:
        if len(self.files) >= self.limits.files:
            raise UploadError(413, "too_many_files", f"the form has more than {self.limits.files} files")
        self._headers = {}
        self._content = bytearray()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def end_part(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        field_name = options.get(b"name", b"").decode("utf-8", "replace")
        if disposition != b"form-data":
            raise UploadError(400, "malformed", "a part of the form has no Content-Disposition: form-data")
        if b"filename" not in options and not _is_file(self._headers.get(b"content-type", b"")):
            raise UploadError(422, "not_a_file", f"the field {clean_name(field_name)!r} of the form is not a file")
        name = options.get(b"filename") or field_name.encode() or UNNAMED.encode()
        self.files.append(UploadedFile(clean_name(name.decode("utf-8", "replace")), bytes(self._content)))
        self._content = bytearray()

    def end(self) -> None:
        self.complete = True


def _is_file(content_type: bytes) -> bool:
    return bool(_RAW.fullmatch(_kind(content_type.decode("latin-1"))))


def _files_of_form(content_type: str, body: bytes, limits: Limits) -> list[UploadedFile]:
    _, options = parse_options_header(content_type.encode("latin-1", "replace"))
    boundary = options.get(b"boundary")
    if not boundary:
        raise UploadError(400, "malformed", "the Content-Type of the form names no boundary")
    form = _Form(limits)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin,
                "on_header_field": form.header_name,
                "on_header_value": form.header_value,
                "on_header_end": form.header_end,
                "on_part_data": form.data,
                "on_part_end": form.end_part,
                "on_end": form.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise UploadError(400, "malformed", f"the form cannot be parsed: {str(error)[:200]}") from None
    if not form.complete:
        raise UploadError(400, "malformed", "the form ends before its last boundary; was the upload cut off?")
    return form.files


def clean_name(name: str) -> str:
    """A file's name as a label: without control characters and folders, of limited length."""
    last = re.split(r"[/\\]", name.strip())[-1]
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in last)
    return printable[:LONGEST_NAME] or UNNAMED


def name_of_header(disposition: str | None) -> str | None:
    """The file name that the Content-Disposition of a raw upload gives, also percent-encoded; None without one."""
    if not disposition:
        return None
    _, options = parse_options_header(disposition.encode("latin-1", "replace"))
    raw = options.get(b"filename")
    return unquote_to_bytes(raw).decode("utf-8", "replace") if raw else None
