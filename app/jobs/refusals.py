"""How a job is refused before it is queued: the reason, and a pointer to the field to change."""

from app.datasets.record import DatasetRecord
from app.errors import InvalidError

FEWEST_ROWS = 20
NO_IMAGES = {
    "outputs": "is a table of outputs",
    "questions": "has questions",
    "completions": "has prompts with their answers",
}


def refusal(pointer: str, detail: str) -> InvalidError:
    """To be raised."""
    return InvalidError(detail, errors=[{"pointer": pointer, "detail": detail}])


def check_images(record: DatasetRecord) -> None:
    """Raises InvalidError for other data."""
    if record.kind != "images":
        raise refusal("/dataset", f"{record.id} {NO_IMAGES[record.kind]}: send the images themselves")


def check_rows(record: DatasetRecord, fit_share: float, trained: int = 0) -> None:
    """Raises InvalidError where the rows that were not `trained` on are too few to fit on, or to report on."""
    rows = record.good - trained
    fitting = round(rows * fit_share)
    for part, use in ((fitting, "fit"), (rows - fitting, "report")):
        if part < FEWEST_ROWS:
            left = f", less the {trained} that the network was trained on" if trained else ""
            raise refusal(
                "/dataset",
                f"{part} rows to {use} on, at least {FEWEST_ROWS} are needed: {record.id} has {record.good} good"
                f" rows{left}",
            )
