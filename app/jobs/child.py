"""The program of a job's child process: `python -m app.jobs.child FOLDER`. Reads stages from stdin, one a line.

Answers with lines of JSON on what was its stdout: reports and log lines while it works, then a result or an error.
A stage that has been finished once is not run again: its result is a file in the job's folder.
"""

import json
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any

from app.errors import HowsureError
from app.jobs.stage import JobSpec, Stage, StageContext
from models.core.atomic import write_json
from models.core.errors import ModelSideError

NICE = 10  # requests to score go first where they share a processor with the job


def main() -> None:
    os.nice(NICE)
    folder = Path(sys.argv[1])
    answers = _private_stdout()
    stages = _commands()
    spec = JobSpec.read(folder)
    context = StageContext(folder, spec, lambda message: _say(answers, message))
    known = _stages(spec.type)
    while (name := stages.get()) is not None:
        _say(answers, _perform(known[name], name, context))


def _perform(stage: Stage, name: str, context: StageContext) -> dict[str, Any]:
    done = context.folder / "stages" / f"{name}.json"
    if done.exists():
        return {"result": json.loads(done.read_bytes())}
    started = time.monotonic()
    try:
        result = stage(context)
        done.parent.mkdir(exist_ok=True)
        write_json(done, result)
    except (HowsureError, ModelSideError, ValueError, OSError) as error:
        traceback.print_exc()
        return {"error": _reason(error)}
    context.log(f"stage {name} finished after {time.monotonic() - started:.1f} s")
    return {"result": result}


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or repr(error)


def _stages(job_type: str) -> dict[str, Stage]:
    from app.jobs.stages import STAGES

    return STAGES[job_type]


def _private_stdout() -> IO[str]:
    """The pipe to the worker; whatever a library prints goes to the log instead."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return pipe


def _commands() -> "queue.Queue[str]":
    """Stages as they are told. When stdin ends the worker has gone, and this process ends in the middle of its work."""
    told: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        try:
            for line in sys.stdin:
                told.put(json.loads(line)["stage"])
        finally:
            os._exit(0)

    threading.Thread(target=listen, name="howsure-commands", daemon=True).start()
    return told


def _say(pipe: IO[str], message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    main()
