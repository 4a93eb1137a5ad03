"""The online path: bytes in, predictions out. Read `scorer.py` first."""
