"""Random numbers that depend on what they are for and on nothing that happened before: a resumed run draws the same."""

import hashlib

import torch


def seed_for(seed: int, purpose: str, *numbers: int) -> int:
    """In [0, 2^63)."""
    text = ":".join(map(str, (seed, purpose, *numbers)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """On the CPU."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, *numbers))
