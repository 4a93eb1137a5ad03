"""The OpenAPI document as a file, so that a change of the interface shows in a review.

    python -m tests.snapshots.openapi

writes it anew.
"""

import json
from pathlib import Path

from app.main import create_app
from app.settings import Settings

FILE = Path(__file__).with_name("openapi.json")


def current():
    document = create_app(Settings()).openapi()
    document["info"].pop("version")
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(current())
