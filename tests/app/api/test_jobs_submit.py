"""`POST /v1/jobs`, without a worker: what is taken, what is refused, and when a job is the same job."""

import asyncio
import json
import time

import pytest

from app.jobs.job import JobState
from app.keys import ApiKey, Scope
from app.settings import Settings
from tests.fixtures.coloured_zip import coloured_zip
from tests.fixtures.jobs import add_dataset
from tests.fixtures.problems import check_problem
from tests.fixtures.tables import outputs_table

pytestmark = pytest.mark.anyio
URL = "/v1/jobs"


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


async def test_a_parameter_is_finite(service, request_for):
    wanted = json.dumps(request_for(params={"gate": {"max_nll_increase": 5}})).replace("5}", "1e999}")
    response = await service().post(URL, content=wanted, headers={"Content-Type": "application/json"})
    (error,) = check_problem(response, 422)["errors"]
    assert error["pointer"] == "/params/gate/max_nll_increase"


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


async def test_a_training_with_means_of_its_own_is_taken_and_known_again(service, request_for, store):
    images = add_dataset(Settings(store=store.root), "images.zip", coloured_zip())
    wanted = request_for("train", model="new", dataset=images, params={"mean": [0.5] * 3, "std": [0.25] * 3})
    answers = [await service().post(URL, json=wanted, headers={"Idempotency-Key": "monday"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()


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


async def test_keys_of_idempotency_belong_to_their_actor(service, request_for):
    keys = [ApiKey.create(name, [Scope.ADMIN]) for name in ("one", "two")]
    client = service(api_keys=tuple(key for key, _ in keys))
    answers = [
        await client.post(URL, json=request_for(), headers={"X-API-Key": secret, "Idempotency-Key": "monday"})
        for _, secret in keys
    ]
    assert answers[0].json()["id"] != answers[1].json()["id"]
