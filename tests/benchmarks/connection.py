"""One HTTP/1.1 client connection without blocking: enough of the protocol to time replies that state their length."""

import socket
import time
from dataclasses import dataclass


class ReplyError(Exception):
    """The peer closed the connection, or sent what this client does not read."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content: bytes
    seconds: float  # from the first byte sent to the last byte received
    closes: bool  # the server will close the connection


class Connection:
    """`start`, then `send` until it returns True and `receive` until it returns the reply; then `start` again."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.host = host
        self.port = port
        self.request = memoryview(request)
        self.opened = False
        self.sent = 0
        self.ended = False  # the peer reads or sends no more
        self.started = 0.0
        self.received = bytearray()
        self.expected = -1  # bytes of the whole reply; -1 until its headers are complete
        self.socket: socket.socket

    def start(self) -> bool:
        """Begin a request, on a new connection if need be (then True)."""
        fresh = not self.opened
        if fresh:
            self.socket = socket.create_connection((self.host, self.port), timeout=5)
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.opened = True
        self.sent, self.expected, self.ended = 0, -1, False
        self.received.clear()
        self.started = time.perf_counter()
        return fresh

    def send(self) -> bool:
        """True once nothing is left to send."""
        try:
            while self._sending():
                self.sent += self.socket.send(self.request[self.sent :])
        except BlockingIOError:
            pass
        except ConnectionError:  # a server may refuse a body by closing; its reply can still be read
            self.ended = True
        return not self._sending()

    def receive(self) -> Reply | None:
        """The reply, once it is complete and the request has left; a server may answer before it has read it all."""
        while self._sending() or not self._complete():
            try:
                chunk = self.socket.recv(65536)
            except BlockingIOError:
                return None
            if not chunk:
                self.ended = True
                if not self._complete():
                    raise ReplyError("closed amid a reply" if self.received else "closed before a reply")
            self.received += chunk
        seconds = time.perf_counter() - self.started
        head, _, content = bytes(self.received[: self.expected]).partition(b"\r\n\r\n")
        closes = self.ended or b"\r\nconnection: close" in head.lower()
        return Reply(int(head[9:12]), content, seconds, closes)

    def close(self) -> None:
        if self.opened:
            self.socket.close()
            self.opened = False

    def _sending(self) -> bool:
        return self.sent < len(self.request) and not self.ended

    def _complete(self) -> bool:
        if self.expected < 0:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.expected = end + 4 + _content_length(bytes(self.received[:end]).lower())
        return len(self.received) >= self.expected


def _content_length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise ReplyError("a reply without Content-Length")
    return int(rest.partition(b"\r\n")[0])
