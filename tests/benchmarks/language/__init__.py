"""What language models are measured by; `build/language` keeps the converted model."""

from pathlib import Path

RESULTS = Path(__file__).parent.parent / "results" / "language"
BUILD = Path("build/language")
