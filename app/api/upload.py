"""Reads a multipart form that carries one large file, writing it down as it comes: memory stays flat."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BadRequestError, HowsureError, InvalidError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FLUSH_BYTES = 2**20
MAX_TEXT_BYTES = 1024


class Sink(Protocol):
    """Where the file goes; both may block."""

    def open(self, filename: str) -> None: ...

    def write(self, content: bytes) -> None: ...


@dataclass(slots=True)
class UploadForm:
    """What came: the file's own name, and the text of other fields."""

    filename: str
    fields: dict[str, str] = field(default_factory=dict)


async def read_upload(request: Request, sink: Sink, known: frozenset[str]) -> UploadForm:
    """The form: one file in `file`, and text fields of the `known` names, each at most once.

    Raises BadRequestError for a form that is torn, InvalidError for other parts, and what the sink raises.
    """
    _, options = parse_options_header(request.headers.get("content-type"))
    if not options.get(b"boundary"):
        raise BadRequestError("the form's Content-Type names no boundary")
    reader = _Reader(known)
    try:
        parser = MultipartParser(options[b"boundary"], reader.callbacks())
        async for chunk in request.stream():
            parser.write(chunk)
            if len(reader.pending) >= FLUSH_BYTES or reader.unopened:
                await asyncio.to_thread(reader.flush, sink)
        parser.finalize()
    except FormParserError as error:
        raise BadRequestError(f"the form cannot be read: {error}") from error
    if not reader.ended:
        raise BadRequestError("the form ends before its closing boundary: was the upload cut off?")
    await asyncio.to_thread(reader.flush, sink)
    if reader.filename is None:
        raise InvalidError("no file in the form: send it in the field `file`, with a filename")
    return UploadForm(reader.filename, reader.fields)


class _Reader:
    """Turns the parser's events into fields and pending bytes of the file."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self.filename: str | None = None
        self.unopened = False
        self.pending = bytearray()
        self.fields: dict[str, str] = {}
        self.ended = False
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._field = ""
        self._text = bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._collect(0),
            "on_header_value": self._collect(1),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def flush(self, sink: Sink) -> None:
        if self.unopened and self.filename is not None:
            sink.open(self.filename)
            self.unopened = False
        if self.pending:
            sink.write(bytes(self.pending))
            self.pending.clear()

    def _begin(self) -> None:
        self._disposition = b""
        self._text.clear()

    def _collect(self, part: int) -> Callable[[bytes, int, int], None]:
        def collect(data: bytes, start: int, end: int) -> None:
            self._header[part].extend(data[start:end])

        return collect

    def _header_end(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        name.clear()
        value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field == "file":
            self._file_begins(options.get(b"filename", b"").decode("utf-8", "replace"))
        elif self._field not in self.known:
            names = ", ".join(("file", *sorted(self.known)))
            raise InvalidError(f"unknown form field {self._field!r}: the form takes {names}")
        elif self._field in self.fields:
            raise _twice(self._field)

    def _file_begins(self, filename: str) -> None:
        if self.filename is not None:
            raise _twice("file")
        if not filename:
            raise InvalidError("the field `file` has no filename, whose ending tells the format: name it data.zip")
        self.filename = filename
        self.unopened = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self.pending.extend(data[start:end])
            return
        self._text.extend(data[start:end])
        if len(self._text) > MAX_TEXT_BYTES:
            raise InvalidError(f"the field `{self._field}` is longer than {MAX_TEXT_BYTES} bytes")

    def _end(self) -> None:
        if self._field != "file":
            self.fields[self._field] = self._text.decode("utf-8", "replace")

    def _all(self) -> None:
        self.ended = True


def _twice(name: str) -> HowsureError:
    return InvalidError(f"the form has the field `{name}` twice: send one dataset a request")
