"""`POST /v1/images/score` against real servers: limits of items, bytes, pixels and the queue; headers; keys."""

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.image_files import RGB, photograph, png
from tests.fixtures.images import flat_png, image_file
from tests.fixtures.problems import check_problem
from tests.fixtures.wire import connect, head

URL = "/v1/images/score"
JPEG = {"Content-Type": "image/jpeg"}


def answer_to_head(server, content_length):
    """To a request of which no more is sent than what stands before its body."""
    with connect(server, timeout=10) as connection:
        connection.sendall(head("POST", URL, content_type="image/jpeg", content_length=content_length))
        return connection.recv(100)


class TestLimits:
    def test_too_many_items(self, small):
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
        assert answer_to_head(small_server, content_length=200001).startswith(b"HTTP/1.1 413 ")

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

    def test_an_error_does_not_outgrow_its_request(self, client):
        for images in ([1] * 10_000, [1] * 500_000):
            response = client.post(URL, json={"images": images})
            check_problem(response, 422, "invalid")
            assert len(response.content) < 1000

    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/models", "/v1/models/x/activate"])
    def test_a_route_that_takes_no_data_reads_little(self, locked, path):
        response = locked.post(
            path, content=b"[" + b"[]," * 2**19 + b"[]]", headers={"Content-Type": "application/json"}
        )
        check_problem(response, 413, "payload_too_large")

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
        """Four items fill it; of 24 requests of four, eight at once, some are refused and told when to come back."""
        files = [("files", (str(number), image_file(number, size=(900, 900)))) for number in range(4)]
        with ThreadPoolExecutor(8) as pool:
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
        assert answer_to_head(locked_server, content_length=9999).startswith(b"HTTP/1.1 401 ")
