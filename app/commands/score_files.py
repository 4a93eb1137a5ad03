"""Many image files on disk: which they are, how many go into a request, and one document for all of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.client import AsyncClient
from app.client.replies import HowsureApiError, Problem, ScoredImage, ScoreReply, parse_problem, parse_scores
from app.uncertainty_order import most_uncertain_first

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
FILES_A_REQUEST = 32
BYTES_A_REQUEST = 24 * 2**20  # the server's own default limit is 32 MiB with all that is around the files


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Files as given; a folder as the image files below it, sorted, without hidden ones."""
    found: list[Path] = []
    for path in paths:
        found += _below(path) if path.is_dir() else [path]
    return found


def portions(files: Iterable[Path]) -> Iterator[list[Path]]:
    """Consecutive files that go into one request; a file too large for any goes alone."""
    portion: list[Path] = []
    size = 0
    for file in files:
        length = file.stat().st_size
        if portion and (len(portion) == FILES_A_REQUEST or size + length > BYTES_A_REQUEST):
            yield portion
            portion, size = [], 0
        portion.append(file)
        size += length
    if portion:
        yield portion


async def score_files(
    client: AsyncClient,
    files: Sequence[Path],
    *,
    model: str | None = None,
    scores: Sequence[str] | None = None,
    top_k: int | None = None,
    exact_top: int | None = None,
    budget_ms: int | None = None,
    sort: str | None = None,
) -> ScoreReply:
    """All files, as if one request had scored, and sorted, them; that is also what it raises.

    `exact_top` and `budget_ms` hold for each of the requests that it takes.
    """
    parts = list(portions(files))
    if len(parts) == 1:
        return await client.score(parts[0], model, scores, top_k, exact_top, budget_ms, sort)
    replies: list[ScoreReply] = []
    data: list[Any] = []
    for part in parts:
        try:
            reply = await client.score(part, model, scores, top_k, exact_top, budget_ms, sort)
        except HowsureApiError as error:
            data += _refused(part, error)
        else:
            replies.append(reply)
            data += reply.raw["data"]
    together = _together(replies, data)
    return together if sort is None else _sorted(together, sort)


def _refused(files: Sequence[Path], error: HowsureApiError) -> list[dict[str, Any]]:
    """The items of a request of which no image could be scored; raises an error that is about the request itself."""
    if error.errors and all("input" in item for item in error.errors):
        return [{"input": item["input"], "error": _without_input(item)} for item in error.errors]
    if len(files) == 1 and error.raw is not None and error.status in (413, 415, 422):
        return [{"input": str(files[0]), "error": error.raw}]
    raise error


def _together(replies: Sequence[ScoreReply], data: Sequence[Mapping[str, Any]]) -> ScoreReply:
    failed = [item for item in data if "error" in item]
    if not replies:
        errors = tuple({"input": item["input"], **item["error"]} for item in failed)
        problem = {"status": 422, "code": "invalid", "detail": f"none of the {len(data)} images could be scored"}
        raise HowsureApiError(parse_problem(problem | {"errors": errors}), problem | {"errors": errors})
    versions = sorted({(reply.model, reply.version) for reply in replies})
    if len(versions) > 1:
        numbers = " and ".join(str(version) for _, version in versions)
        detail = f"versions {numbers} of {versions[0][0]} answered, as another was activated meanwhile; score again"
        raise HowsureApiError(Problem(409, "version_changed", detail))
    usage = {"items": len(data), "scored": len(data) - len(failed), "failed": len(failed)}
    return parse_scores({**replies[0].raw, "data": list(data), "usage": usage})


def _sorted(reply: ScoreReply, score: str) -> ScoreReply:
    order = most_uncertain_first(
        [item.uncertainty[score] if isinstance(item, ScoredImage) else None for item in reply.items]
    )
    return parse_scores({**reply.raw, "data": [reply.raw["data"][row] for row in order]})


def _without_input(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "input"}


def _below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
