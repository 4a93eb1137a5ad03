"""`POST /v1/models/{m}/activate` on two real servers over one store: both take the version up, whoever was asked."""

import shutil
import time
from dataclasses import replace

import httpx
import pytest
from typer.testing import CliRunner

from app.cli import app
from app.client import Client
from models.core.golden import Golden
from models.core.store import CheckpointStore
from tests.fixtures.metrics import read_metrics
from tests.fixtures.problems import check_problem
from tests.fixtures.recalibrated import in_float32, networks_of, recalibrated
from tests.fixtures.server import launch

MODEL = "efficientnet-lite0"
URL = f"/v1/models/{MODEL}/activate"
SHARPER, WRONG, DAMAGED = 2, 3, 4  # versions beside the shipped one


@pytest.fixture(scope="module")
def store(tmp_path_factory, shipped_store):
    """Version 1 as shipped, one with another temperature, one that does not give its golden rows, and a damaged one."""
    root = tmp_path_factory.mktemp("activation") / "store"
    shutil.copytree(shipped_store.root, root)
    store = CheckpointStore(root)
    first = in_float32(store.read(MODEL, 1))
    sharper = recalibrated(first, networks_of(store, first.manifest), 0.5)
    wrong = replace(sharper, golden=Golden(first.golden.seeds, first.golden.rows))
    damaged = replace(sharper, manifest=replace(sharper.manifest, code_version="damaged"))
    assert [store.publish(MODEL, version) for version in (sharper, wrong, damaged)] == [SHARPER, WRONG, DAMAGED]
    (root / MODEL / f"versions/{DAMAGED}/methods.safetensors").write_bytes(b"")
    return store


@pytest.fixture(scope="module")
def servers(tmp_path_factory, store, keys):
    """One with keys and one without, each looking at the store by itself."""
    folder = tmp_path_factory.mktemp("servers")
    settings = {"HOWSURE_STORE": store.root, "HOWSURE_MAX_BATCH": 1, "HOWSURE_RELOAD_SECONDS": 0.1}
    settings["HOWSURE_PRECISION"] = "float32"
    locked = launch(folder / "locked.log", HOWSURE_API_KEYS=",".join(str(key) for key, _ in keys.values()), **settings)
    opened = launch(folder / "opened.log", HOWSURE_DEFAULT_MODEL=MODEL, **settings)
    for server in (locked, opened):
        server.wait_until_ready()
    yield locked, opened
    for server in (locked, opened):
        assert server.stop() == 0, server.log.read_text()


@pytest.fixture
def locked(servers, keys):
    """Has the key of an administrator."""
    headers = {"X-API-Key": keys["admin"][1]}
    with httpx.Client(base_url=servers[0].url, timeout=60, headers=headers) as client:
        yield client


@pytest.fixture
def opened(servers):
    with httpx.Client(base_url=servers[1].url, timeout=60) as client:
        yield client


@pytest.fixture(autouse=True)
def version_1_serves(store, servers, opened, locked):
    """Before every test."""
    if store.active(MODEL).version != 1:
        opened.post(URL, json={"version": 1, "reason": "reset"})
    for client in (opened, locked):
        wait_until(client, version=1, failed_version=None)


