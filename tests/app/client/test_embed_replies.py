"""Embeddings by both clients: from a real server, and what is no embedding."""

import base64
import struct

import pytest

from app.client import EmbeddedImage, FailedImage, HowsureConnectionError
from app.client.embed_replies import parse_embeddings
from tests.fixtures.images import image_file

IMAGES = [("bad.jpg", b"no image"), ("1.jpg", image_file(1)), ("2.jpg", image_file(2))]


@pytest.fixture
def reply():
    """`reply(text)`: the server's document for one image whose embedding is this text, of two dimensions."""

    def reply(text):
        score = {"value": 0.5, "percentile": None, "kind": "total", "new": 1}
        item = {"object": "embedding", "index": 0, "input": "a", "embedding": text, "uncertainty": {"entropy": score}}
        return {"object": "list", "model": "m", "version": 3, "dimensions": 2, "data": [item], "usage": {}}

    return reply


def test_embeddings_come_as_lists_of_numbers(ask, server):
    reply = ask(server.url, "embed", IMAGES, scores=["entropy", "energy"])
    failed, first, second = reply.items
    assert (reply.model, reply.version, reply.dimensions) == ("efficientnet-lite0", 1, 1280)
    assert isinstance(failed, FailedImage)
    assert (reply.failed, reply.embedded) == ((failed,), (first, second))
    assert (first.index, first.input, second.index, second.input) == (1, "1.jpg", 2, "2.jpg")
    assert first.embedding != second.embedding
    assert {type(number) for number in first.embedding} == {float}
    assert len(first.embedding) == 1280
    assert list(first.uncertainty) == ["entropy", "energy"]
    assert reply.raw["usage"] == {"items": 3, "scored": 2, "failed": 1}


def test_normalized(ask, server):
    (image,) = ask(server.url, "embed", IMAGES[1:2], model="efficientnet-lite0", normalize=True).embedded
    assert sum(number**2 for number in image.embedding) == pytest.approx(1, abs=1e-5)


def test_the_bytes_are_little_endian(reply):
    (image,) = parse_embeddings(reply(base64.b64encode(struct.pack("<2f", 1.5, -2.25)).decode())).items
    assert isinstance(image, EmbeddedImage)
    assert image.embedding == [1.5, -2.25]
    assert image.uncertainty["entropy"].value == 0.5


@pytest.mark.parametrize("content", [b"", bytes(4), bytes(7), bytes(12), None])
def test_what_is_no_embedding_is_not_taken_for_one(ask, scripted, reply, content):
    text = "%%%" if content is None else base64.b64encode(content).decode()
    odd = scripted((200, {}, reply(text)))
    with pytest.raises(HowsureConnectionError, match="not as a howsure server does"):
        ask(odd.url, "embed", IMAGES)
