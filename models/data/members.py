"""Files by name, wherever they lie: in a zip, a tar or a folder. Reading is in place, nothing is unpacked to disk."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import IO


class Members(ABC):
    """`sizes` are claimed bytes by name; the names were checked, the sizes add up to no bomb."""

    sizes: Mapping[str, int]

    @abstractmethod
    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """The bytes of each; None where they are damaged (checksum, end of file). Raises KeyError for unknown names."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """One member as a stream. Reading it raises DataError where it is damaged."""
