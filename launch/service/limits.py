"""The limits of the service, and the admission of requests under them."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

from data_tools.errors import UserError

MIB = 2**20
LONGEST_RETRY_S = 60
_SMOOTHING = 0.1
"""Weight of the newest request in the running mean of durations."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, and all requests together, may ask of the service.

    Raises:
        UserError: a limit that is not positive, or uploads that do not fit `memory_mib`.
    """

    upload_mib: int = 64
    """Size of one request, MiB."""
    files: int = 32
    """Files in one request."""
    pages: int = 50
    """Pages of one document."""
    megapixels: int = 120
    """Pixels of one page, in millions; A3 at 600 dpi has 70."""
    decode_s: float = 20.0
    """Seconds to decode one page, after which its decoder process is killed."""
    upload_s: float = 60.0
    """Seconds in which the headers of a request must arrive, and then its body."""
    answer_s: float = 120.0
    """Seconds from a request's arrival to its answer."""
    queue: int = 64
    """Requests in the service at once; further ones get status 429."""
    memory_mib: int = 512
    """Uploads that are held at once, MiB; further ones get status 429."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise UserError(f"--{option_of(field.name)}: must be more than 0, is {getattr(self, field.name)}")
        if self.memory_mib < self.upload_mib:
            raise UserError(f"--max-memory-mib: {self.memory_mib} holds no upload of {self.upload_mib} MiB")

    @property
    def upload_bytes(self) -> int:
        """Size of one request, bytes."""
        return self.upload_mib * MIB


def option_of(field: str) -> str:
    """The command line's name of a limit."""
    return f"max-{field.replace('_', '-')}"


class Busy(Exception):
    """The service has no room for a request. retry_s: seconds after which a client may ask again; reason: a label."""

    def __init__(self, text: str, *, reason: str, retry_s: int) -> None:
        super().__init__(text)
        self.reason, self.retry_s = reason, retry_s


class Admission:
    """Counts requests in progress and the memory that their uploads may take; for one thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.requests = 0
        self.reserved_bytes = 0
        self._mean_s = 0.0

    @contextlib.contextmanager
    def admitted(self, declared_bytes: int | None) -> Iterator[None]:
        """Hold a place and memory for a request; declared_bytes: its Content-Length, None where it is not known.

        Raises:
            Busy: no place, or not enough memory for its upload.
        """
        reserved = self._limits.upload_bytes if declared_bytes is None else declared_bytes
        if self.requests >= self._limits.queue:
            raise self.busy("queue_full", f"{self.requests} requests are in progress, which is the limit")
        if self.reserved_bytes + reserved > self._limits.memory_mib * MIB:
            raise self.busy("memory_full", f"uploads already hold {self.reserved_bytes // MIB} MiB")
        self.requests += 1
        self.reserved_bytes += reserved
        try:
            yield
        finally:
            self.requests -= 1
            self.reserved_bytes -= reserved

    def busy(self, reason: str, text: str) -> Busy:
        """The refusal of a request, with the time after which a place is likely to be free."""
        retry_s = min(LONGEST_RETRY_S, max(1, math.ceil(self._mean_s)))
        return Busy(f"{text}; retry in {retry_s} s", reason=reason, retry_s=retry_s)

    def took(self, seconds: float) -> None:
        """Record the duration of an answered request."""
        self._mean_s += (seconds - self._mean_s) * (_SMOOTHING if self._mean_s else 1.0)
