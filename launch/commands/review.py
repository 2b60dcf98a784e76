"""The options of a review, which `regionstack labels` has beside its own, and what they start."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.files import require_writable

if TYPE_CHECKING:
    from launch.labels.review.server import ServeReview


def add_review_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the review page to a command that has RUN and `--most`."""
    group = parser.add_argument_group("review")
    group.add_argument("--html", metavar="FILE", help="write the review page (-: standard output)")
    group.add_argument("--serve", action="store_true", help="serve the review; decisions are written as they are made")
    group.add_argument(
        "--decisions", metavar="FILE",
        help="table that --serve writes (default: corrections.csv beside the ranking; of a pool, pool_labels.csv)",
    )  # fmt: skip
    group.add_argument("--data-root", metavar="DIR", help="folder of the pages (default: as the run has it)")
    group.add_argument("--host", default="127.0.0.1", help="address to serve (default: 127.0.0.1, this machine only)")
    group.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    group.add_argument("--token-file", metavar="FILE", help="bearer token that requests need (or REGIONSTACK_TOKEN)")
    group.add_argument("--without-token", action="store_true", help="serve other machines without a token")


def wants_review(options: argparse.Namespace) -> bool:
    """Whether the options ask for a review, for which an earlier ranking is good enough."""
    return bool(options.serve or options.html is not None)


def review_place(options: argparse.Namespace) -> "ServeReview | None":
    """Where the review is to be served, None without --serve; checked before a ranking takes minutes.

    Raises:
        UserError: the address, the token or the table of decisions cannot be used, or a package is missing.
        OSError: the table cannot be written.
    """
    if not options.serve:
        return None
    from launch.labels.review.server import ServeReview, check_place

    place = ServeReview(
        host=options.host, port=options.port, token_file=options.token_file, without_token=options.without_token
    )
    check_place(place)
    if options.decisions is not None:
        require_writable(Path(options.decisions))
    return place


def review(options: argparse.Namespace, *, pool: bool, html: Path | None, place: "ServeReview | None") -> int:
    """Write the review page of a run's ranking to `html`, and serve it at `place`; returns 0.

    Raises:
        UserError: an option, the ranking, a table of decisions or the address cannot be used.
    """
    from launch.labels.review.content import ReviewOptions
    from launch.labels.review.server import serve_review, write_review

    chosen = ReviewOptions(
        run=Path(options.run),
        pool=pool,
        most=options.most,
        table=None if options.decisions is None else Path(options.decisions),
        data_root=None if options.data_root is None else Path(options.data_root),
    )
    if html is not None:
        write_review(chosen, html)
    return 0 if place is None else serve_review(chosen, place)
