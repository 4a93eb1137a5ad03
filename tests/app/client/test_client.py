"""The clients against a real server, and their retries against one that is told what to answer."""

import json
import socket
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from itertools import pairwise

import pytest

from app.client import HowsureApiError, HowsureConnectionError, ScoredImage
from tests.fixtures.scripted import HANG_UP
from tests.fixtures.server import ASSETS, CATS, free_port

MODEL = "efficientnet-lite0"
BUSY = {"status": 429, "code": "queue_full", "detail": "the queue is full"}
MODELS = {"object": "list", "data": [], "has_more": False}


def test_scores_paths_bytes_and_named_bytes_in_order(ask, server, photo):
    coffee = ASSETS / "coffee.jpg"
    reply = ask(server.url, "score", [coffee, str(coffee), photo, ("cat.jpg", photo), ("", photo)], top_k=2)
    assert [item.input for item in reply.items] == [str(coffee), str(coffee), "image-2", "cat.jpg", "image-4"]
    cat = reply.items[2]
    assert [item.label for item in reply.items] == ["espresso", "espresso", *3 * [cat.label]]
    assert isinstance(cat, ScoredImage)
    assert 0 < cat.raw_confidence < 1
    assert cat.label == cat.top[0].label
    assert {entry.label for entry in cat.top} == CATS
    assert cat.top[0].probability == cat.confidence
    assert cat.uncertainty["entropy"].kind == "total"
    assert (reply.model, reply.version, reply.failed) == (MODEL, 1, ())
    assert reply.raw["usage"] == {"items": 5, "scored": 5, "failed": 0}


def test_only_the_scores_asked_for(ask, server, photo):
    reply = ask(server.url, "score", [photo], model=MODEL, scores=["entropy", "energy"])
    assert set(reply.scored[0].uncertainty) == {"entropy", "energy"}
    assert ask(server.url, "score", [photo], scores=[]).scored[0].uncertainty == {}


def test_a_bad_image_has_its_error_in_its_place(ask, server, photo):
    reply = ask(server.url, "score", [("bad.jpg", b"no image"), ("cat.jpg", photo)])
    failed, scored = reply.items
    assert (failed.input, failed.error.status, failed.error.code) == ("bad.jpg", 415, "image_format_unsupported")
    assert (reply.failed, reply.scored) == ((failed,), (scored,))


def test_an_error_of_the_server_is_raised_with_its_problem(ask, server, photo):
    with pytest.raises(HowsureApiError, match="no score nonsense") as raised:
        ask(server.url, "score", [photo], scores=["nonsense"])
    error = raised.value
    assert (error.status, error.code) == (422, "invalid")
    assert error.errors == ({"pointer": "/scores", "detail": "unknown score nonsense"},)
    assert len(error.request_id) == 32


def test_models_versions_and_reports(ask, server):
    card = ask(server.url, "model", MODEL)
    assert card in ask(server.url, "models")
    assert (card.id, card.status, card.classes, card.calibrator) == (MODEL, "ready", 1000, "temperature")
    assert card.scores["epistemic"] == "epistemic"
    evaluation = card.calibration.evaluations[0]
    assert 0 < evaluation.after.ece < evaluation.before.ece
    reported = card.raw["calibration"]["evaluations"][0]["after"]
    assert (evaluation.after.ece, evaluation.after.ece_floor) == (reported["ece"], reported["ece_floor"])
    versions = ask(server.url, "versions", MODEL)
    assert [(version.version, version.active) for version in versions.versions] == [(1, True)]
    assert [(move.version, move.actor) for move in versions.history] == [(1, "howsure")]
    assert ask(server.url, "report", MODEL, 1)["evaluations"]
    with pytest.raises(HowsureApiError, match="no model 'a b'") as raised:
        ask(server.url, "model", "a b")
    assert raised.value.status == 404


