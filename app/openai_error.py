"""Errors of OpenAI's routes in the form that its clients read."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

ROUTES = frozenset({"/v1/chat/completions", "/v1/completions"})
CODES = {"unauthorized": "invalid_api_key", "not_found": "model_not_found", "queue_full": "rate_limit_exceeded"}


class OpenAIErrorBody(BaseModel):
    """`param` is the field that is meant, such as `messages.0.content`."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str


class OpenAIError(BaseModel):
    """An error in OpenAI's form."""

    error: OpenAIErrorBody


def openai_status(status: int) -> int:
    """OpenAI has no 422: whatever is wrong with a request is 400."""
    return 400 if status == 422 else status


def openai_error(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The same as a problem of RFC 9457; of several fields that do not fit, the first one is named."""
    first: Mapping[str, str] = next(iter(problem.get("errors", [])), {})
    param = first.get("pointer", "").strip("/").replace("/", ".") or None
    detail = first.get("detail", problem["detail"])
    body = OpenAIErrorBody(
        message=f"{param}: {detail}" if param else detail,
        type=_type(problem["status"]),
        param=param,
        code=CODES.get(problem["code"], problem["code"]),
    )
    return OpenAIError(error=body).model_dump()


def _type(status: int) -> Literal["invalid_request_error", "rate_limit_error", "server_error"]:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
