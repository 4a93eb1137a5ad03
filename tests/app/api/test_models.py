"""`GET /v1/models…`: cards, paging, versions, reports; damaged models beside good ones."""

import pytest

from models.checkpoints.shipped import IMAGE_MODELS
from tests.fixtures.problems import check_problem

MODEL = "efficientnet-lite0"
DAMAGED = ["bad-manifest", "bad-methods", "bad-pointer", "bad-report"]
SHIPPED = list(IMAGE_MODELS)
SERVED = ["bad-second", *SHIPPED]


def test_the_list_in_the_shape_of_openai(client):
    body = client.get("/v1/models").json()
    ends = (SHIPPED[0], SHIPPED[-1])
    assert (body["object"], body["has_more"], body["first_id"], body["last_id"]) == ("list", False, *ends)
    cards = {card["id"]: card for card in body["data"]}
    assert list(cards) == SHIPPED
    card = cards[MODEL]
    assert (card["object"], card["owned_by"], card["status"], card["default"]) == ("model", "howsure", "ready", True)
    assert card["created"] > 1_700_000_000
    assert (card["version"], card["classes"], card["calibrator"]) == (1, 1000, "temperature")
    assert [score["name"] for score in card["scores"]] == ["entropy", "max_prob", "energy", "epistemic", "loss_rank"]


def test_a_card_says_how_well_calibrated_the_model_is(client):
    card = client.get(f"/v1/models/{MODEL}").json()
    assert card in client.get("/v1/models").json()["data"]
    report = next(found for found in card["calibration"]["evaluations"] if found["role"] == "report")
    assert report["after"]["ece"] < report["before"]["ece"]
    assert card["calibration"]["precision"] == card["precision"]


@pytest.mark.parametrize("name", ["nothing", "Nothing", "a" * 100, "%00", "..", "a%2Fb", "_weights"])
@pytest.mark.parametrize("tail", ["", "/versions", "/versions/1", "/versions/1/report"])
def test_unknown_models(client, name, tail):
    response = client.get(f"/v1/models/{name}{tail}")
    if name != "..":  # resolved by the client itself
        check_problem(response, 404, "not_found")


def test_a_name_that_is_too_long(client):
    check_problem(client.get(f"/v1/models/{'a' * 101}"), 422, "invalid")


def test_versions(client):
    body = client.get(f"/v1/models/{MODEL}/versions").json()
    assert (body["object"], body["has_more"]) == ("list", False)
    (version,) = body["data"]
    assert (version["version"], version["active"], version["calibrator"]) == (1, True, "temperature")
    assert {"float32", "bfloat16"} == set(version["precisions"])
    (move,) = body["history"]
    assert (move["version"], move["actor"]) == (1, "howsure")


@pytest.mark.anyio
async def test_versions_of_which_none_was_activated_yet(service, store):
    (model,) = store.models()
    store.publish("candidate", store.read(model, 1))
    found = (await service().get("/v1/models/candidate/versions")).json()
    assert ([version["active"] for version in found["data"]], found["history"]) == ([False], [])


def test_a_version_is_its_manifest(client):
    body = client.get(f"/v1/models/{MODEL}/versions/1").json()
    assert (body["model"], body["version"], body["task"]) == (MODEL, 1, "image-classification")
    assert len(body["classes"]) == 1000
    assert body["input_spec"]["height"] == 224


def test_the_report_has_every_measure_before_and_after(client):
    body = client.get(f"/v1/models/{MODEL}/versions/1/report").json()
    assert (body["model"], body["version"]) == (MODEL, 1)
    assert {use["role"] for use in body["data"]} >= {"fit", "report"}
    for evaluation in body["evaluations"]:
        assert {"ece", "nll", "brier", "accuracy"} <= evaluation["before"].keys() & evaluation["after"].keys()


@pytest.mark.parametrize("diagram", ["reliability", "risk-coverage"])
def test_diagrams_of_the_evaluation_that_was_asked_for(client, diagram):
    route = f"/v1/models/{MODEL}/versions/1/{diagram}.svg"
    for params in ({}, {"precision": "float32"}, {"data": "imagenet_val_imagenette160_shared"}):
        response = client.get(route, params=params)
        assert (response.status_code, response.headers["content-type"]) == (200, "image/svg+xml")
        assert params.get("data", "imagenet_nips17dev_shared") in response.text
    check_problem(client.get(route, params={"data": "nothing"}), 404, "not_found")
    problem = check_problem(client.get(route, params={"precision": "float8"}), 404, "not_found")
    assert problem["detail"] == f"version 1 of {MODEL} has no evaluation in float8"


def test_the_report_as_a_page(client):
    response = client.get(f"/v1/models/{MODEL}/versions/1/report.html")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"<h1>{MODEL} version 1: calibration report</h1>" in response.text


