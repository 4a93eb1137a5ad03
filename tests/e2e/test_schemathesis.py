"""The server does what its OpenAPI document says, under generated requests."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
OPTIONS = ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--seed", "1", "--warnings", "off"]
COMMAND = Path(sys.executable).parent / "schemathesis"


@pytest.mark.parametrize("examples", [15, pytest.param(500, marks=pytest.mark.slow)])
def test_the_document_holds(server, tmp_path, say, examples):
    result = subprocess.run(
        [COMMAND, "run", f"{server.url}/openapi.json", *OPTIONS, "--max-examples", str(examples)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    say(result.stdout[-1500:])
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
