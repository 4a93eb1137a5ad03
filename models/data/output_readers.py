"""Tables of labels, logits and features: .csv, .jsonl (also gzipped) and .npz."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.core.errors import DataError
from models.data.dataset import OutputDataset, Source
from models.data.json_lines import json_lines
from models.data.labels import Label, label_from_text
from models.data.limits import DataLimits
from models.data.npz import Npz
from models.data.output_rows import OutputRows
from models.data.text_lines import text_lines


def read_csv(source: Source, path: Path, limits: DataLimits) -> OutputDataset:
    """Columns `label`, `logit_0` … and perhaps `feature_0` …, in any order; others are ignored. Raises DataError."""
    with path.open("rb") as stream:
        reader = csv.reader(text_lines(stream, path.stat().st_size, limits, "the csv"), strict=True)
        try:
            header = next(reader, [])
            label, logits, features = _columns(header)
            rows = OutputRows(limits, len(logits), len(features))
            for number, row in enumerate((row for row in reader if row), start=1):
                if len(row) != len(header):
                    rows.findings.add(f"row {number}", f"{len(row)} columns instead of {len(header)}")
                    continue
                values = [row[column] for column in logits], [row[column] for column in features]
                rows.add(f"row {number}", label_from_text(row[label]), *values)
        except csv.Error as error:
            raise DataError(f"the csv, line {reader.line_num}: {error}") from error
    return _dataset(source, rows)


def read_jsonl(source: Source, path: Path, limits: DataLimits) -> OutputDataset:
    """An object a line: `label`, `logits` and perhaps `features`; others are ignored. Raises DataError."""
    rows = OutputRows(limits)
    for row, line in json_lines(path, limits):
        _add_object(rows, row, line)
    return _dataset(source, rows)


def read_npz(source: Source, npz: Npz, limits: DataLimits) -> OutputDataset:
    """`logits` (N, C), `label` (N,) and perhaps `features` (N, D). Raises DataError."""
    logits = npz.array("logits")
    features = npz.array("features") if "features" in npz.names else logits[:, :0] if logits.ndim == 2 else logits
    for what, values in {"logits": logits, "features": features}.items():
        if values.ndim != 2 or values.dtype.kind not in "iuf" or len(values) != len(logits):
            raise DataError(f"{what} are {values.dtype} {values.shape}: give numbers, a row for each of {len(logits)}")
    rows = OutputRows(limits, logits.shape[1], features.shape[1])
    labels = npz.labels(len(logits))
    for number, row in enumerate(zip(labels, logits, features, strict=True), start=1):
        limits.between_rows()
        rows.add(f"row {number}", *row)
    return _dataset(source, rows)


def _dataset(source: Source, rows: OutputRows) -> OutputDataset:
    return OutputDataset(source, rows.labels, rows.findings, *rows.arrays())


def _columns(header: list[str]) -> tuple[int, list[int], list[int]]:
    places = {name.strip(): column for column, name in enumerate(header)}
    if len(places) != len(header):
        raise DataError("the csv names a column twice: rename one")
    if "label" not in places or "logit_0" not in places:
        raise DataError(f"the csv needs the columns label, logit_0, logit_1, …; its first line has: {_short(header)}")
    return places["label"], _numbered(places, "logit"), _numbered(places, "feature")


def _numbered(places: Mapping[str, int], what: str) -> list[int]:
    count = sum(bool(re.fullmatch(rf"{what}_[0-9]+", name)) for name in places)
    missing = [name for name in (f"{what}_{number}" for number in range(count)) if name not in places]
    if missing:
        raise DataError(f"the csv has {count} columns {what}_…, but lacks {missing[0]}: number them from 0")
    return [places[f"{what}_{number}"] for number in range(count)]


def _short(header: list[str]) -> str:
    return ", ".join(name[:40] for name in header[:8]) + (", …" if len(header) > 8 else "") or "nothing"


def _add_object(rows: OutputRows, row: str, line: str) -> None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        rows.findings.add(row, f"no JSON: {str(error)[:100]}")
        return
    reason = next(_why_no_row(fields), None)
    if reason:
        rows.findings.add(row, reason)
    else:
        label: Label = fields["label"].strip() if isinstance(fields["label"], str) else fields["label"]
        rows.add(row, label, fields["logits"], fields.get("features") or ())


def _why_no_row(fields: Any) -> Iterator[str]:
    if not isinstance(fields, dict):
        yield "no JSON object"
        return
    if type(fields.get("label")) not in (int, str):
        yield "`label` must be a whole number or a name"
    for name in ("logits", "features"):
        values = fields.get(name, [] if name == "features" else None)
        if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
            yield f"`{name}` must be a list of numbers"
