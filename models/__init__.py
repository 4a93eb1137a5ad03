"""The model side of howsure: networks, calibration, uncertainty, metrics and the checkpoint format. Knows no HTTP."""

import os

# How long one of torch's threads spins while it waits for another one, read when torch is loaded. By default so long
# that, where another program has a core, it keeps the other core from the very thread that it waits for: a server
# beside one busy core of two is ready in 19 s like this, else in 49 s (tests/benchmarks/busy_core.py).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
