"""Writes the review page of a run, or serves it until it is stopped."""

import contextlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from data_tools.errors import UserError
from data_tools.files import require_writable, write_atomically
from launch.labels.review.content import Review, ReviewOptions, open_review
from launch.labels.review.decisions import check_columns
from launch.service.security import Access, check_exposure, is_loopback, read_token
from launch.service.server import answer, listening
from launch.terminal.console import print_err, print_out
from launch.terminal.page_progress import page_progress
from launch.terminal.wording import counted

_NEEDED = ("starlette", "uvicorn")


@dataclass(frozen=True, kw_only=True)
class ServeReview:
    """Where a review is served. port: 0 takes a free one. token_file: see `launch.service.security.read_token`."""

    host: str = "127.0.0.1"
    port: int = 0
    token_file: str | None = None
    without_token: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port: must be 0 to 65535, is {self.port}")


def write_review(options: ReviewOptions, path: Path) -> int:
    """Write the review page, with everything that it shows, to `path`; returns 0.

    Raises:
        UserError: see `open_review`.
        OSError: `path` cannot be written.
    """
    from launch.labels.review.page import review_page

    review = _opened(options)
    write_atomically(path, review_page(review.data))
    print_out(f"review: {path} ({counted(len(review.sheet.pages), 'page')})")
    _report_missing(review)
    return 0


def check_place(place: ServeReview) -> Access:
    """Who may use a review that is served at `place`.

    Raises:
        UserError: a package is missing, or the address or the token cannot be used.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not installed; pip install 'regionstack[serve]' brings what --serve needs"
        )
    token = read_token(place.token_file)
    check_exposure(place.host, token, without_token=place.without_token)
    listening(place.host, place.port).close()
    return Access(token=token, loopback_only=token is None and is_loopback(place.host))


def serve_review(options: ReviewOptions, place: ServeReview) -> int:
    """Serve the review until SIGINT or SIGTERM; decisions go into its table; returns 0.

    Raises:
        UserError: see `open_review` and `check_place`.
        OSError: the table cannot be written.
    """
    access = check_place(place)
    from launch.labels.review.service import review_app

    with listening(place.host, place.port) as listener:
        review = _opened(options)
        check_columns(review.sheet)
        require_writable(review.sheet.path)
        _report_missing(review)
        with contextlib.suppress(KeyboardInterrupt):
            answer(review_app(review, access), listener, what=f"reviewing {options.run}")
    print_err(f"decisions: {review.sheet.path}")
    return 0


def _opened(options: ReviewOptions) -> Review:
    with page_progress("reading pages") as progress:
        return open_review(options, on_page=progress)


def _report_missing(review: Review) -> None:
    if review.missing:
        count, total = review.missing, len(review.sheet.pages)
        print_err(
            f"note: {count} of {counted(total, 'page')} can no longer be read, neither in the data root nor in the "
            "shards, and have no picture; --data-root names the folder of the pages"
        )
