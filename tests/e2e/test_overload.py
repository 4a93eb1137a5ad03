"""Ten times more than the server can do: it serves as many as before, refuses the rest and recovers at once."""

import json
import subprocess
import sys
import time

import httpx
import pytest

from tests.fixtures.metrics import read_metrics, resident_mib

URL = "/v1/images/score"
QUEUE = 16
SECONDS = 30
pytestmark = pytest.mark.slow


@pytest.fixture
def load(tmp_path, photo):
    """`load(server, clients, …)`: start the generator as a process of its own; `finish(it)` gives its figures."""
    file = tmp_path / "photo.jpg"
    file.write_bytes(photo)

    def load(server, clients, seconds, pause=0.0):
        command = [sys.executable, "-m", "tests.benchmarks.load", "--url", server.url + URL, "--file", file, "--json"]
        options = {"clients": clients, "seconds": seconds, "warmup": 1, "pause": pause}
        arguments = [str(part) for option, value in options.items() for part in (f"--{option}", value)]
        return subprocess.Popen([*map(str, command), *arguments], stdout=subprocess.PIPE, text=True)

    return load


@pytest.fixture
def finish():
    def finish(process):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return json.loads(output)

    return finish


def test_ten_times_the_load(start_server, load, finish, photo, say):
    server = start_server(HOWSURE_QUEUE_ITEMS=QUEUE, HOWSURE_MAX_ITEMS=QUEUE)
    finish(load(server, clients=8, seconds=3))
    peak = finish(load(server, clients=8, seconds=8))
    memory = resident_mib(server.process)
    assert peak["statuses"].keys() == {"200"}, peak

    # Clients that are refused rest, so that about ten times the peak is offered however fast the machine is.
    clients = 150
    pause = clients / (10 * peak["requests_per_second"])
    flood = load(server, clients, SECONDS, pause)
    time.sleep(SECONDS / 2)
    retry_after = []
    while flood.poll() is None:
        answer = httpx.post(server.url + URL, content=photo, headers={"Content-Type": "image/jpeg"}, timeout=30)
        assert answer.status_code in (200, 429)
        if answer.status_code == 429:
            retry_after.append(int(answer.headers["retry-after"]))
        assert httpx.get(f"{server.url}/livez", timeout=5).status_code == 200
        time.sleep(0.2)
    result = finish(flood)

    started = time.monotonic()
    headers = {"Content-Type": "image/jpeg"}
    assert httpx.post(server.url + URL, content=photo, headers=headers, timeout=30).status_code == 200
    recovery = time.monotonic() - started
    after = finish(load(server, clients=8, seconds=8))
    grown = resident_mib(server.process) - memory
    rate, offered = result["requests_per_second"], sum(result["statuses"].values()) / SECONDS
    say(
        f"overload for {SECONDS} s: offered {offered:.0f}/s ({offered / peak['requests_per_second']:.1f} x the peak),"
        f" served {rate:.1f}/s against {peak['requests_per_second']:.1f}/s before and"
        f" {after['requests_per_second']:.1f}/s after; {result['statuses']}; p99 of served {result['p99_ms']:.0f} ms"
        f" ({peak['p99_ms']:.0f} ms before); Retry-After {sorted(set(retry_after))}; first answer after the flood in"
        f" {recovery * 1000:.0f} ms; memory {memory:.0f} MiB {grown:+.0f}"
    )
    assert result["statuses"].keys() == {"200", "429"}
    assert result["failures"] == {}
    assert offered > 5 * peak["requests_per_second"]
    assert rate > 0.9 * peak["requests_per_second"]
    assert result["p99_ms"] < 3 * (1000 * QUEUE / rate + peak["p99_ms"])
    assert retry_after
    assert all(1 <= seconds <= 10 for seconds in retry_after)
    assert recovery < 2
    assert after["requests_per_second"] > 0.9 * peak["requests_per_second"]
    assert grown < 50
    assert read_metrics(server.url)["howsure_queue_items", ()] == 0
