"""Servers under test as process groups of their own: started, awaited, and stopped whatever happens."""

import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.contenders import Server

START_SECONDS, STOP_SECONDS = 180, 15
TICKS = os.sysconf("SC_CLK_TCK")


class StartError(Exception):
    """A server did not become ready."""


@dataclass(frozen=True, slots=True)
class Running:
    group: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Processor time of every process of the group so far."""
        return sum(_cpu_seconds(path, self.group) for path in Path("/proc").glob("[0-9]*/stat"))


@contextmanager
def running(server: Server, folder: Path) -> Iterator[Running]:
    """The server, ready to answer; its output goes to a file of `folder`. Raises StartError."""
    port = free_port()
    command = [part.format(port=port) for part in server.command]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=_environment(server, port, folder), stdout=output, stderr=output, start_new_session=True
        )
    try:
        _await_ready(process, f"http://127.0.0.1:{port}{server.ready}", log)
        yield Running(process.pid, port)
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the whole group to end, then make it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and (process.poll() is None or _alive(process.pid)):
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def busy_seconds() -> float:
    """Processor time that all programs used, or a hypervisor took away, since the machine started."""
    user, nice, system, _, _, interrupts, soft, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, interrupts, soft, steal))) / TICKS


def children_seconds() -> float:
    """Processor time of this process's ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _environment(server: Server, port: int, folder: Path) -> dict[str, str]:
    """This process's, without howsure's settings: what is measured are the defaults."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOWSURE_")}
    own = {name: value.format(port=port) for name, value in server.environment.items()}
    return {**inherited, "HOWSURE_STORE": str(folder / "store"), **own}


def _await_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.2)
    tail = log.read_text(errors="replace")[-2000:]
    raise StartError(f"{process.args!r} is not ready (status {process.poll()}): {tail}")


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _cpu_seconds(stat: Path, group: int) -> float:
    with suppress(OSError):
        fields = stat.read_text().rpartition(")")[2].split()  # from the state on, as proc(5) numbers them minus 3
        if int(fields[2]) == group:
            return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0
