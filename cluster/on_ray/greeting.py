"""One call of gRPC by hand: whether a service answers it, without Ray, which would wait for minutes.

HTTP/2 as in RFC 9113 (frames, section 4.1; preface, 3.4), header fields as in RFC 7541, all literal (section 6.2.2) but
those of the static table; gRPC as in its PROTOCOL-HTTP2.md.
"""

import socket
import time

PATH = b"/ray.rpc.NodeInfoGcsService/GetClusterId"
"""A method of Ray's head process; one that wants a token answers as well."""
_GRPC, _UNIMPLEMENTED = b"application/grpc", b"grpc-status\x0212"
"""In an answer of gRPC's C core, which Ray is built on: no field of a connection's first answer is compressed."""

_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_HEADER_BYTES = 9
_LONGEST_FRAME = 2**14
_STREAM = 1
_POST, _HTTP = b"\x83", b"\x86"
"""`:method: POST` and `:scheme: http` of HPACK's static table."""


def grpc_answers(connection: socket.socket, authority: str, *, reply_s: float) -> bool:
    """Whether the peer greets within the connection's timeout, and knows the method, within `reply_s` seconds."""
    until = time.monotonic() + reply_s
    try:
        connection.sendall(request(authority))
        kind, _, _ = _frame(connection)
        if kind != _SETTINGS:
            return False
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            kind, stream, content = _frame(connection)
            if (kind, stream) == (_HEADERS, _STREAM):
                return _GRPC in content and _UNIMPLEMENTED not in content
    except (OSError, _NotHttp2):
        pass
    return False


class _NotHttp2(Exception):
    pass


def request(authority: str) -> bytes:
    """The preface, empty settings, and a call with an empty message. authority: the peer's HOST:PORT."""
    fields = b"".join(
        (
            _POST,
            _HTTP,
            b"\x04" + _text(PATH),  # :path, by its place in the static table, as the next one
            b"\x01" + _text(authority.encode("ascii", "replace")[:100]),  # :authority
            _field(b"content-type", b"application/grpc"),
            _field(b"te", b"trailers"),
        )
    )
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _framed(_SETTINGS, 0, 0, b"")
        + _framed(_HEADERS, _END_HEADERS, _STREAM, fields)
        + _framed(_DATA, _END_STREAM, _STREAM, bytes(5))  # not compressed, 0 bytes long
    )


def _framed(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + content


def _field(name: bytes, value: bytes) -> bytes:
    return b"\x00" + _text(name) + _text(value)


def _text(content: bytes) -> bytes:
    return bytes((len(content),)) + content


def _frame(connection: socket.socket) -> tuple[int, int, bytes]:
    """Type, stream and content of the next frame."""
    header = _received(connection, _HEADER_BYTES)
    size = int.from_bytes(header[:3])
    if size > _LONGEST_FRAME:
        raise _NotHttp2
    return header[3], int.from_bytes(header[5:]), _received(connection, size)


def _received(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise _NotHttp2
        content += part
    return content
