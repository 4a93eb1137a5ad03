"""The classes that a classifier is trained for: those of the data, or those of the version that it starts from."""

from collections.abc import Mapping

from models.core.errors import DataError
from models.data.labels import Label, label_from_text

FEWEST_OF_CLASS = 2
MAX_NAMED = 5


def classes_of(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Classes by name, in the order of `label_counts`; of class indexes "0", "1", …

    Raises DataError for fewer than two classes, a class with fewer than two rows, and indexes with a gap.
    """
    labels = {text: label_from_text(text) for text in counts}
    if len(counts) < 2:
        raise DataError(f"all rows have the label {next(iter(counts))!r}: send rows of at least two classes")
    if len({type(label) for label in labels.values()}) > 1:
        raise DataError("labels mix class names and class indexes: give all rows one or the other")
    _refuse_gaps(labels)
    rare = [text for text, count in counts.items() if count < FEWEST_OF_CLASS]
    if rare:
        named = ", ".join(map(repr, rare[:MAX_NAMED]))
        raise DataError(f"{len(rare)} classes have fewer than {FEWEST_OF_CLASS} rows, as {named}: send more of them")
    return tuple(counts)


def keeps_classes(base: tuple[str, ...], found: tuple[str, ...]) -> bool:
    """Whether the classes of a base version stay: where it has all those of the data.

    Class indexes do not say what they are of, so there must be as many of them as the base has classes.
    """
    if isinstance(label_from_text(found[0]), int):
        return len(found) == len(base)
    return set(found) <= set(base)


def _refuse_gaps(labels: Mapping[str, Label]) -> None:
    indexes = sorted(label for label in labels.values() if isinstance(label, int))
    missing = sorted(set(range(len(indexes))) - set(indexes))
    if indexes and missing:
        named = ", ".join(map(str, missing[:MAX_NAMED]))
        raise DataError(
            f"labels are class indexes from {indexes[0]} to {indexes[-1]}, and none is {named}: number the classes from"
            " 0 on without gaps, or name them"
        )
