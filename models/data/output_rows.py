"""Collects rows of logits and features into two float32 arrays; rows that do not fit become findings."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.core.errors import DataError
from models.data.inspection import Findings
from models.data.labels import Label
from models.data.limits import DataLimits

Numbers = Sequence[float] | Sequence[str]


class OutputRows:
    """`logits` and `features` are the numbers of columns; None: the first row decides."""

    def __init__(self, limits: DataLimits, logits: int | None = None, features: int | None = None) -> None:
        self.limits = limits
        self.widths = None if logits is None or features is None else (logits, features)
        self.labels: dict[str, Label] = {}
        self.findings = Findings()
        self._values = (array("f"), array("f"))

    def add(self, row: str, label: Label, logits: Numbers, features: Numbers) -> None:
        """One row. Raises DataError when there are too many."""
        if len(self.labels) + self.findings.count >= self.limits.rows:
            raise DataError(f"more than {self.limits.rows} rows; upload them in parts")
        self.widths = self.widths or (len(logits), len(features))
        reason = _why_no_row(label, (len(logits), len(features)), self.widths)
        if not reason:
            reason = self._append(logits, features)
        if reason:
            self.findings.add(row, reason)
        else:
            self.labels[row] = label

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """(N, C) logits and (N, D) features, None where there are none. Raises DataError for fewer than 2 logits."""
        classes, features = self.widths or (0, 0)
        if self.labels and classes < 2:
            raise DataError(f"rows have {classes} logits: a classifier has at least 2")
        logits, values = (np.frombuffer(values, np.float32) for values in self._values)
        rows = len(self.labels)
        return logits.reshape(rows, classes), values.reshape(rows, features) if features else None

    def _append(self, logits: Numbers, features: Numbers) -> str:
        parts = [_float32(values) for values in (logits, features)]
        for what, part in zip(("logit", "feature"), parts, strict=True):
            if part is None:
                return f"a {what} is no number"
            if not np.isfinite(part).all():
                return f"{what} {int(np.argmin(np.isfinite(part)))} is NaN, infinite, or too large for float32"
        for values, part in zip(self._values, parts, strict=True):
            values.frombytes(b"" if part is None else part.tobytes())
        return ""


def _float32(values: Numbers) -> NDArray[np.float32] | None:
    if any(isinstance(value, str) and "_" in value for value in values):
        return None  # Python reads 1_0 as 10; in a file it is a slip
    try:
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype(np.float32)
    except (ValueError, TypeError, OverflowError):
        return None


def _why_no_row(label: Label, widths: tuple[int, int], wanted: tuple[int, int]) -> str:
    if label == "":
        return "its label is empty"
    for what, width, should in zip(("logits", "features"), widths, wanted, strict=True):
        if width != should:
            return f"{width} {what} instead of {should}"
    if isinstance(label, int) and not 0 <= label < widths[0]:
        return f"label {label}, but {widths[0]} logits"
    return ""
