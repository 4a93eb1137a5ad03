"""Benchmarks of the loss-rank head; each module with a `main` is a command."""

from pathlib import Path

RESULTS = Path(__file__).parent.parent / "results" / "loss_rank"
