"""What the clients ask of models and scores, and how they read the replies; no input or output happens here.

Each may be sent twice: all but two change nothing, what is active already is not activated again, and an equal network
keeps its version. `job_calls.py` has those of datasets and jobs, `retries.py` says what a call is.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.client.embed_replies import EmbedReply, parse_embeddings
from app.client.model_replies import (
    Activation,
    ModelCard,
    Readiness,
    Registration,
    Versions,
    parse_activation,
    parse_model,
    parse_readiness,
    parse_registration,
    parse_versions,
)
from app.client.prompt_replies import PromptsReply, parse_prompts
from app.client.replies import ScoreReply, parse_scores
from app.client.retries import Call, Request

PAGE = 100
REGISTRATION_SECONDS = 600.0  # a language model is fetched and converted meanwhile

Image = str | PathLike[str] | bytes | tuple[str, bytes]
ImageFile = tuple[str, bytes]
Prompt = str | tuple[str, Sequence[str]] | Mapping[str, Any]


def read_images(images: Iterable[Image]) -> list[ImageFile]:
    """Names and contents; an image without a name is named after its position."""
    return [_read_image(image, position) for position, image in enumerate(images)]


def score(
    files: Sequence[ImageFile],
    model: str | None,
    scores: Sequence[str] | str | None,
    top_k: int | None,
    exact_top: int | None,
    budget_ms: int | None,
    sort: str | None,
) -> Call[ScoreReply]:
    options = {
        "model": model,
        "scores": _comma_separated(scores),
        "top_k": top_k,
        "exact_top": exact_top,
        "budget_ms": budget_ms,
        "sort": sort,
    }
    response = yield _about_images("score", files, options)
    return parse_scores(response.json())


def embed(
    files: Sequence[ImageFile], model: str | None, scores: Sequence[str] | str | None, normalize: bool | None
) -> Call[EmbedReply]:
    options = {
        "model": model,
        "scores": _comma_separated(scores),
        "normalize": normalize,
        "encoding_format": "base64",  # fewer bytes than numbers in JSON, and read faster
    }
    response = yield _about_images("embed", files, options)
    return parse_embeddings(response.json())


def score_prompts(
    prompts: Iterable[Prompt],
    prefix: str | None,
    model: str | None,
    scores: Sequence[str] | None,
    top_k: int | None,
    readout: str | None,
    sort: str | None,
    slice: bool | None,
    answers: Mapping[str, Any] | None,
) -> Call[PromptsReply]:
    options = {
        "prefix": prefix,
        "model": model,
        "scores": scores,
        "top_k": top_k,
        "readout": readout,
        "sort": sort,
        "slice": slice,
    }
    given = {name: value for name, value in (options | dict(answers or {})).items() if value is not None}
    items = [_read_prompt(prompt) for prompt in prompts]
    response = yield Request("POST", "/v1/prompts/score", json={"prompts": items, **given})
    return parse_prompts(response.json())


def models() -> Call[tuple[ModelCard, ...]]:
    body = yield from pages("/v1/models", "id")
    return tuple(map(parse_model, body["data"]))


def model(name: str) -> Call[ModelCard]:
    response = yield Request("GET", f"/v1/models/{quote(name, safe='')}")
    return parse_model(response.json())


def versions(name: str) -> Call[Versions]:
    body = yield from pages(f"/v1/models/{quote(name, safe='')}/versions", "version")
    return parse_versions(body)


def report(name: str, version: int) -> Call[dict[str, Any]]:
    response = yield Request("GET", f"/v1/models/{quote(name, safe='')}/versions/{version}/report")
    return dict(response.json())


def activate(name: str, version: int, reason: str) -> Call[Activation]:
    path = f"/v1/models/{quote(name, safe='')}/activate"
    response = yield Request("POST", path, json={"version": version, "reason": reason})
    return parse_activation(response.json())


def register(
    model: str,
    kind: str,
    path: str | None,
    classes: Sequence[str] | None,
    network: Mapping[str, Any] | None,
    hub: str | None,
) -> Call[Registration]:
    asked = {"model": model, "kind": kind, "path": path, "hub": hub, "classes": classes, "network": network}
    given = {name: value for name, value in asked.items() if value is not None}
    response = yield Request("POST", "/v1/models", json=given, expected=(201,), patience=REGISTRATION_SECONDS)
    return parse_registration(response.json())


def ready() -> Call[Readiness]:
    response = yield Request("GET", "/readyz", expected=(200, 503))
    return parse_readiness(response.json())


def pages(path: str, key: str, only: Mapping[str, str] | None = None) -> Call[dict[str, Any]]:
    """The list at `path` with the entries of all its pages; `only` are its filters."""
    params = {"limit": PAGE, **(only or {})}
    response = yield Request("GET", path, params)
    found = page = dict(response.json())
    while page["has_more"] and page["data"]:
        response = yield Request("GET", path, params | {"after": page["data"][-1][key]})
        page = dict(response.json())
        found = found | page | {"data": found["data"] + page["data"]}
    return found


def _about_images(route: str, files: Sequence[ImageFile], options: Mapping[str, Any]) -> Request:
    params = {name: value for name, value in options.items() if value is not None}
    return Request("POST", f"/v1/images/{route}", params, [("files", file) for file in files])


def _comma_separated(scores: Sequence[str] | str | None) -> str | None:
    return scores if scores is None or isinstance(scores, str) else ",".join(scores)


def _read_prompt(prompt: Prompt) -> Mapping[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt}
    if isinstance(prompt, tuple):
        text, choices = prompt
        return {"prompt": text, "choices": list(choices)}
    return prompt


def _read_image(image: Image, position: int) -> ImageFile:
    if isinstance(image, bytes):
        return f"image-{position}", image
    if isinstance(image, tuple):
        name, content = image
        return name or f"image-{position}", content
    return str(image), Path(image).read_bytes()
