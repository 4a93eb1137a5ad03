"""`POST /v1/images/score` against a real server: forms of a request, options, errors in place, limits."""

import base64
import json
import math
import socket
import uuid

import pytest

from tests.fixtures.image_files import RGB, photograph, png
from tests.fixtures.images import flat_png, image_file
from tests.fixtures.problems import check_problem

URL = "/v1/images/score"
JPEG = {"Content-Type": "image/jpeg"}
SCORES = ["entropy", "max_prob", "energy", "epistemic", "loss_rank"]


@pytest.fixture(scope="session")
def encoded(photo):
    return base64.b64encode(photo).decode()


@pytest.fixture
def post_json(client):
    def post(body, **options):
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return client.post(URL, content=content, headers={"Content-Type": "application/json"}, **options)

    return post


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

    def test_all_forms_give_the_same_answer(self, client, photo, encoded, post_json):
        answers = [
            client.post(URL, files={"files": ("cat.jpg", photo, "image/jpeg")}),
            client.post(URL, content=photo, headers=JPEG),
            client.post(URL, content=photo, headers={"Content-Type": "application/octet-stream"}),
            post_json({"images": [{"data": encoded}]}),
            post_json({"images": [{"data": f"data:image/jpeg;base64,{encoded}"}]}),
            post_json({"images": [{"data": f"data:;base64,{encoded}"}]}),
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

    def test_inputs_without_a_name_are_named_by_position(self, client, photo, encoded, post_json):
        assert client.post(URL, content=photo, headers=JPEG).json()["data"][0]["input"] == "image-0"
        images = [{"data": encoded}, {"id": "mine", "data": encoded}, {"id": None, "data": encoded}]
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
    def test_top_k(self, client, photo, encoded, post_json, top_k):
        query = client.post(URL, params={"top_k": top_k}, content=photo, headers=JPEG).json()
        body = post_json({"images": [{"data": encoded}], "top_k": top_k}).json()
        for answer in (query, body):
            assert len(answer["data"][0]["top"]) == top_k

    @pytest.mark.parametrize(
        "query", ["scores=entropy&scores=energy", "scores=entropy,energy", "scores=entropy,+energy"]
    )
    def test_only_the_scores_asked_for(self, client, photo, query):
        data = client.post(f"{URL}?{query}", content=photo, headers=JPEG).json()["data"]
        assert list(data[0]["uncertainty"]) == ["entropy", "energy"]

    def test_scores_in_the_body(self, encoded, post_json):
        data = post_json({"images": [{"data": encoded}], "scores": ["max_prob", "max_prob"]}).json()["data"]
        assert list(data[0]["uncertainty"]) == ["max_prob"]
        assert post_json({"images": [{"data": encoded}], "scores": []}).json()["data"][0]["uncertainty"] == {}

    def test_requests_with_different_options_share_batches_and_get_what_they_asked(self, client, photo):
        first = client.post(URL, params={"scores": "energy", "top_k": 1}, content=photo, headers=JPEG).json()
        everything = client.post(URL, content=photo, headers=JPEG).json()
        item, full = first["data"][0], everything["data"][0]
        assert item["uncertainty"]["energy"] == full["uncertainty"]["energy"]
        assert item["top"] == full["top"][:1]

    def test_a_model_by_name(self, client, photo):
        answer = client.post(URL, params={"model": "efficientnet-lite0"}, content=photo, headers=JPEG)
        assert answer.json()["model"] == "efficientnet-lite0"

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
    def test_body_and_query_that_disagree(self, encoded, post_json, client, body, query):
        response = client.post(f"{URL}?{query}", json={"images": [{"data": encoded}]} | body)
        assert "say it once" in check_problem(response, 422, "invalid")["detail"]

    def test_body_and_query_that_agree(self, encoded, client):
        body = {"images": [{"data": encoded}], "top_k": 2, "scores": ["energy"], "model": "efficientnet-lite0"}
        response = client.post(f"{URL}?top_k=2&scores=energy&model=efficientnet-lite0", json=body)
        assert response.status_code == 200


class TestErrorsInPlace:
    def test_a_bad_image_among_good_ones(self, client, photo):
        parts = {"good": photo, "text": b"no image", "empty": b"", "torn": photo[:2000], "also good": photo}
        body = client.post(URL, files=[("files", part) for part in parts.items()]).json()
        assert body["usage"] == {"items": 5, "scored": 2, "failed": 3}
        assert [item["input"] for item in body["data"]] == list(parts)
        problems = [item.get("error") for item in body["data"]]
        assert [problem and (problem["status"], problem["code"]) for problem in problems] == [
            None,
            (415, "image_format_unsupported"),
            (422, "invalid"),
            (422, "image_damaged"),
            None,
        ]
        for problem in filter(None, problems):
            assert {"type", "title", "status", "detail", "code"} <= problem.keys()

    def test_bad_base64_among_good(self, encoded, post_json):
        images = [
            {"data": encoded},
            {"data": "%%%"},
            {"data": "data:text/plain,hello"},
            {"data": "ünïcode"},
            {"data": ""},
        ]
        body = post_json({"images": images}).json()
        assert [item.get("error", {}).get("status") for item in body["data"]] == [None, 422, 422, 422, 422]

    @pytest.mark.parametrize(
        ("content", "status", "code"),
        [
            (b"no image", 415, "image_format_unsupported"),
            (b"", 422, "invalid"),
            (image_file(kind="PNG")[:60], 422, "image_damaged"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "image_format_unsupported"),
        ],
    )
    def test_a_single_bad_image_is_the_answer(self, client, content, status, code):
        check_problem(client.post(URL, content=content, headers={"Content-Type": "image/png"}), status, code)
        check_problem(client.post(URL, files={"files": ("x", content)}), status, code)

    def test_several_bad_images_of_one_kind(self, client):
        files = [("files", (name, b"no image")) for name in "ab"]
        problem = check_problem(client.post(URL, files=files), 415, "image_format_unsupported")
        assert [(error["input"], error["status"]) for error in problem["errors"]] == [("a", 415), ("b", 415)]

    def test_several_bad_images_of_different_kinds(self, client):
        files = [("files", ("a", b"no image")), ("files", ("b", b""))]
        problem = check_problem(client.post(URL, files=files), 422, "invalid")
        assert [error["status"] for error in problem["errors"]] == [415, 422]


class TestBodiesThatCannotBeRead:
    @pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "video/mp4", "nonsense", ""])
    def test_other_content_types(self, client, content_type):
        response = client.post(URL, content=b"x", headers={"Content-Type": content_type})
        check_problem(response, 415, "unsupported_media_type")

    def test_no_content_type(self, client):
        check_problem(client.post(URL, content=b"x"), 415, "unsupported_media_type")

    def test_no_body(self, client):
        check_problem(client.post(URL), 415, "unsupported_media_type")
        check_problem(client.post(URL, headers=JPEG), 422, "invalid")

    def test_an_empty_form(self, client):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        problem = check_problem(client.post(URL, content=b"--b--\r\n", headers=headers), 422, "invalid")
        assert "`files`" in problem["detail"]

    def test_a_form_without_boundary(self, client):
        check_problem(client.post(URL, content=b"x", headers={"Content-Type": "multipart/form-data"}), 400)

    def test_a_torn_form(self, client, photo):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        start = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
        response = client.post(URL, content=start + photo[:100], headers=headers)
        assert 400 <= response.status_code < 500
        check_problem(response, response.status_code)

    def test_an_unknown_form_field(self, client, photo):
        for options in ({"files": {"file": photo}}, {"files": {"files": photo}, "data": {"top_k": "3"}}):
            problem = check_problem(client.post(URL, **options), 422, "invalid")
            assert "unknown form field" in problem["detail"]

    def test_a_text_part_is_not_dropped_in_silence(self, client, photo):
        response = client.post(URL, files=[("files", ("cat", photo)), ("files", (None, b"text"))])
        assert "text, not a file" in check_problem(response, 422, "invalid")["detail"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"{}",
            b'{"images": []}',
            b'{"images": {}}',
            b'{"images": [{}]}',
            b'{"images": [{"data": 5}]}',
            b'{"images": [{"data": null}]}',
            b'{"images": [{"data": "", "url": "http://x"}]}',
            b'{"images": [{"data": "", "id": "\\ud800"}]}',
            b'{"images": [{"data": "\xff\xfe"}]}',
            b'{"images": [{"data": ""}], "top_k": NaN}',
            b'{"images": [{"data": ""}], "top_k": 1e400}',
            b'{"images": [{"data": ""}], "top_k": 2.5}',
            b'{"images": [{"data": ""}], "top_k": true}',
            b'{"images": [{"data": ""}], "top_k": "3"}',
            b'{"images": [{"data": ""}], "model": 5}',
            b'{"images": [{"data": ""}], "scores": "entropy"}',
            b'{"images": [{"data": ""}], "temperature": 1}',
            b'{"images": ' + b"[" * 100_000,
            b'{"images": [{"data": "", "id": "' + b"x" * 257 + b'"}]}',
        ],
    )
    def test_json_that_does_not_fit(self, post_json, body):
        problem = check_problem(post_json(body), 422, "invalid")
        assert all(error["pointer"].startswith("/") and error["detail"] for error in problem["errors"])

    def test_the_last_of_two_equal_json_names_counts(self, encoded, post_json):
        body = f'{{"top_k": 1, "top_k": 2, "images": [{{"data": "{encoded}"}}]}}'
        assert len(post_json(body).json()["data"][0]["top"]) == 2

    def test_an_unescaped_name_of_another_alphabet(self, encoded, post_json):
        body = post_json({"images": [{"data": encoded, "id": "猫 🐈 \x00"}]}).json()
        assert body["data"][0]["input"] == "猫 🐈 \x00"