def test_readiness(ask, server, scripted):
    assert ask(server.url, "ready").ready
    loading = scripted((503, {}, {"status": "not_ready", "reasons": ["models are loading"], "models": []}))
    readiness = ask(loading.url, "ready")
    assert (readiness.ready, readiness.reasons) == (False, ("models are loading",))
    assert len(loading.asked) == 1


def test_lists_are_read_to_their_last_page(ask, scripted):
    move = {"version": 2, "at": "2026-01-01T00:00:00+00:00", "actor": "ada", "reason": "better"}
    pages = [
        {"data": [{"version": 2, "active": True, "scores": [], "precisions": []}], "history": [move], "has_more": True},
        {"data": [{"version": 1, "active": False, "scores": [], "precisions": [], "new": 1}], "history": [move]},
    ]
    listed = scripted((200, {}, pages[0]), (200, {}, {"has_more": False} | pages[1]))
    versions = ask(listed.url, "versions", "m")
    assert [version.version for version in versions.versions] == [2, 1]
    assert versions.raw["has_more"] is False
    assert [asked.path for asked in listed.asked] == [
        "/v1/models/m/versions?limit=100",
        "/v1/models/m/versions?limit=100&after=2",
    ]


def test_address_and_key_come_from_arguments_before_the_environment(ask, scripted, monkeypatch):
    there = scripted((200, {}, MODELS))
    monkeypatch.setenv("HOWSURE_URL", there.url + "/")
    monkeypatch.setenv("HOWSURE_API_KEY", "from-environment")
    ask(None, "models")
    ask(None, "models", client={"api_key": "given"})
    keys = [asked.headers["authorization"] for asked in there.asked]
    assert keys == ["Bearer from-environment", "Bearer given"]
    monkeypatch.setenv("HOWSURE_URL", "http://127.0.0.1:1")
    assert ask(there.url, "models") == ()


def test_a_proxy_is_not_asked_for_an_address_of_this_machine(ask, scripted, monkeypatch):
    there = scripted((200, {}, MODELS))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert ask(there.url, "models") == ()


@pytest.mark.parametrize("status", [429, 503])
def test_waits_as_long_as_the_server_asks(ask, scripted, status):
    busy = scripted((status, {"Retry-After": "1"}, BUSY), (200, {}, MODELS))
    assert ask(busy.url, "models") == ()
    first, second = busy.asked
    assert 1 <= second.at - first.at < 2


def test_waits_until_the_date_that_the_server_names(ask, scripted):
    busy = scripted((503, {"Retry-After": formatdate(time.time() + 2, usegmt=True)}, BUSY), (200, {}, MODELS))
    ask(busy.url, "models")
    assert 0.5 <= busy.asked[1].at - busy.asked[0].at < 3


def test_backs_off_where_the_server_does_not_say_how_long(ask, scripted, photo):
    reply = {"model": "m", "version": 1, "data": []}
    busy = scripted((503, {}, b"<html>"), (429, {"Retry-After": "soon"}, b""), HANG_UP, (200, {}, reply))
    ask(busy.url, "score", [photo])
    times = [asked.at for asked in busy.asked]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause > least for pause, least in zip(pauses, (0.125, 0.25, 0.5), strict=True))
    assert all(photo in asked.body for asked in busy.asked)


@pytest.mark.parametrize(("asked_for", "limit"), [("3600", 5.0), ("1", 0.5), ("0", 0)])
def test_gives_up_at_once_when_the_wait_would_end_after_the_limit(ask, scripted, asked_for, limit):
    busy = scripted((429, {"Retry-After": asked_for}, BUSY))
    started = time.monotonic()
    with pytest.raises(HowsureApiError, match="the queue is full") as raised:
        ask(busy.url, "models", client={"retry_seconds": limit})
    assert time.monotonic() - started < 1
    assert (raised.value.status, raised.value.code, len(busy.asked)) == (429, "queue_full", 1)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 504])
