"""Servers and clients that the tests of the service share, since a server start costs seconds."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from app.client import AsyncClient, Client
from app.keys import ApiKey, Scope
from tests.fixtures.formed import formed, formed_store, plain_predictor
from tests.fixtures.prompts import held, language_store, plain_prompt_predictor, prompt_predictor, slice_predictor
from tests.fixtures.server import launch

__all__ = [
    "formed",
    "formed_store",
    "held",
    "language_store",
    "plain_predictor",
    "plain_prompt_predictor",
    "prompt_predictor",
    "slice_predictor",
]
MODEL = "efficientnet-lite0"


@pytest.fixture(params=["sync", "async"])
def ask(request, monkeypatch):
    """`ask(url, method, *arguments, client={…}, **options)` with one client and with the other; a stream is a list."""
    monkeypatch.delenv("HOWSURE_URL", raising=False)
    monkeypatch.delenv("HOWSURE_API_KEY", raising=False)

    def sync(url, method, *arguments, client=None, **options):
        with Client(url, **(client or {})) as connection:
            answer = getattr(connection, method)(*arguments, **options)
            return list(answer) if isinstance(answer, Iterator) else answer

    async def in_loop(url, method, *arguments, client=None, **options):
        async with AsyncClient(url, **(client or {})) as connection:
            answer = getattr(connection, method)(*arguments, **options)
            return [entry async for entry in answer] if isinstance(answer, AsyncIterator) else await answer

    return sync if request.param == "sync" else lambda *given, **options: asyncio.run(in_loop(*given, **options))


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def damaged_store(tmp_path_factory, server, session_store):
    """A store with the shipped model and copies of it, each damaged in its own way."""
    root = tmp_path_factory.mktemp("damaged") / "store"
    shutil.copytree(session_store, root)
    for name in ("bad-manifest", "bad-methods", "bad-pointer", "bad-report", "bad-second"):
        shutil.copytree(root / MODEL, root / name)
    (root / "bad-manifest/versions/1/manifest.json").write_text('{"format": 1}')
    methods = root / "bad-methods/versions/1/methods.safetensors"
    methods.write_bytes(methods.read_bytes()[:-1] + b"\x01")
    (root / "bad-pointer/active.json").write_text('{"version": 1')
    manifest = root / "bad-report/versions/1/manifest.json"
    manifest.write_text(manifest.read_text().replace('"evaluations"', '"evaluation"'))
    shutil.copytree(root / "bad-second/versions/1", root / "bad-second/versions/2")
    (root / "bad-second/versions/2/manifest.json").write_text("[]")
    return root


@pytest.fixture(scope="session")
def small_server(tmp_path_factory, damaged_store):
    """Small limits, and several models, most of them damaged."""
    server = launch(
        tmp_path_factory.mktemp("small") / "server.log",
        HOWSURE_STORE=damaged_store,
        HOWSURE_DEFAULT_MODEL=MODEL,
        HOWSURE_MAX_BATCH=4,
        HOWSURE_MAX_ITEMS=4,
        HOWSURE_QUEUE_ITEMS=4,
        HOWSURE_MAX_BODY_BYTES=200_000,
        HOWSURE_MAX_IMAGE_BYTES=100_000,
        HOWSURE_MAX_IMAGE_PIXELS=1_000_000,
    )
    server.wait_until_ready()
    yield server
    assert server.stop() == 0, server.log.read_text()


@pytest.fixture
def small(small_server):
    with httpx.Client(base_url=small_server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def keys():
    """Scope → (key, secret)."""
    return {scope: ApiKey.create(f"{scope}-key", [scope]) for scope in Scope}


@pytest.fixture(scope="session")
def locked_server(tmp_path_factory, session_store, server, keys):
    server = launch(
        tmp_path_factory.mktemp("locked") / "server.log",
        HOWSURE_STORE=session_store,
        HOWSURE_MAX_BATCH=1,
        HOWSURE_API_KEYS=",".join(str(key) for key, _ in keys.values()),
    )
    server.wait_until_ready()
    yield server
    assert server.stop() == 0, server.log.read_text()


@pytest.fixture
def locked(locked_server):
    with httpx.Client(base_url=locked_server.url, timeout=60) as client:
        yield client