class TestLimits:
    def test_too_many_items(self, small, photo, encoded):
        for count in (5, 6, 20):
            files = [("files", (str(number), image_file())) for number in range(count)]
            problem = check_problem(small.post(URL, files=files), 413, "payload_too_large")
            assert "4" in problem["detail"]
        body = {"images": [{"data": base64.b64encode(image_file()).decode()}] * 5}
        check_problem(small.post(URL, json=body), 413, "payload_too_large")

    def test_as_many_items_as_allowed(self, small):
        files = [("files", (str(number), image_file(number))) for number in range(4)]
        assert small.post(URL, files=files).json()["usage"]["scored"] == 4

    def test_a_body_that_claims_to_be_too_large_is_refused_unread(self, small_server):
        host, port = small_server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 200001\r\n\r\n".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    def test_a_chunked_body_is_cut_at_the_limit(self, small):
        def endless():
            for _ in range(1000):
                yield b"x" * 1000

        check_problem(small.post(URL, content=endless(), headers=JPEG), 413, "payload_too_large")

    @pytest.mark.parametrize("form", ["raw", "multipart", "json"])
    def test_a_body_over_the_limit_in_every_form(self, small, form):
        content = b"x" * 200_001
        options = {
            "raw": {"content": content, "headers": JPEG},
            "multipart": {"files": {"files": ("x", content)}},
            "json": {"json": {"images": [{"data": content.decode()}]}},
        }
        check_problem(small.post(URL, **options[form]), 413, "payload_too_large")

    def test_an_image_over_the_limit_in_its_place(self, small):
        files = [("files", ("big", b"x" * 100_001)), ("files", ("good", image_file()))]
        data = small.post(URL, files=files).json()["data"]
        assert (data[0]["error"]["status"], data[0]["error"]["code"]) == (413, "payload_too_large")
        assert "label" in data[1]
        text = base64.b64encode(b"x" * 100_001).decode()
        check_problem(small.post(URL, json={"images": [{"data": text}]}), 413, "payload_too_large")

    def test_more_pixels_than_allowed(self, small):
        response = small.post(URL, content=flat_png(1001, 1000), headers={"Content-Type": "image/png"})
        check_problem(response, 413, "image_too_large")
        assert small.post(URL, content=flat_png(1000, 1000), headers=JPEG).status_code == 200

    def test_a_pixel_bomb(self, client):
        bomb = png(photograph(), RGB, claim=(60_000, 60_000))
        check_problem(client.post(URL, content=bomb, headers=JPEG), 413, "image_too_large")
        check_problem(client.post(URL, content=flat_png(20_000, 20_000), headers=JPEG), 413, "image_too_large")

    @pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
    def test_images_of_odd_shape_are_scored(self, client, size):
        assert client.post(URL, content=image_file(size=size, kind="PNG"), headers=JPEG).status_code == 200

    def test_a_full_queue(self, small_server, small):
        """Four items fill it; of five requests of four at once, some are refused and told when to come back."""
        import concurrent.futures

        files = [("files", (str(number), image_file(number, size=(900, 900)))) for number in range(4)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: small.post(URL, files=files), range(24)))
        counts = {status: sum(answer.status_code == status for answer in answers) for status in (200, 429)}
        assert sum(counts.values()) == 24
        assert counts[200] > 0
        assert counts[429] > 0
        for answer in answers:
            if answer.status_code == 429:
                check_problem(answer, 429, "queue_full")
                assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert small.post(URL, files=files).status_code == 200


