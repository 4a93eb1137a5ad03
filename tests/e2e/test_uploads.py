"""Uploads to a real server: killed in the middle, claimed sizes, memory."""

import hashlib
import os
import socket
import struct
import time
import zipfile

import httpx
import psutil
import pytest

from tests.fixtures import labelled_data as made
from tests.fixtures.wire import connect, head, read_response

URL = "/v1/datasets"
FORM = "multipart/form-data; boundary=b"
START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="set.zip"\r\n\r\n'
END = b"\r\n--b--\r\n"
MB = 2**20


def wait_until(true, seconds=20):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answering(server):
    """The server, once it takes requests; its model may not be loaded yet."""

    def answers():
        try:
            return httpx.get(f"{server.url}/livez").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, seconds=100)
    return server


def bytes_of(folder):
    return sum(file.stat().st_size for file in folder.glob(".incoming-*/content.*"))


def test_a_claim_of_ten_gigabytes_is_refused_unread(server):
    with connect(server, timeout=10) as connection:
        connection.sendall(head("POST", URL, content_type=FORM, content_length=10 * 2**30))
        assert read_response(connection).status == 413


def test_a_server_killed_in_mid_upload_leaves_no_dataset(start_server, tmp_path):
    datasets = tmp_path / "datasets"
    server = answering(start_server(wait=False, HOWSURE_DATASETS=datasets))
    with connect(server) as connection:
        connection.sendall(head("POST", URL, content_type=FORM, content_length=50 * MB) + START + bytes(5 * MB))
        wait_until(lambda: bytes_of(datasets) >= 4 * MB)
        server.process.kill()
        server.process.wait()
    assert bytes_of(datasets) >= 4 * MB
    server = answering(start_server(wait=False, HOWSURE_DATASETS=datasets))
    assert [path.name for path in datasets.iterdir()] == [".lock"]
    with httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.get(URL).json()["data"] == []
        content = made.SAMPLES["images"]["indexed.zip"]
        assert client.post(URL, files={"file": ("set.zip", content)}).status_code == 201
    server.process.kill()
    server.process.wait()


def test_a_client_that_goes_away_leaves_nothing(server, session_store):
    datasets = session_store.with_name("datasets")
    with connect(server) as connection:
        connection.sendall(head("POST", URL, content_type=FORM, content_length=3 * MB) + START + bytes(2 * MB))
        wait_until(lambda: bytes_of(datasets) >= MB)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # hang up hard
    wait_until(lambda: not list(datasets.glob(".incoming-*")))


@pytest.mark.slow
def test_memory_stays_flat_while_200_megabytes_come_in(server, tmp_path, say):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("index.csv", "file,label\n" + "".join(f"{number}.png,0\n" for number in range(400)))
        for number in range(400):  # an image and, behind its end, what makes it large
            content = made.IMAGES["0.png"][1] + os.urandom(MB // 2)
            archive.writestr(f"images/{number}.png", content)
    process = psutil.Process(server.process.pid)
    before = peak = process.memory_info().rss

    def body():
        nonlocal peak
        yield START
        with path.open("rb") as file:
            while chunk := file.read(MB):
                yield chunk
                peak = max(peak, process.memory_info().rss)
        yield END

    started = time.monotonic()
    response = httpx.post(f"{server.url}{URL}", content=body(), headers={"Content-Type": FORM}, timeout=120)
    seconds = time.monotonic() - started
    assert response.status_code == 201, response.text
    assert response.json()["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    after = process.memory_info().rss
    say(f"200 MB in {seconds:.1f} s; memory {before / MB:.0f} MB, peak {peak / MB:.0f} MB, after {after / MB:.0f} MB")
    assert max(peak, after) - before < 60 * MB
