"""`/v1/jobs` in this process, without a worker: what is taken and refused, pages, events, reports, keys, outages."""

import asyncio
import json
import shutil
import time

import httpx
import pytest

from app.jobs.job import JobState
from app.jobs.ledger import Ledger
from app.jobs.tables import open_database
from app.jobs.workers import Workers
from app.keys import ApiKey, Scope
from app.main import create_app
from app.settings import Settings
from tests.fixtures.evaluations import CLASSES, made_evaluation
from tests.fixtures.jobs import add_dataset
from tests.fixtures.problems import check_problem
from tests.fixtures.tables import outputs_table

pytestmark = pytest.mark.anyio
URL = "/v1/jobs"
UNKNOWN = f"{URL}/job_{'0' * 24}"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def service(store):
    """`service(**settings)`: a client of an app of its own over one store, data and jobs database."""
    opened = []

    def service(**settings):
        app = create_app(Settings(store=store.root, **settings))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
        client.app = app
        opened.append(app)
        return client

    yield service
    for app in opened:
        app.state.glance.close()
        app.state.desk.close()


@pytest.fixture
def ledger(store):
    """What a worker writes to."""
    engine = open_database(Settings(store=store.root).jobs_database)
    ledger = Ledger(engine)
    ledger.create_tables()
    yield ledger
    engine.dispose()


@pytest.fixture
def dataset(store):
    return add_dataset(Settings(store=store.root), "outputs.csv", outputs_table(80))


@pytest.fixture
def request_for(dataset):
    def request_for(type="calibrate", **fields):
        return {"type": type, "model": "tiny", "dataset": dataset} | fields

    return request_for


def events_of(response):
    """(id, event, data) of each server-sent event; comments are left out."""
    found = []
    for block in response.text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def test_a_job_is_taken(service, request_for):
    client = service()
    response = await client.post(URL, json=request_for())
    assert response.status_code == 202
    card = response.json()
    assert response.headers["location"] == f"{URL}/{card['id']}"
    assert "idempotent-replayed" not in response.headers
    assert (card["object"], card["type"], card["state"], card["progress"]) == ("job", "calibrate", "queued", 0)
    assert card["params"] == {
        "method": "auto",
        "fit_share": 0.5,
        "seed": 0,
        "version": None,
        "promote": True,
        "gate": {"max_nll_increase": 0.0, "max_ece_increase": 0.0, "max_accuracy_drop": 0.01},
        "mac_cal": None,
        "readout": None,
    }
    assert (card["priority"], card["created_by"], card["attempts"]) == (10, "anonymous", 0)
    assert abs(card["created_at"] - time.time()) < 30
    assert (await client.get(response.headers["location"])).json() == card
    evaluation = await client.post(URL, json=request_for("evaluate", params={"version": 1}, priority=1))
    assert (evaluation.json()["params"], evaluation.json()["priority"]) == ({"version": 1, "readout": None}, 1)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"type": "distil"}, "/"),
        ({"type": None}, "/"),
        ({"model": None}, "/model"),
        ({"model": "x" * 101}, "/model"),
        ({"dataset": 5}, "/dataset"),
        ({"priority": 0}, "/priority"),
        ({"priority": 1001}, "/priority"),
        ({"priority": "high"}, "/priority"),
        ({"colour": "red"}, "/colour"),
        ({"params": []}, "/params"),
        ({"params": {"method": "hope"}}, "/params/method"),
        ({"params": {"method": ["temperature"]}}, "/params/method"),
        ({"params": {"fit_share": 0.05}}, "/params/fit_share"),
        ({"params": {"fit_share": 0.95}}, "/params/fit_share"),
        ({"params": {"seed": -1}}, "/params/seed"),
        ({"params": {"seed": 1.5}}, "/params/seed"),
        ({"params": {"version": 0}}, "/params/version"),
        ({"params": {"promote": "perhaps"}}, "/params/promote"),
        ({"params": {"bins": 5}}, "/params/bins"),
        ({"params": {"gate": {"max_nll_increase": -1}}}, "/params/gate/max_nll_increase"),
        ({"params": {"gate": {"max_accuracy_drop": 2}}}, "/params/gate/max_accuracy_drop"),
        ({"params": {"gate": {"off": True}}}, "/params/gate/off"),
        ({"type": "evaluate", "params": {"method": "temperature"}}, "/params/method"),
    ],
)
async def test_what_does_not_fit_the_type_is_refused_with_a_pointer(service, request_for, ledger, fields, pointer):
    problem = check_problem(await service().post(URL, json=request_for(**fields)), 422, "invalid")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert ledger.counts() == {}


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"model": "other"}, 404, "other"),
        ({"model": "../x"}, 404, "unknown model"),
        ({"dataset": "ds_" + "0" * 20}, 404, "no dataset"),
        ({"params": {"version": 9}}, 404, "version of tiny '9'"),
        ({"params": {"method": "feature_clipping"}}, 422, "needs features"),
        ({"params": {"fit_share": 0.9}}, 422, "8 rows to report on"),
    ],
)
async def test_what_could_only_fail_is_refused(service, request_for, ledger, fields, status, told):
    problem = check_problem(await service().post(URL, json=request_for(**fields)), status)
    assert told in problem["detail"]
    assert ledger.counts() == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (outputs_table(80, classes=7), "7 logits a row"),
        (
            outputs_table(80, names=True, labels={4: "digit x"}),
            "label 'digit x' is no class of the model, which has 10; 1 of",
        ),
        (outputs_table(30), "15 rows to fit on"),
    ],
)
async def test_data_that_do_not_fit_are_refused(service, request_for, store, ledger, content, told):
    other = add_dataset(Settings(store=store.root), "outputs.csv", content)
    assert told in check_problem(await service().post(URL, json=request_for(dataset=other)), 422)["detail"]
    assert ledger.counts() == {}


