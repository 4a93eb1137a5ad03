"""`POST /v1/images/score` against a real server: forms of a request and its options."""

import math

import pytest

from tests.fixtures.images import image_file
from tests.fixtures.problems import check_problem

URL = "/v1/images/score"
JPEG = {"Content-Type": "image/jpeg"}
SCORES = ["entropy", "max_prob", "energy", "epistemic", "loss_rank"]


class TestForms:
    def test_a_multipart_file(self, client, photo):
        response = client.post(URL, files={"files": ("cat.jpg", photo)})
        assert response.status_code == 200
        body = response.json()
        assert body["object"] == "list"
        assert (body["model"], body["version"]) == ("efficientnet-lite0", 1)
        assert body["usage"] == {"items": 1, "scored": 1, "failed": 0}
        (item,) = body["data"]
        assert item["id"].startswith("pred_")
        assert item["input"] == "cat.jpg"
        assert "cat" in item["label"] or item["label"] == "tabby"
        assert 0 < item["raw_confidence"] <= 1
        assert item["top"][0] == {key: item[key] for key in ("label", "class_index")} | {
            "probability": item["confidence"]
        }
        probabilities = [entry["probability"] for entry in item["top"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(probabilities) == 5
        assert sum(probabilities) <= 1.00001
        assert list(item["uncertainty"]) == SCORES
        for score in item["uncertainty"].values():
            assert math.isfinite(score["value"])
            assert 0 <= score["percentile"] <= 1
            assert score["kind"] in ("total", "aleatoric", "epistemic")

    def test_all_forms_give_the_same_answer(self, client, photo, encoded_photo, post_json):
        answers = [
            client.post(URL, files={"files": ("cat.jpg", photo, "image/jpeg")}),
            client.post(URL, content=photo, headers=JPEG),
            client.post(URL, content=photo, headers={"Content-Type": "application/octet-stream"}),
            post_json({"images": [{"data": encoded_photo}]}),
            post_json({"images": [{"data": f"data:image/jpeg;base64,{encoded_photo}"}]}),
            post_json({"images": [{"data": f"data:;base64,{encoded_photo}"}]}),
        ]
        scored = [answer.json()["data"][0] for answer in answers]
        assert len({item["id"] for item in scored}) == len(scored)
        kept = [{name: item[name] for name in ("label", "confidence", "top", "uncertainty")} for item in scored]
        assert all(item == kept[0] for item in kept)

    def test_answers_are_in_the_order_of_the_inputs(self, client, photo):
        other = image_file(3)
        files = [("files", ("a", photo)), ("files", ("b", other)), ("files", ("c", photo)), ("files", ("d", other))]
        data = client.post(URL, files=files).json()["data"]
        assert [item["input"] for item in data] == ["a", "b", "c", "d"]
        assert data[0]["label"] == data[2]["label"] != data[1]["label"] == data[3]["label"]

    def test_inputs_without_a_name_are_named_by_position(self, client, photo, encoded_photo, post_json):
        assert client.post(URL, content=photo, headers=JPEG).json()["data"][0]["input"] == "image-0"
        images = [{"data": encoded_photo}, {"id": "mine", "data": encoded_photo}, {"id": None, "data": encoded_photo}]
        data = post_json({"images": images}).json()["data"]
        assert [item["input"] for item in data] == ["image-0", "mine", "image-2"]

    @pytest.mark.parametrize("name", ["ünïcødé 猫.jpg", "a/../b.jpg", "<script>", "x" * 300])
    def test_names_come_back_as_they_were(self, client, photo, name):
        data = client.post(URL, files={"files": (name, photo)}).json()["data"]
        assert data[0]["input"] == name

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
    def test_every_image_format(self, client, kind):
        response = client.post(URL, content=image_file(1, kind=kind), headers={"Content-Type": "image/*"})
        assert response.status_code == 200, response.text


class TestOptions:
    @pytest.mark.parametrize("top_k", [1, 3, 1000])
    def test_top_k(self, client, photo, encoded_photo, post_json, top_k):
        query = client.post(URL, params={"top_k": top_k}, content=photo, headers=JPEG).json()
        body = post_json({"images": [{"data": encoded_photo}], "top_k": top_k}).json()
        for answer in (query, body):
            assert len(answer["data"][0]["top"]) == top_k

    @pytest.mark.parametrize(
        "query", ["scores=entropy&scores=energy", "scores=entropy,energy", "scores=entropy,+energy"]
    )
    def test_only_the_scores_asked_for(self, client, photo, query):
        data = client.post(f"{URL}?{query}", content=photo, headers=JPEG).json()["data"]
        assert list(data[0]["uncertainty"]) == ["entropy", "energy"]

    def test_scores_in_the_body(self, encoded_photo, post_json):
        data = post_json({"images": [{"data": encoded_photo}], "scores": ["max_prob", "max_prob"]}).json()["data"]
        assert list(data[0]["uncertainty"]) == ["max_prob"]
        assert post_json({"images": [{"data": encoded_photo}], "scores": []}).json()["data"][0]["uncertainty"] == {}

    def test_requests_with_different_options_share_batches_and_get_what_they_asked(self, client, photo):
        first = client.post(URL, params={"scores": "energy", "top_k": 1}, content=photo, headers=JPEG).json()
        everything = client.post(URL, content=photo, headers=JPEG).json()
        item, full = first["data"][0], everything["data"][0]
        assert item["uncertainty"]["energy"] == full["uncertainty"]["energy"]
        assert item["top"] == full["top"][:1]

    def test_a_model_by_name(self, small):
        assert small.post(URL, content=image_file(), headers=JPEG).json()["model"] == "efficientnet-lite0"
        answer = small.post(URL, params={"model": "bad-second"}, content=image_file(), headers=JPEG)
        assert answer.json()["model"] == "bad-second"

    @pytest.mark.parametrize("model", ["nothing", "../efficientnet-lite0", "EfficientNet-Lite0", "a" * 5000])
    def test_unknown_model(self, client, photo, model):
        problem = check_problem(
            client.post(URL, params={"model": model}, content=photo, headers=JPEG), 404, "not_found"
        )
        assert "efficientnet-lite0" in problem["detail"]

    def test_unknown_score(self, client, photo):
        problem = check_problem(
            client.post(URL, params={"scores": "entropy,luck"}, content=photo, headers=JPEG), 422, "invalid"
        )
        assert "entropy, max_prob" in problem["detail"]
        assert problem["errors"] == [{"pointer": "/scores", "detail": "unknown score luck"}]

    @pytest.mark.parametrize("top_k", ["0", "-1", "1001", "many", "1.5", "NaN", "99999999999999999999"])
    def test_top_k_out_of_range(self, client, photo, top_k):
        problem = check_problem(client.post(URL, params={"top_k": top_k}, content=photo, headers=JPEG), 422)
        assert problem["errors"][0]["pointer"] == "/query/top_k"

    @pytest.mark.parametrize(("query", "name"), [("topk=3", "topk"), ("top_k=3&Model=x", "Model")])
    def test_an_unknown_option_is_not_ignored(self, client, photo, query, name):
        problem = check_problem(client.post(f"{URL}?{query}", content=photo, headers=JPEG), 422, "invalid")
        assert problem["errors"] == [{"pointer": f"/query/{name}", "detail": "Extra inputs are not permitted"}]

    @pytest.mark.parametrize(
        ("body", "query"),
        [
            ({"model": "efficientnet-lite0"}, "model=other"),
            ({"top_k": 2}, "top_k=3"),
            ({"scores": ["energy"]}, "scores="),
        ],
    )
    def test_body_and_query_that_disagree(self, encoded_photo, post_json, client, body, query):
        response = client.post(f"{URL}?{query}", json={"images": [{"data": encoded_photo}]} | body)
        assert "say it once" in check_problem(response, 422, "invalid")["detail"]

    def test_body_and_query_that_agree(self, encoded_photo, client):
        body = {"images": [{"data": encoded_photo}], "top_k": 2, "scores": ["energy"], "model": "efficientnet-lite0"}
        response = client.post(f"{URL}?top_k=2&scores=energy&model=efficientnet-lite0", json=body)
        assert response.status_code == 200
