"""From the classified pages of a request's files to its JSON answer and status: pure functions."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from data_tools.plain_text import printable
from launch.predict.answers import Judgement
from launch.service.decoder import Rejection
from launch.service.replica import About, Classified
from trainer.serving.answer import Answer, as_json
from trainer.serving.classify import FileOutputs

STATUS = {"empty": 422, "unsupported": 415, "unreadable": 422, "too_large": 413, "failed": 422}
"""HTTP status by the reason of a file's rejection."""


def response_of(
    files: Sequence[tuple[str, Classified]], about: About, *, previews: bool
) -> tuple[dict[str, Any], int, list[Answer]]:
    """The content, a `schema.PredictBody`, or an `ErrorBody` if no page at all is classified; the status; the answers.

    files: name and pages of each, in the order of the request.
    """
    answers = [answer for name, file in files for answer in answers_of(name, file, about)]
    content: dict[str, Any] = {"answers": [as_json(answer, probabilities=True) for answer in answers]}
    if all(answer.error is not None for answer in answers):
        rejections = [rejection for _, file in files for rejection in rejections_of(file)]
        return _error_of(rejections) | content, status_of(rejections), answers
    if previews:
        content["previews"] = [preview for name, file in files for preview in _previews(name, file)]
    return content, 200, answers


def answers_of(name: str, file: Classified, about: About) -> Iterator[Answer]:
    """The answers about one file, as `predict` gives them: its pages, and the document if it is one."""
    if isinstance(file, Rejection):
        outputs = FileOutputs(error=file.text)
    else:
        reasons = [page.text if isinstance(page, Rejection) else None for page in file.pages]
        contrast = [] if file.contrast is None else file.contrast.tolist()
        outputs = FileOutputs(
            of=len(reasons), pages=list(enumerate(reasons, 1)), outputs=dict(file.outputs), contrast=contrast
        )
    return Judgement(about.class_names, about.policy).answers(name, outputs)


def rejections_of(file: Classified) -> list[Rejection]:
    """The rejections among a file's pages, or that of the file."""
    return [file] if isinstance(file, Rejection) else [page for page in file.pages if isinstance(page, Rejection)]


def status_of(rejections: Sequence[Rejection]) -> int:
    """The status of a request of which nothing is classified: the common one of its files, or 422."""
    statuses = {STATUS[rejection.reason] for rejection in rejections}
    return statuses.pop() if len(statuses) == 1 else 422


def _error_of(rejections: Sequence[Rejection]) -> dict[str, Any]:
    if len(rejections) == 1:
        return {"reason": rejections[0].reason, "detail": rejections[0].text}
    return {"reason": "all_rejected", "detail": f"all {len(rejections)} files and pages were rejected"}


def _previews(source: str, file: Classified) -> Iterator[dict[str, Any]]:
    for number, page in enumerate([] if isinstance(file, Rejection) else file.pages, 1):
        if not isinstance(page, Rejection):
            image = base64.b64encode(page.preview or b"").decode()
            yield {
                "source": printable(source),
                "page": number,
                "width": page.width,
                "height": page.height,
                "image": f"data:image/jpeg;base64,{image}",
            }
