"""A load generator that remembers of every reply when it came, which version it names and how confident it is."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.connection import Reply
from tests.benchmarks.load import Run, Target

# Confidence in bfloat16 depends a little on the batch that an image is in; the versions must differ by more than that.
TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Seen:
    """One reply with status 200; `at` is a `time.perf_counter()`, as is `at - seconds`, when it was sent."""

    at: float
    seconds: float
    version: int
    confidences: tuple[float, ...]


class Witness(Run):
    """`Run` whose replies are scores; `seen` has them in the order in which they came."""

    def __init__(self, target: Target, clients: int) -> None:
        super().__init__(target, clients)
        self.seen: list[Seen] = []

    def took(self, reply: Reply) -> None:
        super().took(reply)
        if reply.status == 200:
            body = json.loads(reply.content)
            confidences = tuple(item["confidence"] for item in body["data"])
            self.seen.append(Seen(time.perf_counter(), reply.seconds, body["version"], confidences))


def mixed(seen: Sequence[Seen], expected: Mapping[int, Sequence[float]]) -> list[Seen]:
    """Replies with a confidence that the version they name does not give; `expected` is one value an image."""
    return [reply for reply in seen if not _agrees(reply.confidences, expected[reply.version])]


def _agrees(confidences: Sequence[float], expected: Sequence[float]) -> bool:
    pairs = zip(confidences, expected, strict=True)
    return all(abs(math.log(found / wanted)) < TOLERANCE for found, wanted in pairs)
