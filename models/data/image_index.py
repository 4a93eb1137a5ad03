"""Which file of an archive or folder is which row: by `index.csv`, or by class folders."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.core.errors import DataError
from models.data.inspection import Findings
from models.data.labels import Label, label_from_text
from models.data.limits import DataLimits
from models.data.member_names import common_folder, is_data
from models.data.members import Members
from models.data.text_lines import text_lines

INDEX = "index.csv"


@dataclass(slots=True)
class ImageIndex:
    """Members and labels by row name; rows that are none are in `findings`."""

    members: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)


def read_index(members: Members, limits: DataLimits) -> ImageIndex:
    """Raises DataError when there is neither `index.csv` nor a class folder, or too many rows."""
    names = [name for name in members.sizes if is_data(name)]
    if not names:
        raise DataError("there is no file in it: pack images with index.csv, or in one folder a class")
    top = next((top for top in ("", common_folder(names)) if f"{top}{INDEX}" in members.sizes), None)
    found = _by_folders(names) if top is None else _by_table(members, names, top, limits)
    for name in [name for name, member in found.members.items() if members.sizes[member] > limits.item_bytes]:
        found.findings.add(name, f"larger than {limits.item_bytes} bytes")
        del found.members[name], found.labels[name]
    if len(found.labels) + found.findings.count > limits.rows:
        raise DataError(f"more than {limits.rows} rows; upload them in parts")
    return found


def _by_table(members: Members, names: list[str], top: str, limits: DataLimits) -> ImageIndex:
    found = ImageIndex()
    present, mentioned = set(names), set()
    for line, file, label in _table(members, f"{top}{INDEX}", limits):
        member = next((path for path in (f"{top}images/{file}", f"{top}{file}") if path in present), None)
        mentioned.add(member)
        reason = _why_no_row(found, file, label, member)
        if reason or member is None:
            found.findings.add(file or f"line {line}", reason)
        else:
            found.members[file], found.labels[file] = member, label_from_text(label)
    for name in names:
        if name.startswith(f"{top}images/") and name not in mentioned:
            found.findings.add(name.removeprefix(f"{top}images/"), f"lies in images/, but {INDEX} does not name it")
    return found


def _table(members: Members, index: str, limits: DataLimits) -> Iterator[tuple[int, str, str]]:
    with members.open(index) as stream:
        reader = csv.DictReader(text_lines(stream, members.sizes[index], limits, INDEX), strict=True)
        try:
            missing = {"file", "label"} - set(reader.fieldnames or ())
            if missing:
                has = ", ".join(reader.fieldnames or ()) or "nothing"
                raise DataError(f"{INDEX} lacks the column {' and '.join(sorted(missing))}; its first line has: {has}")
            for row in reader:
                yield reader.line_num, row["file"] or "", (row["label"] or "").strip()
        except csv.Error as error:
            raise DataError(f"{INDEX}, line {reader.line_num}: {error}") from error


def _why_no_row(found: ImageIndex, file: str, label: str, member: str | None) -> str:
    reasons = {
        f"{INDEX} names no file": not file,
        f"{INDEX} names a file twice": file in found.labels,
        "its label is empty": not label,
        f"{INDEX} names it, but it is not there": member is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _by_folders(names: list[str]) -> ImageIndex:
    found = ImageIndex()
    top = common_folder(names)
    if any(name.count("/") < 2 for name in names):
        top = ""  # then it is a class itself
    for name in names:
        label, _, file = name.removeprefix(top).rpartition("/")
        if not label or "/" in label:
            found.findings.add(name, "lies in no class folder: <class>/<file>")
        else:
            found.members[f"{label}/{file}"], found.labels[f"{label}/{file}"] = name, label_from_text(label)
    if not found.labels:
        raise DataError(f"it has neither {INDEX} nor class folders: add a table with the columns file and label")
    return found
