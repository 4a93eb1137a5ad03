"""The three forms of a request about images (multipart, one raw image, JSON) brought to one."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from app.api.schemas import ImagesBody, ImagesQuery
from app.error_handlers import misfit
from app.errors import BadRequestError, InvalidError, PayloadTooLargeError, UnsupportedMediaTypeError
from app.scoring.intake import ImageInput

Query = TypeVar("Query", bound=ImagesQuery)
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ImagesRead:
    """Images, and the options that their body names."""

    images: tuple[ImageInput, ...]
    said: Mapping[str, Any] = field(default_factory=dict)

    def options(self, query: Query) -> Query:
        """The query with what only the body says. Raises InvalidError where they disagree."""
        return query.model_copy(
            update={name: _said_once(name, value, getattr(query, name)) for name, value in self.said.items()}
        )


def request_body(body: type[ImagesBody]) -> dict[str, Any]:
    """The three forms in OpenAPI's terms, of a route that reads them by itself."""
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    form = {"type": "object", "required": ["files"], "properties": {"files": files}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}},
        },
    }


def parse_json(content: bytes, body: type[Body]) -> Body:
    """What a JSON request says. Raises InvalidError that points at what does not fit."""
    try:
        return body.model_validate_json(content)
    except ValidationError as error:
        raise misfit(error) from error


async def read_json(request: Request, body: type[Body]) -> Body:
    """The body of a route that takes JSON only, and no query. Raises InvalidError or UnsupportedMediaTypeError."""
    media_type = _media_type(request)
    if not _is_json(media_type):
        raise UnsupportedMediaTypeError(f"cannot read {media_type or 'a body without Content-Type'}: send JSON")
    if request.query_params:
        names = ", ".join(sorted(request.query_params))
        raise InvalidError(f"this route takes no query ({names}): say it in the body")
    return await asyncio.to_thread(parse_json, await request.body(), body)


async def read_images(request: Request, max_items: int, body: type[ImagesBody]) -> ImagesRead:
    """Names inputs after their file or id, else by position; `body` is what JSON has to look like.

    Raises InvalidError or UnsupportedMediaTypeError.
    """
    media_type = _media_type(request)
    if media_type == "multipart/form-data":
        return await _multipart(request, max_items)
    if media_type.startswith("image/") or media_type == "application/octet-stream":
        return ImagesRead(_named([ImageInput(None, await request.body())]))
    if _is_json(media_type):
        return await asyncio.to_thread(_json, await request.body(), body)
    raise UnsupportedMediaTypeError(
        f"cannot read {media_type or 'a body without Content-Type'}: send multipart/form-data with `files`, a raw"
        " image/* body, or application/json"
    )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


async def _multipart(request: Request, max_items: int) -> ImagesRead:
    try:
        async with request.form(max_files=max_items, max_fields=16) as form:
            uploads = _uploads(form)
            return ImagesRead(_named([ImageInput(upload.filename, await upload.read()) for upload in uploads]))
    except HTTPException as error:
        if "Too many files" in error.detail:
            raise PayloadTooLargeError(f"more than {max_items} images in a request") from error
        raise
    except UnicodeError as error:
        raise BadRequestError(f"the form's text is not in the charset that it names: {error}") from error


def _uploads(form: FormData) -> list[UploadFile]:
    unknown = sorted({name for name in form if name != "files"})
    if unknown:
        raise InvalidError(f"unknown form field {', '.join(unknown)}: images go into `files`, options in the query")
    uploads = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
    if len(uploads) != len(form.multi_items()):
        raise InvalidError("a part of `files` is text, not a file: give each part a filename")
    if not uploads:
        raise InvalidError("no image in the form: send at least one file in the field `files`")
    return uploads


def _json(content: bytes, body: type[ImagesBody]) -> ImagesRead:
    parsed = parse_json(content, body)
    return ImagesRead(
        images=_named([ImageInput(image.id, image.data) for image in parsed.images]),
        said=parsed.model_dump(exclude={"images"}, exclude_none=True),
    )


def _said_once(name: str, body: Any, query: Any) -> Any:
    if query is not None and body != query:
        raise InvalidError(f"the body says {name}={body!r}, the query {query!r}; say it once")
    return body


def _named(images: list[ImageInput]) -> tuple[ImageInput, ...]:
    return tuple(
        image if image.name else replace(image, name=f"image-{position}") for position, image in enumerate(images)
    )
