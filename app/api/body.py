"""The three forms of a request to score images (multipart, one raw image, JSON) brought to one."""

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from app.api.schemas import ImagesRequest
from app.errors import BadRequestError, InvalidError, PayloadTooLargeError, UnsupportedMediaTypeError, pointers
from app.scoring.intake import ImageInput


@dataclass(frozen=True, slots=True)
class Options:
    """How to score; None means not said."""

    model: str | None = None
    scores: tuple[str, ...] | None = None
    top_k: int | None = None
    exact_top: int | None = None
    budget_ms: int | None = None

    def or_query(self, query: Self) -> Self:
        """Fill in what only the query says. Raises InvalidError where body and query disagree."""
        said = asdict(query)
        return replace(self, **{name: _said_once(name, body, said[name]) for name, body in asdict(self).items()})


@dataclass(frozen=True, slots=True)
class ImagesToScore:
    """Images, and what their body says of how to score them."""

    images: tuple[ImageInput, ...]
    options: Options = Options()


async def read_images(request: Request, max_items: int) -> ImagesToScore:
    """Raises InvalidError or UnsupportedMediaTypeError; names inputs after their file or id, else by position."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _multipart(request, max_items)
    if media_type.startswith("image/") or media_type == "application/octet-stream":
        return ImagesToScore(_named([ImageInput(None, await request.body())]))
    if media_type == "application/json" or media_type.endswith("+json"):
        return await asyncio.to_thread(_json, await request.body())
    raise UnsupportedMediaTypeError(
        f"cannot read {media_type or 'a body without Content-Type'}: send multipart/form-data with `files`, a raw"
        " image/* body, or application/json"
    )


async def _multipart(request: Request, max_items: int) -> ImagesToScore:
    try:
        async with request.form(max_files=max_items, max_fields=16) as form:
            uploads = _uploads(form)
            return ImagesToScore(_named([ImageInput(upload.filename, await upload.read()) for upload in uploads]))
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


def _json(body: bytes) -> ImagesToScore:
    try:
        parsed = ImagesRequest.model_validate_json(body)
    except ValidationError as error:
        found = pointers(error.errors(include_input=False, include_url=False, include_context=False))
        raise InvalidError("the request does not fit the schema", errors=found) from error
    return ImagesToScore(
        images=_named([ImageInput(image.id, image.data) for image in parsed.images]),
        options=Options(
            model=parsed.model,
            scores=None if parsed.scores is None else tuple(parsed.scores),
            top_k=parsed.top_k,
            exact_top=parsed.exact_top,
            budget_ms=parsed.budget_ms,
        ),
    )


def _said_once(name: str, body: Any, query: Any) -> Any:
    if body is not None and query is not None and body != query:
        raise InvalidError(f"the body says {name}={body!r}, the query {query!r}; say it once")
    return query if body is None else body


def _named(images: list[ImageInput]) -> tuple[ImageInput, ...]:
    return tuple(
        image if image.name else replace(image, name=f"image-{position}") for position, image in enumerate(images)
    )