def wait_until(client, **fields):
    """Until the server says of the model what is expected."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        ready = client.get("/readyz")
        assert ready.status_code == 200, "a version that fails makes no server unready"
        found = next(model for model in ready.json()["models"] if model["id"] == MODEL)
        if fields.items() <= found.items():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{found} within 10 s, not {fields}")


def score(client, photo, model=MODEL):
    headers = {"Content-Type": "image/jpeg"}
    answer = client.post("/v1/images/score", content=photo, headers=headers, params={"model": model})
    assert answer.status_code == 200
    return answer.json()["version"], answer.json()["data"][0]["confidence"]


def test_both_servers_serve_what_one_was_told(locked, opened, photo, store, servers):
    (_, before), moves = score(opened, photo), len(store.active(MODEL).history)
    answer = locked.post(URL, json={"version": SHARPER, "reason": "sharper"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model"], body["version"], body["previous"], body["serving"]) == (MODEL, SHARPER, 1, SHARPER)
    assert body["reason"] is None
    assert len(body["history"]) == moves + 1
    move = body["history"][-1]
    assert (move["version"], move["actor"], move["reason"]) == (SHARPER, "admin-key", "sharper")
    assert score(locked, photo)[0] == SHARPER
    wait_until(opened, version=SHARPER)
    version, confidence = score(opened, photo)
    assert version == SHARPER
    assert confidence > before + 0.03
    assert opened.get(f"/v1/models/{MODEL}").json()["version"] == SHARPER
    for server in servers:
        metrics = read_metrics(server.url)
        assert metrics["howsure_model_info", (("model", MODEL), ("version", str(SHARPER)))] == 1
        assert ("howsure_model_info", (("model", MODEL), ("version", "1"))) not in metrics
        assert '"event": "model_swapped"' in server.log.read_text()


def test_rolling_back_is_the_same_call(opened, locked, photo):
    first = score(opened, photo)
    opened.post(URL, json={"version": SHARPER})
    body = opened.post(URL, json={"version": 1, "reason": "worse"}).json()
    assert (body["version"], body["previous"], body["serving"]) == (1, SHARPER, 1)
    assert (body["history"][-1]["actor"], body["history"][-1]["reason"]) == ("anonymous", "worse")
    assert score(opened, photo) == first
    wait_until(locked, version=1)


def test_the_active_version_again_adds_nothing_to_the_history(opened, store):
    before = store.active(MODEL)
    body = opened.post(URL, json={"version": 1, "reason": "again"}).json()
    assert (body["version"], body["previous"], body["serving"]) == (1, 1, 1)
    assert store.active(MODEL) == before


def test_a_damaged_version_is_refused_before_anything_moves(opened, store):
    before = store.active(MODEL)
    problem = check_problem(opened.post(URL, json={"version": DAMAGED}), 422, "invalid")
    assert "damaged" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/version"
    assert store.active(MODEL) == before


def test_a_version_that_cannot_serve_leaves_the_old_one_and_every_page_says_so(opened, locked, photo):
    first = score(opened, photo)
    body = opened.post(URL, json={"version": WRONG}).json()
    assert (body["version"], body["serving"]) == (WRONG, 1)
    assert "golden input" in body["reason"]
    for client in (opened, locked):
        model = wait_until(client, failed_version=WRONG)
        assert (model["status"], model["version"]) == ("ready", 1)
        assert "golden input" in model["reason"]
        assert client.get("/health").json() | {"jobs": None} == client.get("/readyz").json()
        card = client.get(f"/v1/models/{MODEL}").json()
        assert (card["status"], card["version"], card["failed_version"]) == ("ready", 1, WRONG)
        assert "golden input" in card["reason"]
        assert score(client, photo) == first


@pytest.mark.parametrize(
    ("model", "version", "status"), [("nothing", 1, 404), (MODEL, 99, 404), ("a%2Fb", 1, 404), ("a" * 101, 1, 422)]
)
def test_what_is_not_there(opened, model, version, status):
    check_problem(opened.post(f"/v1/models/{model}/activate", json={"version": version}), status)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": "1"},
        {"version": True},
        {"version": 0},
        {"version": 2**31 + 1},
        {"version": 1, "reason": "x" * 1001},
        {"version": 1, "actor": "root"},
        [1],
    ],
)
def test_what_is_not_understood(opened, store, body):
    before = store.active(MODEL)
    check_problem(opened.post(URL, json=body), 422, "invalid")
    assert store.active(MODEL) == before


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("score", 403), (None, 401)])
def test_only_an_administrator_may(servers, keys, store, scope, status):
    before = store.active(MODEL)
    headers = {"X-API-Key": keys[scope][1]} if scope else {}
    answer = httpx.post(servers[0].url + URL, json={"version": SHARPER}, headers=headers)
    check_problem(answer, status)
    assert store.active(MODEL) == before


@pytest.fixture
def later(store, opened, locked):
    """A model that was made while both servers ran, and that both serve in version 2."""
    beside = store.root / ".later"
    shutil.copytree(store.root / MODEL, beside)
    (beside / "active.json").unlink()
    folder = beside.rename(store.root / "later")
    body = opened.post("/v1/models/later/activate", json={"version": SHARPER}).json()
    assert (body["previous"], body["serving"], len(body["history"])) == (None, SHARPER, 1)
    for client in (opened, locked):
        wait_for_card(client, status="ready", version=SHARPER, reason=None)
    yield "later"
    shutil.rmtree(folder)


def wait_for_card(client, **fields):
    """Until the card of the model `later` says what is expected."""
    deadline = time.monotonic() + 10
    while not fields.items() <= (card := client.get("/v1/models/later").json()).items():
        assert time.monotonic() < deadline, card
        time.sleep(0.05)
    return card


def test_a_model_made_while_they_run_is_served_until_its_files_vanish_and_after(opened, locked, store, later, photo):
    for client in (opened, locked):
        assert score(client, photo, later)[0] == SHARPER
    aside = (store.root / later).rename(store.root / ".aside")
    for client in (opened, locked):
        card = wait_for_card(client, reason=f"later is no longer in the store {store.root}")
        assert (card["status"], card["version"], card["failed_version"]) == ("ready", SHARPER, None)
        assert later in [card["id"] for card in client.get("/v1/models").json()["data"]]
        assert score(client, photo, later)[0] == SHARPER
    aside.rename(store.root / later)
    for client in (opened, locked):
        wait_for_card(client, reason=None)


class TestFromPythonAndTheCommandLine:
    def test_the_client_activates(self, servers, keys):
        with Client(servers[0].url, keys["admin"][1]) as client:
            done = client.activate(MODEL, SHARPER, "by client")
            assert (done.version, done.previous, done.serving, done.reason) == (SHARPER, 1, SHARPER, None)
            assert (done.history[-1].actor, done.history[-1].reason) == ("admin-key", "by client")
            assert client.versions(MODEL).history == done.history

    def test_the_command_line_activates_and_rolls_back(self, servers, opened):
        url = servers[1].url
        done = CliRunner().invoke(app, ["models", "activate", MODEL, str(SHARPER), "--reason", "why not", "--url", url])
        assert (done.exit_code, done.stdout) == (0, f"{MODEL}: version 2 is active, before it was version 1\n")
        assert opened.get(f"/v1/models/{MODEL}/versions").json()["history"][-1]["reason"] == "why not"
        back = CliRunner().invoke(app, ["models", "rollback", MODEL, "--url", url])
        assert (back.exit_code, back.stdout) == (0, f"{MODEL}: version 1 is active, before it was version 2\n")
        assert opened.get(f"/v1/models/{MODEL}").json()["version"] == 1

    def test_the_command_line_says_what_cannot_serve(self, servers):
        done = CliRunner().invoke(app, ["models", "activate", MODEL, str(WRONG), "--url", servers[1].url])
        assert done.exit_code == 1
        assert "serves version 1 on" in done.stderr
        assert "golden input" in done.stderr
