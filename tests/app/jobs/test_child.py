"""The child's program: a stage runs once to its end, its errors are clear, and it ends with its worker."""

import json
import subprocess
import sys

import pytest

from app.errors import NotFoundError
from app.jobs.child import _perform
from app.jobs.stage import JobSpec, StageContext
from models.core.errors import DataError
from tests.fixtures.jobs import runs
from tests.fixtures.new_jobs import new_job

SPEC = JobSpec("job_1", "calibrate", "tiny", "ds_" + "0" * 20, dict(new_job().params), "test")


@pytest.fixture
def context(tmp_path):
    said = []
    context = StageContext(tmp_path, SPEC, said.append)
    SPEC.write(tmp_path)
    return context, said


@pytest.fixture
def real_child(tmp_path, tiny_store):
    """A child as the worker starts it, in a folder with a job's specification."""
    SPEC.write(tmp_path)
    environment = {"PATH": "/usr/bin:/bin", "HOWSURE_STORE": str(tiny_store.root), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "app.jobs.child", str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, env=environment, text=True) as process:
        yield process
        process.kill()


def test_a_spec_is_read_as_it_was_written(tmp_path):
    SPEC.write(tmp_path)
    assert JobSpec.read(tmp_path) == SPEC


def test_a_stage_runs_once_to_its_end(context):
    context, said = context
    ran = []

    def stage(given):
        given.report(0.5, "half", {"nll": 1.0})
        return {"turn": ran.append(1) or len(ran)}

    first, second = _perform(stage, "fit", context), _perform(stage, "fit", context)
    assert first == second == {"result": {"turn": 1}}
    assert said[0] == {"progress": 0.5, "message": "half", "metrics": {"nll": 1.0}}
    assert [line["log"].split()[:3] for line in said[1:]] == [["stage", "fit", "finished"]]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("row 3 is bad"), "row 3 is bad"),
        (NotFoundError("no dataset 'ds_1'"), "no dataset 'ds_1'"),
        (OSError(28, "No space left on device", "/jobs/x"), "No space left on device: /jobs/x"),
        (OSError("odd"), "odd"),
        (ValueError(), "ValueError()"),
    ],
)
def test_errors_are_told_and_the_stage_may_be_tried_again(context, capsys, error, told):
    def fail(_):
        raise error

    assert _perform(fail, "fit", context[0]) == {"error": told}
    assert "Traceback" in capsys.readouterr().err
    assert _perform(lambda _: {}, "fit", context[0]) == {"result": {}}


def test_what_json_cannot_say_is_an_error(context):
    assert "Out of range" in _perform(lambda _: {"nll": float("nan")}, "fit", context[0])["error"]
    assert not list((context[0].folder / "stages").glob("*"))


def test_a_real_child_says_what_is_wrong_and_ends_with_its_stdin(real_child, tmp_path):
    real_child.stdin.write('{"stage": "outputs"}\n')
    real_child.stdin.flush()
    answer = json.loads(real_child.stdout.readline())
    assert answer["error"] == f"no dataset '{SPEC.dataset}'; GET /v1/datasets lists those that are there"
    real_child.stdin.close()
    assert real_child.wait(10) == 0


def test_a_torn_command_ends_it(real_child):
    real_child.stdin.write('{"stage": "ou')
    real_child.stdin.close()
    real_child.wait(20)
    assert not runs(real_child.pid)
