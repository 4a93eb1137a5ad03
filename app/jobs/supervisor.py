"""Runs a worker as a process of its own beside the server, and starts it again when it dies."""

import logging
import os
import subprocess
import sys
import threading
import time

from app.settings import Settings

log = logging.getLogger("howsure.supervisor")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
HEALTHY_SECONDS = 60.0


class Supervisor:
    """The worker ends when this process does, however it ends: its stdin is a pipe from here."""

    def __init__(self, settings: Settings) -> None:
        self._environment = os.environ | settings.for_workers()
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._loop, name="howsure-supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Have the worker hand its jobs back; kill it when it takes longer than `timeout` seconds."""
        self._closing.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.ident is not None:
            self._thread.join()

    def _loop(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            started = time.monotonic()
            status = self._run_once()
            if self._closing.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - started > HEALTHY_SECONDS else min(2 * pause, LONGEST_PAUSE)
            fields = {"event": "worker_ended", "status": status, "again_in": pause}
            log.error("worker ended", extra=fields)
            self._closing.wait(pause)

    def _run_once(self) -> int | None:
        try:
            process = self._started()
        except OSError as error:
            log.error("worker not started", exc_info=error, extra={"event": "worker_not_started"})
            return None
        with process:
            self._process = process
            if self._closing.is_set():
                process.kill()  # it has nothing in hand yet
            return process.wait()

    def _started(self) -> "subprocess.Popen[bytes]":
        """In a session of its own: Ctrl-C is for the server, which then tells the worker."""
        command = [sys.executable, "-m", "app.cli", "worker", "--ends-with-stdin"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, env=self._environment, start_new_session=True)
