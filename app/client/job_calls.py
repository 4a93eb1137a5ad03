"""What the clients ask of datasets and jobs, and how they read the replies; no input or output happens here.

Each call may be sent twice, although most of these change something; the comment in a call says why.
"""

import secrets
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import quote

from app.client.calls import pages
from app.client.job_replies import Dataset, Job, parse_dataset, parse_job
from app.client.retries import Call, Request

# A server looks at every row of new data before it answers, by default for at most ten minutes.
CHECK_SECONDS = 660.0
# It sends something at least every 15 s, so that a longer silence is a lost connection.
SILENCE_SECONDS = 45.0


def add_dataset(file: tuple[str, IO[bytes]], name: str | None) -> Call[Dataset]:
    # The same content again is the same dataset.
    response = yield Request(
        "POST",
        "/v1/datasets",
        files=[("file", file)],
        fields=_given(name=name),
        expected=(200, 201),
        patience=CHECK_SECONDS,
    )
    return parse_dataset(response.json())


def add_server_data(path: str, name: str | None) -> Call[Dataset]:
    # The same content again is the same dataset.
    body = _given(path=path, name=name)
    response = yield Request("POST", "/v1/datasets", json=body, expected=(200, 201), patience=CHECK_SECONDS)
    return parse_dataset(response.json())


def datasets() -> Call[tuple[Dataset, ...]]:
    body = yield from pages("/v1/datasets", "id")
    return tuple(map(parse_dataset, body["data"]))


def dataset(dataset_id: str) -> Call[Dataset]:
    response = yield Request("GET", _path("datasets", dataset_id))
    return parse_dataset(response.json())


def delete_dataset(dataset_id: str) -> Call[None]:
    # When the reply to a try was lost, that one has deleted what the next does not find.
    yield Request("DELETE", _path("datasets", dataset_id), expected=(204,), expected_again=(404,))


def submit(
    type_: str,
    model: str,
    dataset_id: str,
    params: Mapping[str, Any] | None,
    priority: int | None,
    idempotency_key: str | None,
) -> Call[Job]:
    # The same key again is the same job.
    key = idempotency_key or secrets.token_hex(16)
    body = _given(type=type_, model=model, dataset=dataset_id, params=params, priority=priority)
    response = yield Request("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key}, expected=(202,))
    return parse_job(response.json())


def jobs(model: str | None, state: str | None) -> Call[tuple[Job, ...]]:
    body = yield from pages("/v1/jobs", "id", _given(model=model, state=state))
    return tuple(map(parse_job, body["data"]))


def job(job_id: str) -> Call[Job]:
    response = yield Request("GET", _path("jobs", job_id))
    return parse_job(response.json())


def cancel(job_id: str) -> Call[Job]:
    # To cancel what is being cancelled changes nothing.
    response = yield Request("POST", f"{_path('jobs', job_id)}/cancel")
    return parse_job(response.json())


def log(job_id: str) -> Call[str]:
    response = yield Request("GET", f"{_path('jobs', job_id)}/log")
    if not response.headers.get("Content-Type", "").startswith("text/plain"):
        raise ValueError("not a log")
    return response.text


def events(job_id: str, after: int) -> Request:
    """A stream of those with a larger number than `after`."""
    headers = {"Last-Event-ID": str(after)}
    return Request("GET", f"{_path('jobs', job_id)}/events", headers=headers, patience=SILENCE_SECONDS)


def _path(kind: str, name: str) -> str:
    return f"/v1/{kind}/{quote(name, safe='')}"


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
