"""The interface as a whole."""

import json

from app import openai_error
from tests.snapshots import openapi


def test_the_openapi_document_is_the_one_that_was_reviewed():
    assert json.loads(openapi.current()) == json.loads(openapi.FILE.read_text()), (
        "the interface changed; if it was meant to, run `python -m tests.snapshots.openapi` and review the difference"
    )


def test_every_route_but_health_lists_its_errors():
    document = json.loads(openapi.FILE.read_text())
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/"):
                wrong = "400" if path in openai_error.ROUTES else "422"
                assert {"401", "403", wrong, "500"} <= operation["responses"].keys(), path
                assert operation["description"].strip(), path