@pytest.mark.parametrize("version", ["2", "99", str(2**31)])
@pytest.mark.parametrize("tail", ["", "/report"])
def test_unknown_versions(client, version, tail):
    check_problem(client.get(f"/v1/models/{MODEL}/versions/{version}{tail}"), 404, "not_found")


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.5", str(2**31 + 1), "9" * 5000])
def test_impossible_versions(client, version):
    check_problem(client.get(f"/v1/models/{MODEL}/versions/{version}"), 422, "invalid")


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", ""])
def test_limits_out_of_range(client, limit):
    for route in ("/v1/models", f"/v1/models/{MODEL}/versions"):
        problem = check_problem(client.get(route, params={"limit": limit}), 422, "invalid")
        assert problem["errors"][0]["pointer"] == "/query/limit"


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_paging_sees_every_model_once(small, limit):
    names, after = [], {}
    while True:
        page = small.get("/v1/models", params={"limit": limit} | after).json()
        found = [card["id"] for card in page["data"]]
        assert len(found) <= limit
        assert (page["first_id"], page["last_id"]) == (found[0], found[-1])
        names += found
        after = {"after": page["last_id"]}
        if not page["has_more"]:
            break
    assert names == sorted(DAMAGED + SERVED)


def test_a_page_behind_the_end_is_empty(client):
    page = client.get("/v1/models", params={"after": "zzz"}).json()
    assert (page["data"], page["has_more"], page["first_id"], page["last_id"]) == ([], False, None, None)


def test_paging_of_versions(small):
    def numbers(**params):
        page = small.get("/v1/models/bad-second/versions", params=params).json()
        return [version["version"] for version in page["data"]], page["has_more"]

    assert numbers() == ([2, 1], False)
    assert numbers(limit=1) == ([2], True)
    assert numbers(limit=1, after=2) == ([1], False)
    assert numbers(after=1) == ([], False)


class TestDamagedModels:
    def test_they_are_listed_with_the_reason_and_hide_no_other(self, small):
        cards = {card["id"]: card for card in small.get("/v1/models").json()["data"]}
        assert {name: card["status"] for name, card in cards.items()} == (
            dict.fromkeys(DAMAGED, "failed") | dict.fromkeys(SERVED, "ready")
        )
        assert "fields differ" in cards["bad-manifest"]["reason"]
        assert "damaged" in cards["bad-methods"]["reason"]
        assert "active.json is not readable" in cards["bad-pointer"]["reason"]
        assert "changed or damaged" in cards["bad-report"]["reason"]
        for name in DAMAGED:
            assert small.get(f"/v1/models/{name}").json() == cards[name]

    def test_the_server_is_ready_and_says_what_it_does_not_serve(self, small):
        response = small.get("/readyz")
        assert response.status_code == 200
        found = {model["id"]: model["status"] for model in response.json()["models"]}
        assert found == dict.fromkeys(DAMAGED, "failed") | dict.fromkeys(SERVED, "ready")

    @pytest.mark.parametrize("name", DAMAGED)
    def test_asking_one_to_score_says_why_not(self, small, photo, name):
        headers = {"Content-Type": "image/jpeg"}
        response = small.post("/v1/images/score", params={"model": name}, content=photo, headers=headers)
        problem = check_problem(response, 503, "not_ready")
        assert name in problem["detail"]
        assert response.headers["retry-after"] == "60"

    @pytest.mark.parametrize("name", SERVED)
    def test_the_others_score(self, small, photo, name):
        headers = {"Content-Type": "image/jpeg"}
        answer = small.post("/v1/images/score", params={"model": name}, content=photo, headers=headers).json()
        assert (answer["model"], answer["version"]) == (name, 1)

    def test_a_damaged_version_hides_no_other_version(self, small):
        second, first = small.get("/v1/models/bad-second/versions").json()["data"]
        assert "manifest format" in second["reason"]
        assert (first["reason"], first["calibrator"]) == (None, "temperature")

    @pytest.mark.parametrize("tail", ["", "/report"])
    def test_a_damaged_version_says_so(self, small, tail):
        problem = check_problem(small.get(f"/v1/models/bad-second/versions/2{tail}"), 500, "internal")
        assert "manifest format" in problem["detail"]

    def test_versions_behind_a_damaged_pointer(self, small):
        problem = check_problem(small.get("/v1/models/bad-pointer/versions"), 500, "internal")
        assert "active.json is not readable" in problem["detail"]
        assert small.get("/v1/models/bad-pointer/versions/1").status_code == 200


class TestKeys:
    @pytest.mark.parametrize("route", ["/v1/models", f"/v1/models/{MODEL}", f"/v1/models/{MODEL}/versions/1/report"])
    @pytest.mark.parametrize(("scope", "status"), [("read", 200), ("admin", 200), ("score", 403)])
    def test_reading_needs_the_scope(self, locked, keys, route, scope, status):
        _, secret = keys[scope]
        assert locked.get(route, headers={"X-API-Key": secret}).status_code == status
        check_problem(locked.get(route), 401, "unauthorized")

    def test_whether_a_model_is_there_is_not_told_without_a_key(self, locked):
        check_problem(locked.get("/v1/models/nothing"), 401, "unauthorized")
