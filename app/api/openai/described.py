"""What OpenAPI is told of the routes, which read their bodies by themselves and stream on demand."""

from typing import Any

from pydantic import BaseModel

from app.openai_error import OpenAIError

STATUSES = (400, 401, 403, 404, 413, 415, 429, 500, 503, 504)


def described(body: type[BaseModel]) -> dict[str, Any]:
    """Arguments of a route's decorator."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}}
    streamed: dict[str, Any] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
        "responses": {200: streamed} | {status: {"model": OpenAIError} for status in STATUSES},
    }
