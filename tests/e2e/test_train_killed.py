"""`kill -9` of the worker in the middle of a training; then report, activation and a score, all of it by API."""

import os
import signal
import time

import httpx
import pytest

from tests.fixtures.coloured_zip import COLOURS, SMALL, coloured_image, coloured_zip
from tests.fixtures.jobs import children_of

EPOCHS = 10
PARAMS = SMALL | {"epochs": EPOCHS, "promote": False}


@pytest.fixture
def client(start_server, tiny_store, tmp_path):
    settings = {
        "HOWSURE_STORE": tiny_store.root,
        "HOWSURE_SHIPPED": "",
        "HOWSURE_WORKER": "true",
        "HOWSURE_THREADS": 1,
        "HOWSURE_WORKER_DEAD_SECONDS": 2,
    }
    server = start_server(HOWSURE_JOBS=tmp_path / "jobs", HOWSURE_DATASETS=tmp_path / "datasets", **settings)
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        client.server = server.process
        yield client


def until(client, path, condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition(found := client.get(path).json()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_a_training_whose_worker_was_killed_goes_on(client):
    added = client.post("/v1/datasets", files={"file": ("colours.zip", coloured_zip(rows=1200))})
    wanted = {"type": "train", "model": "colours", "dataset": added.json()["id"], "params": PARAMS}
    job = f"/v1/jobs/{client.post('/v1/jobs', json=wanted).json()['id']}"
    until(client, job, lambda found: "epoch" in found["message"])
    (worker,) = children_of(client.server)
    os.kill(worker, signal.SIGKILL)
    found = until(client, job, lambda found: found["state"] in ("succeeded", "failed"))
    assert (found["state"], found["attempts"]) == ("succeeded", 2), found
    assert "taken up again where it stopped" in client.get(f"{job}/log").text

    version = f"/v1/models/colours/versions/{found['result']['version']}"
    curve = client.get(f"{version}/report").json()["training"]["curve"]
    assert [point["epoch"] for point in curve] == list(range(1, EPOCHS + 1))
    assert "<h2>Training</h2>" in client.get(f"{version}/report.html").text
    client.post("/v1/models/colours/activate", json={"version": found["result"]["version"]}).raise_for_status()
    image = {"files": ("red.png", coloured_image(COLOURS["red"], seed=9))}
    until(client, "/v1/models/colours", lambda card: card.get("status") == "ready")
    (scored,) = client.post("/v1/images/score", params={"model": "colours"}, files=image).json()["data"]
    assert scored["label"] == "red"
