"""Durable jobs: what was asked, who works on it, and what came of it. Read `job.py`, `ledger.py`, then `worker.py`."""
