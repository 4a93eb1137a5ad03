"""Jobs once they are there, without a worker: pages, cancelling, reports, keys, outages, metrics."""

import json

import pytest

from app.jobs.job import JobState
from app.jobs.workers import Workers
from app.keys import ApiKey, Scope
from tests.fixtures.evaluations import CLASSES, made_evaluation
from tests.fixtures.problems import check_problem

pytestmark = pytest.mark.anyio
URL = "/v1/jobs"
UNKNOWN = f"{URL}/job_{'0' * 24}"


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