class TestHeaders:
    def test_request_id_is_echoed(self, client, photo):
        name = f"test-{uuid.uuid4().hex}"
        response = client.post(URL, content=photo, headers={**JPEG, "X-Request-ID": name})
        assert response.headers["x-request-id"] == name

    def test_request_id_is_made(self, client, photo):
        first, second = (client.post(URL, content=photo, headers=JPEG).headers["x-request-id"] for _ in range(2))
        assert first != second
        assert len(first) == 32

    @pytest.mark.parametrize("name", ["", "a b", "x" * 129, "<b>", '"'])
    def test_request_id_is_sanitised(self, client, name):
        response = client.get("/livez", headers={"X-Request-ID": name})
        assert response.headers["x-request-id"].isalnum()
        assert len(response.headers["x-request-id"]) == 32

    def test_server_timing_names_the_stages(self, client, photo):
        value = client.post(URL, content=photo, headers=JPEG).headers["server-timing"]
        stages = dict(entry.split(";dur=") for entry in value.split(", "))
        assert {"decode", "score", "total"} <= stages.keys()
        milliseconds = {name: float(duration) for name, duration in stages.items()}
        assert 0 < milliseconds["decode"] <= milliseconds["score"] <= milliseconds["total"] < 60_000

    def test_keep_alive_survives_errors(self, client, photo):
        """One connection: an error answered before the body was read must not spoil the next request."""
        for _ in range(3):
            assert client.post(URL, params={"top_k": 0}, content=photo, headers=JPEG).status_code == 422
            assert client.post(URL, content=photo, headers=JPEG).status_code == 200


