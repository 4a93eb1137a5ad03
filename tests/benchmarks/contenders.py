"""Who is compared: the loops without HTTP, and the servers with the requests that each gets."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

CORES = len(os.sched_getaffinity(0))
MODULE = [sys.executable, "-m"]
HOWSURE = str(Path(sys.executable).with_name("howsure"))
SCORED = ('"confidence"', '"uncertainty"', '"percentile"')


@dataclass(frozen=True, slots=True)
class RawLoop:
    """A process of `raw_loops`; its batch size stands for the number of clients."""

    name: str
    about: str
    network: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One kind of request to a server."""

    name: str
    about: str
    path: str
    multipart: bool = True
    contains: tuple[str, ...] = ('"label"', '"confidence"')


@dataclass(frozen=True, slots=True)
class Server:
    """`{port}` in a command or a value of the environment becomes the port."""

    command: tuple[str, ...]
    ready: str
    variants: tuple[Variant, ...]
    environment: dict[str, str] = field(default_factory=dict)


RAW_LOOPS = (
    RawLoop("raw-float32", "Pillow and torchvision, float32 as loaded", "float32"),
    RawLoop("raw-channels-last", "the same, float32 channels_last", "channels-last"),
    RawLoop("raw-bfloat16", "the same, bfloat16 channels_last", "bfloat16"),
    RawLoop("raw-howsure", "howsure's reduced JPEG decoding and folded bfloat16 network", "howsure"),
)
COMPILED_LOOPS = (
    RawLoop("raw-bfloat16-compiled", "bfloat16 channels_last under torch.compile", "bfloat16-compiled"),
    RawLoop("raw-howsure-compiled", "howsure's decoding and network under torch.compile", "howsure-compiled"),
)


def _litserve(api: str, workers: int, name: str, about: str) -> Server:
    command = (*MODULE, "tests.benchmarks.serve_litserve", "--port", "{port}", "--api", api, "--workers", str(workers))
    return Server(command, "/health", (Variant(name, about, "/predict"),))


SERVERS = (
    Server(
        (*MODULE, "tests.benchmarks.serve_fastapi", "--port", "{port}"),
        "/health",
        (
            Variant(
                "fastapi", "plain FastAPI, float32, one picture a forward pass, raw body", "/predict", multipart=False
            ),
        ),
    ),
    _litserve("plain", 1, "litserve", "LitServe, float32, batches of up to 16, one worker, multipart"),
    _litserve("tuned", 1, "litserve-tuned", "the same, bfloat16 channels_last"),
    _litserve("tuned", CORES, "litserve-workers", "the same, a worker a core, as LitServe advises for a CPU"),
    _litserve("howsure", CORES, "litserve-howsure", "the same around howsure's decoding and network"),
    Server(
        (HOWSURE, "serve"),
        "/readyz",
        (
            Variant("howsure", "calibrated, every score, multipart", "/v1/images/score", contains=SCORED),
            Variant("howsure-raw", "the same, raw body", "/v1/images/score", multipart=False, contains=SCORED),
            Variant(
                "howsure-no-gradients",
                "every score, the epistemic one by its last layer alone: no backward pass",
                "/v1/images/score?scores=entropy,max_prob,energy,epistemic:last_layer",
                contains=SCORED,
            ),
            Variant("howsure-one-score", "one score, multipart", "/v1/images/score?scores=entropy", contains=SCORED),
        ),
        {"HOWSURE_PORT": "{port}", "HOWSURE_LOG_LEVEL": "WARNING"},
    ),
)


def names() -> list[str]:
    return [*raw_names(), *(variant.name for server in SERVERS for variant in server.variants)]


def raw_names() -> list[str]:
    return [loop.name for loop in (*RAW_LOOPS, *COMPILED_LOOPS)]


def chosen(only: Iterable[str], compiled: bool) -> tuple[list[RawLoop], list[tuple[Server, list[Variant]]]]:
    """What to run, in order. LitServe is left out where it is not installed."""
    wanted = set(only) or set(names())
    loops = [loop for loop in (*RAW_LOOPS, *(COMPILED_LOOPS if compiled or only else ())) if loop.name in wanted]
    servers = []
    for server in SERVERS:
        variants = [variant for variant in server.variants if variant.name in wanted]
        missing = "serve_litserve" in " ".join(server.command) and find_spec("litserve") is None
        if variants and not missing:
            servers.append((server, variants))
    return loops, servers
