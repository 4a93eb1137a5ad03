"""The option `sort` of `POST /v1/images/score`, against a real server and by both clients."""

import base64

import pytest

from app.client import HowsureApiError
from tests.fixtures.images import image_file
from tests.fixtures.problems import check_problem

URL = "/v1/images/score"
IMAGES = [("torn.jpg", b"no image"), *((f"{seed}.jpg", image_file(seed)) for seed in range(5))]


@pytest.fixture(scope="session")
def encoded():
    return [{"id": name, "data": base64.b64encode(content).decode()} for name, content in IMAGES]


@pytest.mark.parametrize("score", ["entropy", "epistemic"])
def test_the_most_uncertain_first_and_failed_ones_last(client, encoded, score):
    answers = [
        client.post(URL, params={"sort": score}, files=[("files", image) for image in IMAGES]),
        client.post(URL, json={"images": encoded, "sort": score}),
        client.post(URL, params={"sort": score}, json={"images": encoded, "sort": score, "scores": [score]}),
    ]
    plain = client.post(URL, json={"images": encoded}).json()["data"]
    values = {item["input"]: item["uncertainty"][score]["value"] for item in plain if "error" not in item}
    expected = [*sorted(values, key=values.get, reverse=True), "torn.jpg"]
    assert expected[:-1] != sorted(values)
    for answer in answers:
        data = answer.json()["data"]
        assert [item["input"] for item in data] == expected
        assert "error" in data[-1]
        assert data[0]["uncertainty"][score]["value"] == pytest.approx(values[expected[0]], rel=1e-3)


def test_both_clients_sort(ask, server):
    plain = ask(server.url, "score", IMAGES).scored
    values = {image.input: image.uncertainty["energy"].value for image in plain}
    found = ask(server.url, "score", IMAGES, scores=["energy"], sort="energy")
    assert [item.input for item in found.items] == [*sorted(values, key=values.get, reverse=True), "torn.jpg"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sort": "luck"}, "no such score; it has: entropy, max_prob"),
        ({"sort": "energy", "scores": ["entropy", "max_prob"]}, "add it to scores, which name: entropy, max_prob"),
        ({"sort": "energy", "scores": []}, "which name: none"),
        ({"sort": "epistemic:fast", "scores": ["epistemic"]}, "scores=epistemic:fast and sort=epistemic"),
        ({"sort": ""}, "no such score"),
    ],
)
def test_a_score_that_is_not_computed_is_refused_with_the_fix(client, encoded, asked, message):
    problem = check_problem(client.post(URL, json={"images": encoded} | asked), 422, "invalid")
    assert message in problem["detail"]
    assert [error["pointer"] for error in problem["errors"]] == ["/sort"]


def test_the_clients_raise_what_the_server_refuses(ask, server):
    with pytest.raises(HowsureApiError, match="cannot sort by luck"):
        ask(server.url, "score", IMAGES, sort="luck")


def test_body_and_query_that_disagree(client, encoded):
    response = client.post(f"{URL}?sort=entropy", json={"images": encoded, "sort": "energy"})
    assert "say it once" in check_problem(response, 422, "invalid")["detail"]
