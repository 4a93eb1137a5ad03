"""How a job is refused before it is queued: the reason, and a pointer to the field to change."""

from app.datasets.record import DatasetRecord
from app.errors import InvalidError


def refusal(pointer: str, detail: str) -> InvalidError:
    """To be raised."""
    return InvalidError(detail, errors=[{"pointer": pointer, "detail": detail}])


def check_images(record: DatasetRecord) -> None:
    """Raises InvalidError for a table."""
    if record.kind != "images":
        raise refusal("/dataset", f"{record.id} is a table of outputs: send the images themselves")
