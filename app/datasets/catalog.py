"""The datasets of a service: `<root>/<id>/` holds `dataset.json` and the content as it came.

The id comes from the content's hash, so the same bytes are the same dataset. A folder is there whole or not at all.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Self

from app.datasets.data_root import below, size_of
from app.datasets.incoming import PREFIX, Incoming, room_on, root_locked, sweep
from app.datasets.record import DatasetRecord, dataset_id
from app.errors import InternalError, InvalidError, NotFoundError
from app.settings import Settings
from models.core.atomic import write_json
from models.core.errors import DataError
from models.data.dataset import Dataset
from models.data.inspection import Inspection
from models.data.limits import DataLimits
from models.data.open_dataset import open_dataset

log = logging.getLogger("howsure.datasets")

UNPACKED = 4  # times the largest upload; text compresses about that well
RECORD = "dataset.json"
UNREADABLE = "unreadable.json"  # all rows to leave out; the record shows only the first


class DatasetCatalog:
    """Safe to use from several threads and processes at once. `data_root` is where data may be registered in place."""

    def __init__(self, root: Path, data_root: Path | None, limits: DataLimits, max_bad_share: float) -> None:
        self.root = root
        self.data_root = data_root
        self.limits = limits
        self.max_bad_share = max_bad_share
        # Checks take minutes of a core; in the loop's own threads a few of them would hold up scoring.
        self.checks = ThreadPoolExecutor(1, thread_name_prefix="dataset-check")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        limits = DataLimits(rows=settings.max_dataset_rows, unpacked_bytes=UNPACKED * settings.max_dataset_bytes)
        return cls(settings.datasets, settings.data_root, limits, settings.max_bad_share)

    def sweep(self) -> None:
        """Remove what a process that was killed left behind."""
        if count := sweep(self.root):
            log.info("removed abandoned uploads", extra={"event": "datasets_swept", "count": count})

    def begin(self) -> Incoming:
        """Room for an upload; `discard` it in the end, whatever happens."""
        return Incoming(self.root)

    def add(self, incoming: Incoming, name: str, watch: Callable[[], None]) -> tuple[DatasetRecord, bool]:
        """Check an upload and publish it: (record, whether it is new). `watch` may end the check by raising.

        Raises DataError for data that cannot be read, InvalidError for too many bad rows.
        """
        with room_on(self.root):
            incoming.finish()
            if (known := self._known(dataset_id(incoming.sha256), incoming.sha256)) is not None:
                return known, False
            dataset = open_dataset(incoming.content, name=name, limits=replace(self.limits, between_rows=watch))
            found = self._inspected(dataset)
            record = DatasetRecord.describe(dataset, found, incoming.size)
            return self._publish(incoming, record, found)

    def register(self, path: str, name: str | None, watch: Callable[[], None]) -> tuple[DatasetRecord, bool]:
        """As `add`, for a file or folder below the data root, which stays where it is."""
        place = below(self.data_root, path)
        limits = replace(self.limits, between_rows=watch)
        with room_on(self.root):
            dataset = open_dataset(place, name=name or path.rpartition("/")[2], limits=limits)
            if (known := self._known(dataset_id(dataset.sha256), dataset.sha256)) is not None:
                return known, False
            found = self._inspected(dataset)
            record = DatasetRecord.describe(dataset, found, size_of(place), path)
            incoming = self.begin()
            try:
                return self._publish(incoming, record, found)
            finally:
                incoming.discard()

    def list(self, limit: int, after: str | None = None) -> tuple[tuple[DatasetRecord, ...], bool]:
        """A page of records, newest first, and whether there are more. Raises NotFoundError for an unknown `after`."""
        folders = [folder for folder in self.root.glob("ds_*") if _is_id(folder.name)] if self.root.is_dir() else []
        records = [record for record in map(self._read_or_skip, folders) if record is not None]
        records.sort(key=lambda record: (record.created_at, record.id), reverse=True)
        if after is not None:
            last = self.get(after)
            records = [record for record in records if (record.created_at, record.id) < (last.created_at, last.id)]
        return tuple(records[:limit]), len(records) > limit

    def get(self, dataset: str) -> DatasetRecord:
        """Raises NotFoundError."""
        try:
            return DatasetRecord.from_dict(json.loads((self._folder(dataset) / RECORD).read_bytes()))
        except FileNotFoundError as error:
            raise NotFoundError(f"no dataset {dataset!r}; GET /v1/datasets lists those that are there") from error
        except (ValueError, KeyError, TypeError) as error:
            log.error("damaged record", exc_info=error, extra={"event": "damaged_dataset", "dataset": dataset})
            raise InternalError(f"the record of dataset {dataset} is damaged: delete it and upload it again") from error

    def path(self, dataset: str) -> Path:
        """Where the content lies. Raises NotFoundError."""
        record = self.get(dataset)
        if record.path is not None:
            return below(self.data_root, record.path)
        return self._folder(dataset) / f"content.{record.format}"

    def open(self, dataset: str) -> Dataset:
        """The good rows. Raises NotFoundError, and DataError when the content is no longer what it was."""
        record = self.get(dataset)
        opened = open_dataset(self.path(dataset), name=record.name, limits=self.limits)
        if opened.sha256 != record.sha256:
            raise DataError(f"{record.path or dataset} has changed since it was registered: register it again")
        unreadable = self._folder(dataset) / UNREADABLE
        return opened.without(frozenset(json.loads(unreadable.read_bytes()))) if unreadable.exists() else opened

    def delete(self, dataset: str) -> None:
        """Data registered in place stays where it is. Raises NotFoundError."""
        folder = self._folder(dataset)
        going = folder.with_name(f"{PREFIX}deleted-{os.urandom(8).hex()}")
        try:
            with root_locked(self.root):
                folder.rename(going)
                shutil.rmtree(going)
        except FileNotFoundError as error:
            raise NotFoundError(f"no dataset {dataset!r}; GET /v1/datasets lists those that are there") from error

    def _inspected(self, dataset: Dataset) -> Inspection:
        found = dataset.inspect()
        if not found.good or found.bad_count > self.max_bad_share * found.rows:
            raise InvalidError(
                f"{found.bad_count} of {found.rows} rows are bad, more than {self.max_bad_share:.0%}: mend them, or"
                " raise HOWSURE_MAX_BAD_SHARE to leave them out",
                errors=[{"row": row, "detail": reason} for row, reason in found.bad],
            )
        return found

    def _publish(self, incoming: Incoming, record: DatasetRecord, found: Inspection) -> tuple[DatasetRecord, bool]:
        if found.unreadable:
            write_json(incoming.folder / UNREADABLE, list(found.unreadable))
        write_json(incoming.folder / RECORD, record.to_dict())
        with root_locked(self.root):
            # The same bytes may have come in twice at once.
            if (known := self._known(record.id, record.sha256)) is not None:
                return known, False
            incoming.publish(self.root / record.id)
        return record, True

    def _known(self, dataset: str, sha256: str) -> DatasetRecord | None:
        if not (self.root / dataset).exists():
            return None
        known = self.get(dataset)
        if known.sha256 != sha256:
            raise InternalError(f"two different contents share the id {dataset}; delete the first to add this one")
        return known

    def _read_or_skip(self, folder: Path) -> DatasetRecord | None:
        try:
            return self.get(folder.name)
        except (InternalError, NotFoundError):  # damaged, which was logged, or deleted while the list was made
            return None

    def _folder(self, dataset: str) -> Path:
        # Anything but an id might be a way out of the root.
        return self.root / (dataset if _is_id(dataset) else "ds_")


def _is_id(text: str) -> bool:
    return re.fullmatch(r"ds_[0-9a-f]{20}", text) is not None
