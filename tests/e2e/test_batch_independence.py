"""An answer does not depend on which other images happened to share its batch."""

import asyncio
import random

import httpx
import pytest

from models.core.golden import TOLERANCE, GoldenRow, distance
from tests.fixtures.images import image_file
from tests.fixtures.metrics import read_metrics

URL = "/v1/images/score"
JPEG = {"Content-Type": "image/jpeg"}
COUNT = 64


@pytest.fixture
def row():
    """`row(item)`: the figures of a scored item."""

    def row(item):
        return GoldenRow(item["confidence"], {name: score["value"] for name, score in item["uncertainty"].items()})

    return row


def test_alone_and_in_random_company(server, row, say):
    rng = random.Random(7)
    images = [image_file(seed, size=(rng.randint(60, 500), rng.randint(60, 500))) for seed in range(COUNT)]
    delays = [rng.uniform(0, 0.5) for _ in images]
    precision = httpx.get(f"{server.url}/v1/models/efficientnet-lite0").json()["precision"]

    async def send(client, image, delay):
        await asyncio.sleep(delay)
        return await client.post(URL, content=image, headers=JPEG)

    async def all_at_random():
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            return await asyncio.gather(*(send(client, *pair) for pair in zip(images, delays, strict=True)))

    with httpx.Client(base_url=server.url, timeout=60) as client:
        alone = [client.post(URL, content=image, headers=JPEG).json()["data"][0] for image in images]
    before = read_metrics(server.url)
    together = [response.json()["data"][0] for response in asyncio.run(all_at_random())]
    after = read_metrics(server.url)
    batches = after["howsure_batch_size_count", ()] - before["howsure_batch_size_count", ()]

    distances = [distance(row(one), row(other)) for one, other in zip(alone, together, strict=True)]
    say(
        f"{COUNT} images in {batches:.0f} batches against one by one, {precision}: largest difference"
        f" {max(distances):.2g}, tolerance {TOLERANCE[precision]}"
    )
    assert batches < COUNT, "nothing was batched, so nothing was tested"
    assert max(distances) < TOLERANCE[precision]
