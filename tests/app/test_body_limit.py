"""Reading stops at the limit, whatever the request claims about its size."""

import pytest

from app.body_limit import BodyLimit
from app.errors import PayloadTooLargeError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def read():
    """`await read(chunks, claimed)`: the body that an app behind a limit of 10 bytes gets, and how often it read."""

    async def read(chunks, claimed=None):
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        messages.append({"type": "http.request", "body": b"", "more_body": False})
        body = b""
        reads = 0

        async def receive():
            nonlocal reads
            reads += 1
            return messages.pop(0)

        async def app(scope, receive, send):
            nonlocal body
            more = True
            while more:
                message = await receive()
                body += message["body"]
                more = message["more_body"]

        headers = [] if claimed is None else [(b"content-length", claimed)]
        error = None
        try:
            await BodyLimit(app, max_bytes=10)({"type": "http", "headers": headers}, receive, None)
        except PayloadTooLargeError as raised:
            error = raised
        return body, reads, error

    return read


async def test_a_body_up_to_the_limit_passes_whole(read):
    assert await read([b"01234", b"56789"], b"10") == (b"0123456789", 3, None)


async def test_a_claimed_size_over_the_limit_is_refused_unread(read):
    body, reads, error = await read([b"01234"], b"11")
    assert (body, reads, error.status) == (b"", 0, 413)


@pytest.mark.parametrize("claimed", [None, b"5", b"-1", b"1e9", b""])
async def test_the_bytes_count_not_the_claim(read, claimed):
    body, reads, error = await read([b"01234", b"56789", b"!", b"never read"], claimed)
    assert (body, reads, error.status) == (b"0123456789", 3, 413)


@pytest.mark.parametrize(
    ("method", "path", "limit"), [("POST", "/large", 20), ("GET", "/large", 10), ("POST", "/", 10)]
)
async def test_a_route_may_have_a_limit_of_its_own(method, path, limit):
    async def app(scope, receive, send):
        await receive()

    async def receive():
        return {"type": "http.request", "body": bytes(size), "more_body": False}

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    limited = BodyLimit(app, 10, routes={("POST", "/large"): 20})
    size = limit
    await limited(scope, receive, None)
    size = limit + 1
    with pytest.raises(PayloadTooLargeError, match=f"larger than {limit} bytes"):
        await limited(scope, receive, None)


async def test_other_protocols_pass_untouched():
    seen = []

    async def app(scope, receive, send):
        seen.append(receive)

    await BodyLimit(app, 10)({"type": "lifespan"}, "receive", None)
    assert seen == ["receive"]