def test_other_errors_are_not_tried_again(ask, scripted, status):
    broken = scripted((status, {}, BUSY | {"status": status}))
    with pytest.raises(HowsureApiError):
        ask(broken.url, "models")
    assert len(broken.asked) == 1


def test_a_server_that_starts_late_is_waited_for(ask, scripted):
    port = free_port()
    late = threading.Timer(0.6, scripted, [(200, {}, MODELS)], {"port": port})
    late.start()
    try:
        assert ask(f"http://127.0.0.1:{port}", "models") == ()
    finally:
        late.join()


def test_no_server_at_all(ask):
    started = time.monotonic()
    with pytest.raises(HowsureConnectionError, match=r"nothing answers at http://127\.0\.0\.1:\d+") as raised:
        ask(f"http://127.0.0.1:{free_port()}", "models", client={"retry_seconds": 0.6})
    assert raised.value.code == "unreachable"
    assert 0.1 < time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("status", "content"),
    [(200, b"<html>hello</html>"), (200, {"data": 1}), (200, []), (502, b"Bad gateway"), (302, b""), (404, {})],
)
def test_an_answer_of_something_else_is_named_as_such(ask, scripted, status, content):
    other = scripted((status, {}, content))
    with pytest.raises(HowsureConnectionError, match="not as a howsure server does") as raised:
        ask(other.url, "models")
    assert (raised.value.code, raised.value.status) == ("not_howsure", status)


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1:8000", "http://", "http://\t", "ftp://host"])
def test_an_address_that_is_none(ask, url):
    with pytest.raises(HowsureConnectionError) as raised:
        ask(url, "models")
    assert raised.value.code == "invalid_url"


def test_a_reply_that_is_cut_off_is_asked_for_again(ask, scripted):
    cut = scripted((200, {"Content-Length": "1000"}, b"{}"), (200, {}, MODELS))
    assert ask(cut.url, "models") == ()
    assert len(cut.asked) == 2


def test_an_activation_that_was_cut_off_is_sent_again(ask, scripted):
    done = {"model": "m", "version": 2, "previous": 1, "serving": 2, "reason": None, "history": [], "new": 1}
    cut = scripted(HANG_UP, (200, {}, done))
    activation = ask(cut.url, "activate", "m", 2, "better")
    assert (activation.version, activation.previous, activation.serving, activation.raw) == (2, 1, 2, done)
    assert [asked.body for asked in cut.asked] == 2 * [b'{"version":2,"reason":"better"}']


def test_a_reply_that_takes_too_long_is_not_asked_for_again(ask):
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(HowsureConnectionError) as raised:
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}", "models", client={"timeout": 0.3})
    assert raised.value.code == "no_reply"
    assert time.monotonic() - started < 2


def test_the_client_needs_neither_torch_nor_the_server_side():
    script = "import sys, app.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "httpx" in loaded
    for heavy in ("torch", "numpy", "fastapi", "pydantic", "models", "app.scoring", "app.settings", "app.errors"):
        assert heavy not in loaded


def test_register_says_which_version_it_became(ask, scripted):
    there = scripted((201, {}, {"model": "m", "version": 2, "active": 1}))
    network = {"name": "resnet18", "arguments": {"num_classes": 2}}
    done = ask(there.url, "register", "m", "timm", "w.safetensors", ["cat", "dog"], network)
    assert (done.model, done.version, done.active) == ("m", 2, 1)
    sent = {"model": "m", "kind": "timm", "path": "w.safetensors", "classes": ["cat", "dog"], "network": network}
    assert json.loads(there.asked[0].body) == sent


def test_register_takes_a_name_of_the_hub(ask, scripted):
    there = scripted((201, {}, {"model": "m", "version": 1, "active": 1}))
    assert ask(there.url, "register", "m", "causal_lm", hub="org/name").version == 1
    assert json.loads(there.asked[0].body) == {"model": "m", "kind": "causal_lm", "hub": "org/name"}
