"""`/v1/datasets`: labelled data for jobs, uploaded or registered in place."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api.body import parse_json
from app.api.dataset_schemas import DatasetCard, DatasetList, DatasetReference, DatasetRow
from app.api.deps import DatasetsDep, SettingsDep, problems, require
from app.api.hang_up import unless_gone
from app.api.schemas import Limit
from app.api.upload import read_upload
from app.datasets.catalog import DatasetCatalog
from app.datasets.record import DatasetRecord
from app.datasets.watch import Watch
from app.errors import ConflictError, InvalidError, PayloadTooLargeError, UnsupportedMediaTypeError
from app.keys import Scope
from app.settings import Settings

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

MAX_REFERENCE_BYTES = 65_536
MAX_NAME = 200
Added = tuple[DatasetRecord, bool]
DatasetId = Annotated[str, Path(max_length=100)]
READ = Depends(require(Scope.READ))
JOBS = Depends(require(Scope.JOBS))
REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "name": {"type": "string", "maxLength": MAX_NAME},
                },
            }
        },
        "application/json": {"schema": DatasetReference.model_json_schema()},
    },
}


@router.post(
    "",
    status_code=201,
    dependencies=[JOBS],
    responses={
        200: {"model": DatasetCard, "description": "The same data was there already"},
        **problems(400, 401, 403, 404, 413, 415, 422, 500, 504, 507),
    },
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def add_dataset(
    request: Request, response: Response, datasets: DatasetsDep, settings: SettingsDep
) -> DatasetCard:
    """Upload labelled data, or register data that lies below the server's data root.

    Images: a zip or tar (also gzipped) with `index.csv` (columns `file` and `label`) or a folder for each class, or an
    .npz with `images` and `label`. Outputs of a network: .csv (`label`, `logit_0` …), .jsonl or .npz with `logits`.
    Every row is looked at; a few bad ones are listed and left out, too many are refused.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        record, created = await _upload(request, datasets, settings)
    elif media_type == "application/json":
        record, created = await _register(request, datasets, settings)
    else:
        raise UnsupportedMediaTypeError(
            f"cannot read {media_type or 'a body without Content-Type'}: send multipart/form-data with the data in"
            ' `file`, or application/json with {"path": …} of data on the server'
        )
    response.status_code = 201 if created else 200
    return _card(record)


@router.get("", dependencies=[READ], responses=problems(401, 403, 404, 422, 500))
def list_datasets(
    datasets: DatasetsDep, limit: Annotated[Limit, Query()] = 20, after: Annotated[str | None, Query()] = None
) -> DatasetList:
    """Every dataset, newest first."""
    records, more = datasets.list(limit, after)
    return DatasetList(
        data=[_card(record) for record in records],
        has_more=more,
        first_id=records[0].id if records else None,
        last_id=records[-1].id if records else None,
    )


@router.get("/{dataset}", dependencies=[READ], responses=problems(401, 403, 404, 422, 500))
def get_dataset(datasets: DatasetsDep, dataset: DatasetId) -> DatasetCard:
    """One dataset: rows by class, and what is wrong with the first bad rows."""
    return _card(datasets.get(dataset))


@router.delete(
    "/{dataset}", status_code=204, dependencies=[JOBS], responses=problems(401, 403, 404, 409, 422, 500, 503)
)
async def delete_dataset(request: Request, datasets: DatasetsDep, dataset: DatasetId) -> None:
    """Delete a dataset that no unfinished job uses. Data registered in place stays where it is."""
    users = await request.app.state.dataset_users(dataset)
    if users:
        raise ConflictError(f"jobs use {dataset}: {', '.join(users[:10])}; cancel them, or wait until they have ended")
    await asyncio.to_thread(datasets.delete, dataset)


async def _upload(request: Request, datasets: DatasetCatalog, settings: Settings) -> Added:
    incoming = await asyncio.to_thread(datasets.begin)
    try:
        form = await read_upload(request, incoming, frozenset({"name"}))
        name = _name(form.fields.get("name", "").strip() or form.filename)
        return await _checked(request, datasets, settings, lambda watch: datasets.add(incoming, name, watch))
    finally:
        incoming.discard()


async def _register(request: Request, datasets: DatasetCatalog, settings: Settings) -> Added:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REFERENCE_BYTES:
            raise PayloadTooLargeError("the JSON body only names data on the server: at most 64 KiB")
    wanted = parse_json(bytes(body), DatasetReference)
    name = None if wanted.name is None else _name(wanted.name.strip())
    return await _checked(request, datasets, settings, lambda watch: datasets.register(wanted.path, name, watch))


async def _checked(
    request: Request, datasets: DatasetCatalog, settings: Settings, work: Callable[[Watch], Added]
) -> Added:
    watch = Watch(settings.dataset_check_seconds)
    check = datasets.checks.submit(_started, work, watch)
    try:
        return await unless_gone(request, asyncio.wrap_future(check))
    finally:
        # The thread goes on by itself when nobody waits, and what it writes must not be removed under its hands.
        watch.stop()
        check.cancel()
        await asyncio.gather(asyncio.wrap_future(check), return_exceptions=True)


def _started(work: Callable[[Watch], Added], watch: Watch) -> Added:
    watch.start()
    return work(watch)


def _name(text: str) -> str:
    if not 0 < len(text) <= MAX_NAME or not text.isprintable():
        raise InvalidError(f"a dataset's name has 1 to {MAX_NAME} printable characters")
    return text


def _card(record: DatasetRecord) -> DatasetCard:
    fields: dict[str, Any] = asdict(record)
    return DatasetCard(**fields | {"bad": [DatasetRow(row=row, reason=reason) for row, reason in record.bad]})
