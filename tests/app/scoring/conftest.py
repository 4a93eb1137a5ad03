"""Fixtures of the batcher's tests."""

from tests.fixtures.batching import anyio_backend, start_batcher

__all__ = ["anyio_backend", "start_batcher"]