class TestKeys:
    def test_no_key(self, locked, photo):
        response = locked.post(URL, content=photo, headers=JPEG)
        check_problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer"},
            {"Authorization": "Basic d3Jvbmc6d3Jvbmc="},
            {"X-API-Key": "wrong"},
            {"X-API-Key": ""},
            {"X-API-Key": b"\xff\xfe"},
        ],
    )
    def test_wrong_key(self, locked, photo, headers):
        check_problem(locked.post(URL, content=photo, headers={**JPEG, **headers}), 401, "unauthorized")

    def test_a_key_in_the_query_does_not_count(self, locked, photo, keys):
        _, secret = keys["score"]
        response = locked.post(URL, params={"api_key": secret}, content=photo, headers=JPEG)
        check_problem(response, 401, "unauthorized")

    @pytest.mark.parametrize("form", ["bearer", "header"])
    @pytest.mark.parametrize(("scope", "status"), [("score", 200), ("admin", 200), ("read", 403)])
    def test_scopes(self, locked, photo, keys, form, scope, status):
        _, secret = keys[scope]
        header = {"Authorization": f"Bearer {secret}"} if form == "bearer" else {"X-API-Key": secret}
        response = locked.post(URL, content=photo, headers={**JPEG, **header})
        assert response.status_code == status
        if status == 403:
            problem = check_problem(response, 403, "forbidden")
            assert f"{scope}-key" in problem["detail"]
            assert secret not in response.text

    def test_a_wrong_key_is_refused_before_the_body_is_read(self, locked_server):
        host, port = locked_server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 9999\r\n\r\n".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
