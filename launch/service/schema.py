"""The bodies of requests and answers as OpenAPI describes them; the answers are `trainer.serving.answer`'s."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from launch.service.uploads import FORM


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class VoteBody(_Body):
    """A class and the probability that a model assigns to it."""

    name: str = Field(alias="class")
    confidence: float = Field(ge=0, le=1)


class AnswerBody(_Body):
    """The answer about one page or document, or why it was rejected; the fields of `regionstack predict`."""

    source: str = Field(description="the file's name as uploaded")
    kind: Literal["page", "document"]
    page: int | None = Field(ge=1, description="page of the file; null: the whole file")
    name: str | None = Field(alias="class")
    confidence: float | None = Field(ge=0, le=1)
    runner_up: VoteBody | None
    decision: Literal["accepted", "review", "unknown"] | None
    members: dict[str, VoteBody] = Field(description="each model's class, by model")
    error: str | None = Field(description="why it was rejected")
    probabilities: dict[str, dict[str, float]] = Field(default={}, description="by model and class, the stack's last")


class PreviewBody(_Body):
    """A picture of a page that every browser shows."""

    source: str
    page: int
    width: int = Field(description="of the page itself, pixels")
    height: int
    image: str = Field(description="data: URL of a JPEG")


class PredictBody(_Body):
    """One row for each page, and for each file that was rejected; in the order of the files."""

    answers: list[AnswerBody]
    previews: list[PreviewBody] = Field(default=[], description="with ?preview=true: one for each page")


class ErrorBody(_Body):
    """Why a request was refused."""

    reason: str = Field(description="a short label, the same for the same cause")
    detail: str = Field(description="one line for people")
    answers: list[AnswerBody] = Field(default=[], description="if every file was rejected: a row for each")


class HealthBody(_Body):
    """Whether the service can answer."""

    status: Literal["ready", "loading"]


class ModelBody(_Body):
    """What the service knows of its run."""

    classes: list[str]
    models: dict[str, str] = Field(description="the members of the stack, each with the region that it reads")
    regions: dict[str, list[float]] = Field(description="left, top, right, bottom as shares of the page")
    policy: dict[str, Any] | None = Field(description="thresholds of the decisions; null: the run has none")
    limits: dict[str, float]


_CAUSES = {
    400: "The request is malformed, or a multipart form is.",
    401: "The bearer token is missing or wrong.",
    403: "The request comes from a page of another site.",
    408: "The upload took too long.",
    411: "The upload has no Content-Length, which a service behind Ray's proxy needs.",
    413: "More bytes, files, pages or pixels than the limits.",
    415: "Neither a multipart form nor an image or PDF; or a file of an unknown format.",
    422: "No file, or a file that cannot be decoded.",
    429: "The service is busy; Retry-After says when to ask again.",
    503: "The models are not ready, or took too long; Retry-After says when to ask again.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the error answers with these statuses."""
    retry = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
    return {
        status: {"model": ErrorBody, "description": _CAUSES[status]}
        | ({"headers": retry} if status in (429, 503) else {})
        for status in statuses
    }


_BINARY = {"schema": {"type": "string", "format": "binary"}}
UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "One or many files as a form, or the bytes of one file.",
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": ["file"],
                }
            },
            "image/*": _BINARY,
            "application/pdf": _BINARY,
            "application/octet-stream": _BINARY,
        },
    }
}