async def test_values_that_are_no_numbers_never_become_data(service):
    table = outputs_table(10, cells={(3, 2): "nan"})
    response = await service().post("/v1/datasets", files={"file": ("outputs.csv", table)})
    (error,) = check_problem(response, 422)["errors"]
    assert "4" in error["row"]


async def test_the_parameters_are_in_the_openapi_document(service):
    document = (await service().get("/openapi.json")).json()
    body = document["paths"][URL]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["discriminator"]["mapping"]) == {
        "calibrate",
        "epistemic_reference",
        "loss_rank",
        "evaluate",
        "train",
    }
    params = document["components"]["schemas"]["CalibrateParams"]["properties"]
    assert {"auto", "temperature", "histogram", "g_layers"} <= set(params["method"]["enum"])
    assert params["fit_share"]["description"]
    events = document["paths"][URL + "/{job}/events"]["get"]["responses"]
    assert "text/event-stream" in events["200"]["content"]
    assert {"401", "403", "404"} <= set(document["paths"][URL + "/{job}/log"]["get"]["responses"])


async def test_the_same_key_is_the_same_job(service, request_for, ledger):
    client = service()
    key = {"Idempotency-Key": "monday"}
    answers = await asyncio.gather(*(client.post(URL, json=request_for(), headers=key) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", "true", "true", "true"]
    other = await client.post(URL, json=request_for(params={"seed": 1}), headers=key)
    assert "use a new key" in check_problem(other, 422)["detail"]
    tuesday = await client.post(URL, json=request_for(), headers={"Idempotency-Key": "tuesday"})
    assert tuesday.json()["id"] != answers[0].json()["id"]
    assert ledger.counts() == {"queued": 2}
    for wrong in ("", "x" * 201):
        check_problem(await client.post(URL, json=request_for(), headers={"Idempotency-Key": wrong}), 422)


async def test_a_key_is_answered_also_when_the_data_are_gone(service, request_for, store, ledger, dataset):
    client, key = service(), {"Idempotency-Key": "monday"}
    first = (await client.post(URL, json=request_for(), headers=key)).json()
    ledger.start(first["id"], "A")
    ledger.finish(first["id"], JobState.SUCCEEDED, "done", result={"version": 2})
    assert (await client.delete(f"/v1/datasets/{dataset}")).status_code == 204
    again = await client.post(URL, json=request_for(), headers=key)
    assert (again.status_code, again.json()["result"]) == (202, {"version": 2})
    check_problem(await client.post(URL, json=request_for()), 404)


async def test_data_in_use_are_not_deleted(service, request_for, dataset):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    assert job in check_problem(await client.delete(f"/v1/datasets/{dataset}"), 409)["detail"]
    await client.post(f"{URL}/{job}/cancel")
    assert (await client.delete(f"/v1/datasets/{dataset}")).status_code == 204


async def test_pages_and_filters(service, request_for, ledger):
    client = service()
    ids = [(await client.post(URL, json=request_for())).json()["id"] for _ in range(5)][::-1]
    first = (await client.get(URL, params={"limit": 2})).json()
    assert [card["id"] for card in first["data"]] == ids[:2]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, ids[0], ids[1])
    rest = (await client.get(URL, params={"limit": 3, "after": ids[1]})).json()
    assert ([card["id"] for card in rest["data"]], rest["has_more"]) == (ids[2:], False)
    ledger.start(ids[3], "A")
    running = (await client.get(URL, params={"state": "running", "model": "tiny"})).json()
    assert [card["id"] for card in running["data"]] == [ids[3]]
    none = (await client.get(URL, params={"model": "other"})).json()
    assert none == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    check_problem(await client.get(URL, params={"after": "job_0"}), 404)
    for wrong in ({"limit": 0}, {"limit": 101}, {"state": "lost"}, {"after": "a\0b"}, {"model": "\0"}):
        check_problem(await client.get(URL, params=wrong), 422)


async def test_unknown_jobs(service):
    client = service()
    for path in ("", "/log", "/events", "/report", "/report.html"):
        check_problem(await client.get(UNKNOWN + path), 404, "not_found")
        check_problem(await client.get(f"{URL}/a%00b{path}"), 422)
        check_problem(await client.get(f"{URL}/{'x' * 101}{path}"), 422)
    check_problem(await client.post(UNKNOWN + "/cancel"), 404)


async def test_cancel(service, request_for, ledger):
    client = service()
    waiting, running, done = [(await client.post(URL, json=request_for())).json()["id"] for _ in range(3)]
    for job in (running, done):
        ledger.start(job, "A")
    ledger.finish(done, JobState.FAILED, "failed", error="row 3")
    for _ in range(2):
        assert (await client.post(f"{URL}/{waiting}/cancel")).json()["state"] == "cancelled"
        assert (await client.post(f"{URL}/{running}/cancel")).json()["state"] == "cancelling"
    assert "has failed already" in check_problem(await client.post(f"{URL}/{done}/cancel"), 409, "conflict")["detail"]


@pytest.fixture
async def finished(service, request_for, ledger):
    """(client, job) after a whole life."""
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    ledger.start(job, "A")
    ledger.report(job, 0.5, "fitting", {"nll": 0.25})
    ledger.log(job, "two\nlines")
    ledger.log(job, "bad", "error")
    ledger.finish(job, JobState.SUCCEEDED, "done", result={})
    return client, job


async def test_events_in_order_and_ended(finished):
    client, job = finished
    response = await client.get(f"{URL}/{job}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response)
    kinds = ["state", "state", "progress", "metrics", "log", "log", "state"]
    assert [kind for _, kind, _ in events] == kinds
    numbers = [number for number, _, _ in events]
    assert numbers == sorted(set(numbers))
    assert events[0][2]["state"] == "queued"
    assert events[2][2] | {"at": 0} == {"at": 0, "progress": 0.5, "message": "fitting"}
    assert events[-1][2]["state"] == "succeeded"
    for place, number in enumerate(numbers):
        rest = await client.get(f"{URL}/{job}/events", headers={"Last-Event-ID": str(number)})
        assert events_of(rest) == events[place + 1 :]


async def test_more_events_than_a_page(service, request_for, ledger, monkeypatch):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    for number in range(520):
        ledger.log(job, str(number))
    ledger.request_cancel(job)
    events = events_of(await client.get(f"{URL}/{job}/events"))
    assert [data["text"] for _, kind, data in events if kind == "log"] == [str(number) for number in range(520)]
    assert events[-1][2]["state"] == "cancelled"
    assert (await client.get(f"{URL}/{job}/log")).text.count("\n") == 520


@pytest.mark.parametrize("wrong", ["-1", "x", str(2**63), "1.5"])
async def test_last_event_ids_that_are_none(finished, wrong):
    client, job = finished
    check_problem(await client.get(f"{URL}/{job}/events", headers={"Last-Event-ID": wrong}), 422)


async def test_events_follow_a_job_to_its_end(service, request_for, ledger):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    following = asyncio.create_task(client.get(f"{URL}/{job}/events"))
    for state in range(4):
        await asyncio.sleep(0.1)
        await asyncio.to_thread(ledger.log, job, str(state))
    await asyncio.to_thread(ledger.request_cancel, job)
    events = events_of(await asyncio.wait_for(following, 10))
    assert [data.get("text", data.get("state")) for _, _, data in events] == ["queued", *"0123", "cancelled"]


async def test_a_draining_server_ends_the_stream(service, request_for):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    following = asyncio.create_task(client.get(f"{URL}/{job}/events"))
    await asyncio.sleep(0.3)
    assert not following.done()
    client.app.state.draining = True
    assert len(events_of(await asyncio.wait_for(following, 5))) == 1


async def test_a_stream_outlives_an_outage_of_the_database(service, request_for, ledger, store):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    following = asyncio.create_task(client.get(f"{URL}/{job}/events"))
    await asyncio.sleep(0.2)
    jobs = store.root.parent / "jobs"
    client.app.state.desk._opened.ledger.engine.dispose()
    ledger.engine.dispose()
    away = jobs.rename(jobs.with_name("away"))
    await asyncio.sleep(1.2)
    assert not following.done()
    if jobs.exists():
        shutil.rmtree(jobs)
    away.rename(jobs)
    await asyncio.to_thread(ledger.request_cancel, job)
    events = events_of(await asyncio.wait_for(following, 10))
    assert [data["state"] for _, _, data in events] == ["queued", "cancelled"]


async def test_log(finished):
    client, job = finished
    response = await client.get(f"{URL}/{job}/log")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "info: two\nlines\nerror: bad\n"


async def test_report_of_an_evaluation(service, request_for, ledger, store):
    client = service()
    job = (await client.post(URL, json=request_for("evaluate"))).json()["id"]
    for path in ("report", "report.html"):
        assert "it is queued" in check_problem(await client.get(f"{URL}/{job}/{path}"), 404)["detail"]
    ledger.start(job, "A")
    ledger.finish(job, JobState.SUCCEEDED, "done", result={})
    assert "must share" in check_problem(await client.get(f"{URL}/{job}/report"), 404)["detail"]
    folder = store.root.parent / "jobs" / job
    folder.mkdir()
    content = {"classes": CLASSES, "version": 1, "evaluations": [made_evaluation()]}
    (folder / "report.json").write_text(json.dumps(content))
    report = (await client.get(f"{URL}/{job}/report")).json()
    assert (report["job"], report["model"], report["version"]) == (job, "tiny", 1)
    assert report["evaluations"] == json.loads(json.dumps(content["evaluations"]))
    page = await client.get(f"{URL}/{job}/report.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f"tiny version 1: evaluation by {job}" in page.text
    assert "&lt;b&gt;shark" in page.text


async def test_no_report_of_a_calibration(finished):
    client, job = finished
    problem = check_problem(await client.get(f"{URL}/{job}/report"), 404)
    assert "/v1/models/tiny/versions/" in problem["detail"]


@pytest.mark.parametrize(
    ("scope", "reads", "runs"),
    [(Scope.READ, True, False), (Scope.JOBS, False, True), (Scope.SCORE, False, False), (Scope.ADMIN, True, True)],
)
async def test_scopes(service, request_for, scope, reads, runs):
    key, secret = ApiKey.create("team", [scope])
    client = service(api_keys=(key,))
    check_problem(await client.post(URL, json=request_for()), 401, "unauthorized")
    check_problem(await client.get(URL), 401, "unauthorized")
    client.headers["X-API-Key"] = secret
    submitted = await client.post(URL, json=request_for())
    assert submitted.status_code == (202 if runs else 403)
    if runs:
        assert submitted.json()["created_by"] == "team"
    assert (await client.post(f"{UNKNOWN}/cancel")).status_code == (404 if runs else 403)
    assert (await client.get(URL)).status_code == (200 if reads else 403)
    for path in ("", "/log", "/events", "/report", "/report.html"):
        assert (await client.get(UNKNOWN + path)).status_code == (404 if reads else 403)


async def test_keys_of_idempotency_belong_to_their_actor(service, request_for):
    keys = [ApiKey.create(name, [Scope.ADMIN]) for name in ("one", "two")]
    client = service(api_keys=tuple(key for key, _ in keys))
    answers = [
        await client.post(URL, json=request_for(), headers={"X-API-Key": secret, "Idempotency-Key": "monday"})
        for _, secret in keys
    ]
    assert answers[0].json()["id"] != answers[1].json()["id"]


async def test_without_a_database(service, request_for, dataset, caplog):
    client = service(jobs_database="postgresql://someone:hunter2@127.0.0.1:1/howsure")
    key = {"Idempotency-Key": "monday"}
    answers = [
        await client.post(URL, json=request_for()),
        await client.post(URL, json=request_for(), headers=key),
        await client.get(URL),
        await client.post(f"{UNKNOWN}/cancel"),
        *[await client.get(UNKNOWN + path) for path in ("", "/log", "/events", "/report")],
        await client.delete(f"/v1/datasets/{dataset}"),
    ]
    for answer in answers:
        assert "jobs database" in check_problem(answer, 503, "not_ready")["detail"]
        assert answer.headers["retry-after"]
        assert "hunter2" not in answer.text
    metrics = await client.get("/metrics")
    assert metrics.status_code == 200
    assert "howsure_jobs{" not in metrics.text
    health = await client.get("/health")
    assert health.json()["jobs"] == {"database": "away", "workers": None}
    assert health.status_code == (await client.get("/readyz")).status_code
    assert "hunter2" not in caplog.text + metrics.text + health.text


async def test_metrics_and_health_tell_of_jobs(service, request_for, ledger):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    await client.post(URL, json=request_for())
    ledger.start(job, "A")
    Workers(ledger.engine, 10).enter("A")
    lines = (await client.get("/metrics")).text.splitlines()
    shown = [line.removeprefix("howsure_jobs") for line in lines if line.startswith("howsure_jobs{")]
    assert sorted(shown) == [
        '{state="cancelled"} 0.0',
        '{state="cancelling"} 0.0',
        '{state="failed"} 0.0',
        '{state="queued"} 1.0',
        '{state="running"} 1.0',
        '{state="succeeded"} 0.0',
    ]
    assert (await client.get("/health")).json()["jobs"] == {"database": "ready", "workers": 1}
    assert (await client.get("/readyz")).json()["jobs"] is None
