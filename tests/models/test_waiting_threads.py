"""How long torch's threads spin while they wait is set before torch is loaded, unless somebody has said otherwise."""

import os
import subprocess
import sys

import pytest

CODE = "import models, os, sys; assert 'torch' not in sys.modules; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_it_is_short_unless_it_was_set(given, expected):
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    found = subprocess.run([sys.executable, "-c", CODE], env=plain | given, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected
