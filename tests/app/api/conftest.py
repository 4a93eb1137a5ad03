"""Fixtures that several files of tests of one route share."""

from tests.fixtures.batching import anyio_backend
from tests.fixtures.dataset_service import data_service
from tests.fixtures.job_service import dataset, finished, ledger, request_for, service
from tests.fixtures.score_requests import encoded_photo, language_client, language_url, post_json, post_prompts

__all__ = [
    "anyio_backend",
    "data_service",
    "dataset",
    "encoded_photo",
    "finished",
    "language_client",
    "language_url",
    "ledger",
    "post_json",
    "post_prompts",
    "request_for",
    "service",
]
