"""The child process of a job, seen from the worker: tell it a stage, hear its reports, end it.

All heavy work is done there: a crash in it, of CUDA or of memory, does not touch the worker, and its memory is given
back when the job is over. It is told what to do by lines of JSON on its stdin, and ends when that is closed, so it
outlives neither its job nor its worker, however these end.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

LOG = "child.log"
GRACE_SECONDS = 2.0


class StageError(Exception):
    """A stage says why it cannot be done: bad data, a damaged version, a full disk."""


class ChildDiedError(Exception):
    """The child ended without an answer."""


class InterruptedByWorkerError(Exception):
    """The worker ended the child on purpose."""


class ChildProcess:
    """Used by the one thread that runs the job; `interrupt` may come from any."""

    def __init__(self, folder: Path, on_message: Callable[[Mapping[str, Any]], None]) -> None:
        self._folder = folder
        self._on_message = on_message
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._interrupted = False

    def run(self, stage: str) -> dict[str, Any]:
        """The stage's result. Raises StageError, ChildDiedError or InterruptedByWorkerError."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"stage": stage}) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            if not line.endswith("\n"):  # killed while it wrote
                break
            message = json.loads(line)
            if "result" in message:
                return dict(message["result"])
            if "error" in message:
                raise StageError(message["error"])
            self._on_message(message)
        status = process.wait()
        if self._interrupted:
            raise InterruptedByWorkerError
        raise ChildDiedError(f"the job's process ended with {_told(status)} in stage {stage}{self._last_words()}")

    def interrupt(self) -> None:
        """End the child at once, and do not start another."""
        with self._lock:
            self._interrupted = True
            self._kill()

    def close(self) -> None:
        """Let the child end by itself, or end it, and with it whatever it has started."""
        with self._lock:
            if self._process is None:
                return
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
            self._kill()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> "subprocess.Popen[str]":
        with self._lock:
            if self._interrupted:
                raise InterruptedByWorkerError
            if self._process is None:
                with (self._folder / LOG).open("ab") as log:
                    self._process = _start(self._folder, log)
            return self._process

    def _kill(self) -> None:
        if self._process is None:
            return
        # It leads a session of its own, so its group is whatever it has started, and nothing else.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _last_words(self) -> str:
        lines = (self._folder / LOG).read_text(errors="replace").strip().splitlines()
        return f"; its last line was: {lines[-1][:500]}" if lines else ""


def _start(folder: Path, log: IO[bytes]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "app.jobs.child", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def _told(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
