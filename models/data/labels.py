"""Labels as they are given (class indexes or class names), and their way to the classes of a model."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from models.core.errors import DataError

Label = int | str

MAX_NAMED = 20


def label_from_text(text: str) -> Label:
    """Text of a table: a whole number is a class index, anything else a class name. Empty text stays empty."""
    text = text.strip()
    return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text) else text


def label_counts(labels: Mapping[str, Label]) -> dict[str, int]:
    """Rows a class, by index or name in order."""
    counts = Counter(labels.values())
    return {str(label): counts[label] for label in sorted(counts, key=lambda label: (isinstance(label, str), label))}


def label_indexes(labels: Mapping[str, Label], classes: Sequence[str]) -> list[int]:
    """Class indexes of labels by row name, in their order: indexes 0..C-1 as they are, or exact class names.

    Raises DataError that names the first row that does not fit and counts them all.
    """
    named = [name for name, label in labels.items() if isinstance(label, str)]
    if not named:
        return _indexes(labels, classes)
    if len(named) != len(labels):
        numbered = next(name for name, label in labels.items() if not isinstance(label, str))
        raise DataError(
            f"labels mix class names ({named[0]!r} has {labels[named[0]]!r}) and class indexes"
            f" ({numbered!r} has {labels[numbered]}): give all rows one or the other"
        )
    return _by_name(labels, classes)


def _indexes(labels: Mapping[str, Label], classes: Sequence[str]) -> list[int]:
    indexes = {name: label for name, label in labels.items() if isinstance(label, int)}
    outside = [(name, str(index)) for name, index in indexes.items() if not 0 <= index < len(classes)]
    if outside:
        raise _misfit(labels, classes, outside, f"is not one of the class indexes 0..{len(classes) - 1}")
    positions = {name: position for position, name in enumerate(classes)}
    for name, index in indexes.items():
        # Classes named "1", "2", … make a number ambiguous; a wrong guess would calibrate on wrong labels in silence.
        if positions.get(str(index), index) != index:
            raise DataError(
                f"label {index} of row {name!r} is both the index of class {classes[index]!r} and the name of class"
                f" {positions[str(index)]}: give indexes and rename the classes, or give names that are no numbers"
            )
    return list(indexes.values())


def _by_name(labels: Mapping[str, Label], classes: Sequence[str]) -> list[int]:
    positions = {name: position for position, name in enumerate(classes)}
    if len(positions) != len(classes):
        raise DataError("the model has two classes of one name: give class indexes instead of names")
    unknown = [(name, str(label)) for name, label in labels.items() if label not in positions]
    if unknown:
        raise _misfit(labels, classes, unknown, "is not a class of the model")
    return [positions[str(label)] for label in labels.values()]


def _misfit(
    labels: Mapping[str, Label], classes: Sequence[str], bad: Sequence[tuple[str, str]], reason: str
) -> DataError:
    name, label = bad[0]
    distinct = len(set(labels.values()))
    return DataError(
        f"label {label!r} of row {name!r} {reason}; {len(bad)} of {len(labels)} rows do not fit. The data has"
        f" {distinct} different labels, the model {len(classes)} classes: is this the data of another model?",
        bad=[(row, f"label {label!r} {reason}") for row, label in bad[:MAX_NAMED]],
    )
