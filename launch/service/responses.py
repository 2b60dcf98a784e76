"""From the classified pages of a request's files to its JSON answer and status: pure functions."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from launch.service.decoder import Rejection
from launch.service.replica import About, Classified, ClassifiedFile
from trainer.scoring.decision import Judged, judge
from trainer.serving.answer import Answer, Outputs, Place, answer_of, as_json, printable, rejected

STATUS = {"empty": 422, "unsupported": 415, "unreadable": 422, "too_large": 413, "failed": 422}
"""HTTP status by the reason of a file's rejection."""
_TINY = 1e-12
"""The smallest probability in a document's mean, so that one page cannot rule a class out."""


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


def answers_of(name: str, file: Classified, about: About) -> list[Answer]:
    """The answers about one file: its pages, and the document if it is one, as `predict` gives them."""
    if isinstance(file, Rejection):
        return [rejected(Place(name, None), file.text)]
    judged = judge(about.policy, file.outputs, contrast=file.contrast) if file.outputs else None
    rows = iter(range(len(file.pages)))
    answers = []
    for number, page in enumerate(file.pages, 1):
        place = Place(name, number)
        if isinstance(page, Rejection):
            answers.append(rejected(place, page.text))
        elif judged is not None:
            answers.append(_answer(place, judged, next(rows), about))
    if len(file.pages) > 1 or name.lower().endswith(".pdf"):
        answers.append(_document(Place(name, None), file, about))
    return answers


def _answer(place: Place, judged: Judged, row: int, about: About) -> Answer:
    outputs = {model: softmax[row] for model, softmax in judged.probabilities.items()}
    return answer_of(place, outputs, about.class_names, decision=judged.decisions[row])


def _document(place: Place, file: ClassifiedFile, about: About) -> Answer:
    if not file.outputs:
        return rejected(place, "none of its pages can be read")
    return _answer(place, judge(about.policy, document_outputs(file.outputs)), 0, about)


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


def document_outputs(pages: Outputs) -> dict[str, NDArray[np.float32]]:
    """Softmax [1, classes] by model for a document: the mean of its pages' log-probabilities, normalized."""
    return {name: _pooled(softmax) for name, softmax in pages.items()}


def _pooled(softmax: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    logs = np.log(np.maximum(softmax.astype(np.float64), _TINY)).mean(axis=0, keepdims=True)
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum(), np.float32)
