"""Thousands of damaged image files: each gets an answer, none harms the server."""

import random
from collections import Counter

import httpx
import pytest

from tests.fixtures.metrics import read_metrics, resident_mib
from tests.fixtures.mutations import mutated_images

BATCH = 50
GROWTH_MIB = 150  # the allocator settles within it: over 60,000 images memory swings by 80 MiB and does not climb


@pytest.fixture
def send(server):
    """`send(seed, batches)`: outcomes of that many requests of 50 damaged images, by code."""

    def send(client, seed, batches, originals):
        outcomes = Counter()
        rng = random.Random(seed)
        for _ in range(batches):
            images = mutated_images(rng.random(), BATCH, originals)
            files = [("files", (str(number), image)) for number, image in enumerate(images)]
            response = client.post("/v1/images/score", files=files)
            assert response.status_code == 200, response.text[:500]
            data = response.json()["data"]
            assert [item["input"] for item in data] == [str(number) for number in range(BATCH)]
            outcomes.update(item["error"]["code"] if "error" in item else "scored" for item in data)
            assert all(item.get("error", {"status": 400})["status"] < 500 for item in data)
        return outcomes

    return send


@pytest.mark.parametrize(
    ("seed", "batches"), [(1, 10), pytest.param(2, 400, marks=pytest.mark.slow)], ids=["500", "20,000"]
)
def test_every_damaged_image_is_answered(server, send, photo, say, seed, batches):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        send(client, 0, 3, [photo])  # so that caches and the allocator have grown before memory is read
        before = resident_mib(server.process)
        outcomes = send(client, seed, batches, [photo])
    after = resident_mib(server.process)
    say(f"{outcomes.total()} damaged images: {dict(outcomes)}; memory {before:.0f} → {after:.0f} MiB")
    assert outcomes.total() == batches * BATCH
    assert outcomes.keys() >= {"scored", "image_format_unsupported", "image_damaged"}
    assert after - before < GROWTH_MIB
    assert read_metrics(server.url)["howsure_queue_items", ()] == 0
    assert httpx.get(f"{server.url}/readyz").status_code == 200
