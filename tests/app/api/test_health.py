"""Health, metrics, logs, and what every route has in common."""

import json
import time
import uuid

import pytest

from models.checkpoints.shipped import IMAGE_MODELS
from tests.fixtures.images import image_file
from tests.fixtures.metrics import read_metrics
from tests.fixtures.problems import check_problem

URL = "/v1/images/score"
JPEG = {"Content-Type": "image/jpeg"}


def test_alive_and_ready(client):
    assert client.get("/livez").json()["status"] == "ok"
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"], ready.json()["reasons"]) == (200, "ready", [])
    models = {model["id"]: model for model in ready.json()["models"]}
    assert list(models) == list(IMAGE_MODELS)
    expected = {"status": "ready", "version": 1, "calibrated": True}
    assert expected.items() <= models["efficientnet-lite0"].items()
    health = client.get("/health").json()
    assert health.pop("jobs").keys() == {"database", "workers"}
    assert {**health, "jobs": None} == ready.json()


@pytest.mark.parametrize("route", ["/livez", "/readyz", "/health", "/metrics", "/docs", "/openapi.json"])
def test_open_without_a_key(locked, route):
    assert locked.get(route).status_code == 200


def test_metrics_count_requests_items_and_batches(server, client):
    before = read_metrics(server.url)
    files = [("files", (str(number), image_file(number))) for number in range(3)]
    assert client.post(URL, files=[*files, ("files", ("bad", b"x"))]).status_code == 200
    assert client.post(URL, content=b"x", headers=JPEG).status_code == 415
    assert client.get("/no/such/route").status_code == 404
    after = read_metrics(server.url)

    def grown(name, **labels):
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0)

    assert grown("howsure_requests_total", route=URL, method="POST", status="200") == 1
    assert grown("howsure_requests_total", route=URL, method="POST", status="415") == 1
    assert grown("howsure_requests_total", route="unmatched", method="GET", status="404") == 1
    assert grown("howsure_request_duration_seconds_count", route=URL) == 2
    assert grown("howsure_items_total", model="efficientnet-lite0", outcome="scored") == 3
    assert grown("howsure_items_total", model="efficientnet-lite0", outcome="image_format_unsupported") == 2
    assert grown("howsure_confidence_count", model="efficientnet-lite0") == 3
    assert grown("howsure_batch_size_sum") == 3
    assert grown("howsure_stage_duration_seconds_count", stage="model") == grown("howsure_batch_size_count")
    assert after["howsure_queue_items", ()] == 0
    assert after["howsure_model_info", (("model", "efficientnet-lite0"), ("version", "1"))] == 1
    assert any(name == "howsure_calibration_ece" and 0 <= value < 0.2 for (name, _), value in after.items())


def test_refused_requests_are_counted(small_server):
    """Grown by the test of the full queue, if that ran before; the metric exists in any case."""
    found = read_metrics(small_server.url)
    refused = sum(
        value
        for (name, labels), value in found.items()
        if name == "howsure_requests_total" and dict(labels)["status"] == "429"
    )
    assert found["howsure_rejected_total", ()] == refused


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/V1/models", "/v1/models/a/b", "//"])
def test_unknown_routes_are_problems(client, path):
    check_problem(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", URL, "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("POST", "/livez", "GET"),
        ("PATCH", "/v1/models/x/versions/1", "GET"),
    ],
)
def test_other_methods_are_problems_that_name_the_right_one(client, method, path, allowed):
    response = client.request(method, path)
    check_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


def test_logs_are_json_with_request_ids_and_without_secrets(locked_server, locked, keys):
    name = f"log-{uuid.uuid4().hex}"
    secrets = [secret for _, secret in keys.values()]
    for secret in secrets:
        headers = {**JPEG, "Authorization": f"Bearer {secret}", "X-Request-ID": name}
        locked.post(URL, content=image_file(), headers=headers)
        locked.post(URL, params={"api_key": secret}, content=b"x", headers=JPEG)
        locked.get(f"/v1/models/{secret}")
    deadline = time.monotonic() + 5  # a line is written just after its answer has left
    while locked_server.log.read_text().count(name) < len(secrets) and time.monotonic() < deadline:
        time.sleep(0.02)
    first, *rest = locked_server.log.read_text().splitlines()
    lines = [json.loads(line) for line in (rest if first.startswith("howsure ") else [first, *rest])]
    assert len(lines) > 3 * len(secrets)
    for line in lines:
        assert {"time", "level", "logger", "message"} <= line.keys()
    ours = [line for line in lines if line.get("request_id") == name]
    expected = [200 if scope in ("score", "admin") else 403 for scope in keys]
    assert sorted(line["status"] for line in ours) == sorted(expected)
    assert all((line["event"], line["route"], line["method"]) == ("request", URL, "POST") for line in ours)
    text = locked_server.log.read_text()
    assert not any(secret in text for secret in secrets)
    assert not any(key.sha256 in text for key, _ in keys.values())
