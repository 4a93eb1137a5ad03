"""Images as files in a zip, a tar or a folder."""

from collections.abc import Iterator, Sequence

from models.data.dataset import ImageDataset, Source
from models.data.image_index import read_index
from models.data.limits import DataLimits
from models.data.members import Members


class ImageFiles(ImageDataset):
    """Rows in the order of the index, which is often sorted by label: split with a seed before use."""

    def __init__(self, source: Source, members: Members, limits: DataLimits) -> None:
        index = read_index(members, limits)
        super().__init__(source, index.labels, index.findings, limits)
        self._members = members
        self._places = index.members

    def contents(self, names: Sequence[str]) -> Iterator[bytes | None]:
        return self._members.contents(self._places[name] for name in names)
