"""From the classified pages of a request's files to its JSON answer and status: pure functions."""

import base64
from collections.abc import Sequence
from typing import Any

from launch.service.decoder import Rejection
from launch.service.replica import Classified, ClassifiedPage
from trainer.serving.answer import Answer, Place, answer_of, as_json, printable, rejected

STATUS = {"empty": 422, "unsupported": 415, "unreadable": 422, "too_large": 413, "failed": 422}
"""HTTP status by the reason of a file's rejection."""


def response_of(
    files: Sequence[tuple[str, Classified]], class_names: Sequence[str], *, previews: bool
) -> tuple[dict[str, Any], int]:
    """The content, a `schema.PredictBody`, or an `ErrorBody` if no page at all is classified; and the status.

    files: name and pages of each, in the order of the request.
    """
    answers = [
        as_json(answer, probabilities=True) for name, pages in files for answer in _answers(name, pages, class_names)
    ]
    if not any(classified_pages(pages) for _, pages in files):
        rejections = [rejection for _, pages in files for rejection in rejections_of(pages)]
        return _error_of(rejections) | {"answers": answers}, status_of(rejections)
    content: dict[str, Any] = {"answers": answers}
    if previews:
        content["previews"] = [
            _preview(name, number, page) for name, pages in files for number, page in classified_pages(pages).items()
        ]
    return content, 200


def classified_pages(pages: Classified) -> dict[int, ClassifiedPage]:
    """The pages of a file that are classified, by their number, from 1."""
    if isinstance(pages, Rejection):
        return {}
    return {number: page for number, page in enumerate(pages, 1) if not isinstance(page, Rejection)}


def rejections_of(pages: Classified) -> list[Rejection]:
    """The rejections among a file's pages, or that of the file."""
    return [pages] if isinstance(pages, Rejection) else [page for page in pages if isinstance(page, Rejection)]


def status_of(rejections: Sequence[Rejection]) -> int:
    """The status of a request of which nothing is classified: the common one of its files, or 422."""
    statuses = {STATUS[rejection.reason] for rejection in rejections}
    return statuses.pop() if len(statuses) == 1 else 422


def _error_of(rejections: Sequence[Rejection]) -> dict[str, Any]:
    if len(rejections) == 1:
        return {"reason": rejections[0].reason, "detail": rejections[0].text}
    return {"reason": "all_rejected", "detail": f"all {len(rejections)} files and pages were rejected"}


def _answers(name: str, pages: Classified, class_names: Sequence[str]) -> list[Answer]:
    if isinstance(pages, Rejection):
        return [rejected(Place(name, None), pages.text)]
    return [_answer(Place(name, number), page, class_names) for number, page in enumerate(pages, 1)]


def _answer(place: Place, page: ClassifiedPage | Rejection, class_names: Sequence[str]) -> Answer:
    if isinstance(page, Rejection):
        return rejected(place, page.text)
    return answer_of(place, page.probabilities, class_names, decision=page.decision)


def _preview(source: str, number: int, page: ClassifiedPage) -> dict[str, Any]:
    image = base64.b64encode(page.preview or b"").decode()
    return {
        "source": printable(source),
        "page": number,
        "width": page.width,
        "height": page.height,
        "image": f"data:image/jpeg;base64,{image}",
    }
