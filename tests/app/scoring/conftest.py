"""Batchers and scorers that the tests of several files start."""

from tests.fixtures.batching import anyio_backend, start_batcher
from tests.fixtures.prompt_scoring import ask_prompts, start_prompt_scorer
from tests.fixtures.refining import start_with

__all__ = ["anyio_backend", "ask_prompts", "start_batcher", "start_prompt_scorer", "start_with"]
