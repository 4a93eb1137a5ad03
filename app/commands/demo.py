"""`howsure demo`: a real server on a free port scores two photographs, and is stopped again."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.client import DEFAULT_URL, Client
from app.client.replies import HowsureConnectionError, ScoreReply

MODEL = "efficientnet-lite0"
PHOTOGRAPHS = tuple(Path(__file__).parent.parent / "assets" / name for name in ("coffee.jpg", "chelsea.jpg"))
START_SECONDS = 180
STOP_SECONDS = 60
POLL_SECONDS = 0.2
LOG_LINES = 15
URL_IN_LOG = re.compile(r"^howsure .*?(http://127\.0\.0\.1:\d+)", re.MULTILINE)


class DemoError(Exception):
    """The server did not start, or did not stop as it should; the message has its last log lines."""


def run(say: Callable[[str], None], show: Callable[[ScoreReply], None]) -> None:
    """Tell what happens with `say`, and give the reply to `show`. Raises DemoError."""
    # So that the server is stopped too when this process is asked to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="howsure-") as folder:
        say("Starting a server; the first start fills the checkpoint store and takes longer.")
        started = time.monotonic()
        with _server(Path(folder) / "server.log") as (process, log):
            url = _url_when_ready(process, log)
            say(f"Ready at {url} after {time.monotonic() - started:.1f} s. Scoring {len(PHOTOGRAPHS)} photographs.")
            images = [(photograph.name, photograph.read_bytes()) for photograph in PHOTOGRAPHS]
            with Client(url) as client:
                show(client.score(images, model=MODEL))
            status = _stop(process, log)
    say(f"The server stopped with exit status {status}.")
    say(f"\nThe same with curl, while `howsure serve` runs:\n\n{curl(DEFAULT_URL)}\n")


def curl(url: str) -> str:
    """The command line that asks what the demo asks."""
    files = " ".join(f"-F files=@{shlex.quote(_from_here(photograph))}" for photograph in PHOTOGRAPHS)
    return f"curl {files} '{url}/v1/images/score?model={MODEL}'"


@contextmanager
def _server(log: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    # Port 0 lets the server take a free port and say which. Address and keys of an installation do not matter here.
    settings = {"HOST": "127.0.0.1", "PORT": "0", "API_KEYS": "", "LOG_LEVEL": "WARNING", "SHIPPED": MODEL}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"],
            env=os.environ | {f"HOWSURE_{name}": value for name, value in settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _url_when_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    reason = "it did not say its address"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the server ended with exit status {process.returncode}{_last_lines(log)}")
        said = URL_IN_LOG.search(log.read_text(errors="replace"))
        if said:
            reason = _why_not_ready(said[1])
            if not reason:
                return said[1]
        time.sleep(POLL_SECONDS)
    raise DemoError(f"the server was not ready within {START_SECONDS} s: {reason}{_last_lines(log)}")


def _why_not_ready(url: str) -> str:
    try:
        with Client(url) as client:
            readiness = client.ready()
    except HowsureConnectionError as error:
        return error.detail
    return "" if readiness.ready else ", ".join(readiness.reasons)


def _stop(process: subprocess.Popen[bytes], log: Path) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise DemoError(f"the server still ran {STOP_SECONDS} s after SIGTERM{_last_lines(log)}") from None
    if status != 0:
        raise DemoError(f"the server ended with exit status {status} after SIGTERM{_last_lines(log)}")
    return status


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return ". Its last words:\n" + "\n".join(lines)


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
