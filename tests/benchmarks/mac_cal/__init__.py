"""Benchmarks of MaC-Cal beside the plain calibrators; each module with a `main` is a command."""

from pathlib import Path

RESULTS = Path(__file__).parent.parent / "results" / "mac_cal"
CACHE = Path("build/mac_cal/cache")
