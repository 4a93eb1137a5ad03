"""`POST /v1/images/embed` against a real server, and what no image does, on made-up outcomes."""

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.api.embed import _content
from app.api.embed_schemas import EmbedQuery
from app.errors import InvalidError
from app.scoring.intake import ImageInput
from app.scoring.predictor import Prediction
from app.scoring.scorer import Scored
from models.core.image import read_image
from tests.fixtures.images import image_file
from tests.fixtures.problems import check_problem

URL = "/v1/images/embed"
JPEG = {"Content-Type": "image/jpeg"}
DIMENSIONS = 1280


@pytest.fixture(scope="session")
def encoded(photo):
    return base64.b64encode(photo).decode()


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_the_reply(client, photo):
    body = client.post(URL, files=[("files", ("a.jpg", image_file(1))), ("files", ("b.jpg", photo))]).json()
    assert (body["object"], body["model"], body["version"]) == ("list", "efficientnet-lite0", 1)
    assert body["dimensions"] == DIMENSIONS
    assert body["usage"] == {"items": 2, "scored": 2, "failed": 0}
    assert [(item["object"], item["index"], item["input"]) for item in body["data"]] == [
        ("embedding", 0, "a.jpg"),
        ("embedding", 1, "b.jpg"),
    ]
    assert all(item.keys() == {"object", "index", "input", "embedding", "uncertainty"} for item in body["data"])
    first, second = (np.array(item["embedding"]) for item in body["data"])
    assert first.shape == second.shape == (DIMENSIONS,)
    assert np.linalg.norm(first - second) > 1


def test_an_embedding_is_what_the_last_layer_reads(client, photo, shipped_store):
    from models.pipeline import load_pipeline

    pipeline = load_pipeline(shipped_store, shipped_store.read("efficientnet-lite0", 1), torch.device("cpu"))
    spec = pipeline.network.input_spec
    expected = pipeline.network.outputs(spec.pixels(read_image(photo, spec))[None]).require_features()[0].numpy()
    found = np.array(client.post(URL, content=photo, headers=JPEG).json()["data"][0]["embedding"], np.float32)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_all_forms_of_a_request_give_the_same_embedding(client, photo, encoded):
    answers = [
        client.post(URL, files={"files": ("cat.jpg", photo)}),
        client.post(URL, content=photo, headers=JPEG),
        client.post(URL, json={"images": [{"data": encoded}]}),
    ]
    found = [answer.json()["data"][0]["embedding"] for answer in answers]
    assert found[0] == found[1] == found[2]


def test_numbers_and_base64_are_the_same_float32(client, photo, encoded):
    numbers = client.post(URL, params={"encoding_format": "float"}, content=photo, headers=JPEG).json()
    packed = client.post(URL, json={"images": [{"data": encoded}], "encoding_format": "base64"}).json()
    expected = np.array(numbers["data"][0]["embedding"])
    assert np.array_equal(unpacked(packed["data"][0]["embedding"]).astype(np.float64), expected)


@pytest.mark.parametrize("query", [True, False])
def test_normalized_embeddings_have_length_1_and_the_same_direction(client, photo, encoded, query):
    body = {"images": [{"data": encoded}]}
    plain = np.array(client.post(URL, json=body).json()["data"][0]["embedding"])
    asked = {"params": {"normalize": "true"}, "json": body} if query else {"json": body | {"normalize": True}}
    normalized = np.array(client.post(URL, **asked).json()["data"][0]["embedding"])
    assert np.linalg.norm(plain) > 2
    assert np.linalg.norm(normalized) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(normalized * np.linalg.norm(plain), plain, rtol=1e-5)


def test_the_uncertainty_is_the_one_that_scoring_gives(client, photo):
    embedded = client.post(URL, params={"scores": "epistemic,energy"}, content=photo, headers=JPEG).json()["data"][0]
    scored = client.post("/v1/images/score", params={"scores": "epistemic,energy"}, content=photo, headers=JPEG)
    assert embedded["uncertainty"] == scored.json()["data"][0]["uncertainty"]
    assert client.post(f"{URL}?scores=", content=photo, headers=JPEG).json()["data"][0]["uncertainty"] == {}


def test_errors_in_place_and_as_the_answer(client, photo):
    body = client.post(URL, files=[("files", ("bad", b"no image")), ("files", ("good", photo))]).json()
    failed, embedded = body["data"]
    assert (failed["input"], failed["error"]["code"]) == ("bad", "image_format_unsupported")
    assert (embedded["index"], embedded["input"]) == (1, "good")
    assert body["usage"] == {"items": 2, "scored": 1, "failed": 1}
    check_problem(client.post(URL, content=b"no image", headers=JPEG), 415, "image_format_unsupported")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("encoding_format=hex", "/query/encoding_format"),
        ("normalize=perhaps", "/query/normalize"),
        ("top_k=3", "/query/top_k"),
        ("sort=entropy", "/query/sort"),
        ("scores=luck", "/scores"),
    ],
)
def test_what_does_not_fit_is_refused(client, photo, query, pointer):
    problem = check_problem(client.post(f"{URL}?{query}", content=photo, headers=JPEG), 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("body", "pointer"), [({"normalize": "true"}, "/normalize"), ({"top_k": 1}, "/top_k"), ({"images": []}, "/images")]
)
def test_json_that_does_not_fit_is_refused(client, encoded, body, pointer):
    problem = check_problem(client.post(URL, json={"images": [{"data": encoded}]} | body), 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_body_and_query_that_disagree(client, encoded):
    response = client.post(f"{URL}?normalize=false", json={"images": [{"data": encoded}], "normalize": True})
    assert "say it once" in check_problem(response, 422, "invalid")["detail"]


def test_the_limits_are_those_of_scoring(small):
    files = [("files", (str(number), image_file(number))) for number in range(5)]
    check_problem(small.post(URL, files=files), 413, "payload_too_large")
    check_problem(small.post(URL, content=b"x" * 200_001, headers=JPEG), 413, "payload_too_large")
    assert small.post(URL, files=files[:4]).json()["usage"]["scored"] == 4


@pytest.mark.parametrize(("scope", "status"), [("score", 200), ("read", 403)])
def test_keys(locked, photo, keys, scope, status):
    headers = JPEG | {"X-API-Key": keys[scope][1]}
    assert locked.post(URL, content=photo, headers=headers).status_code == status
    check_problem(locked.post(URL, content=photo, headers=JPEG), 401, "unauthorized")


@pytest.fixture
def outcomes(plain_predictor):
    """`outcomes(embedding, …)`: what a scorer gives for images with these embeddings."""

    def outcomes(*embeddings):
        predictions = tuple(
            Prediction(0, 1.0, 1.0, (), {}, embedding=np.array(embedding, np.float32)) for embedding in embeddings
        )
        images = [ImageInput(str(row), b"") for row in range(len(predictions))]
        return images, Scored(plain_predictor, predictions, range(len(predictions)))

    return outcomes


def test_an_embedding_without_direction_cannot_be_normalized(outcomes):
    images, scored = outcomes([0.0, 0.0], [3.0, 4.0])
    content = _content(images, scored, EmbedQuery(normalize=True))
    assert '"failed":1' in content
    assert "ask for it without normalize" in content
    assert "[0.6000000238418579,0.800000011920929]" in content
    assert '"failed":0' in _content(images, scored, EmbedQuery())
    with pytest.raises(InvalidError, match="no direction"):
        _content(images[:1], replace(scored, outcomes=scored.outcomes[:1]), EmbedQuery(normalize=True))
