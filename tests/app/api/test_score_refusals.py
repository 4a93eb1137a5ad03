"""`POST /v1/images/score` against a real server: images that are refused in their place, bodies that cannot be read."""

import pytest

from tests.fixtures.images import image_file
from tests.fixtures.problems import check_problem

URL = "/v1/images/score"
JPEG = {"Content-Type": "image/jpeg"}


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

    def test_bad_base64_among_good(self, encoded_photo, post_json):
        images = [
            {"data": encoded_photo},
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

    def test_the_last_of_two_equal_json_names_counts(self, encoded_photo, post_json):
        body = f'{{"top_k": 1, "top_k": 2, "images": [{{"data": "{encoded_photo}"}}]}}'
        assert len(post_json(body).json()["data"][0]["top"]) == 2

    def test_an_unescaped_name_of_another_alphabet(self, encoded_photo, post_json):
        body = post_json({"images": [{"data": encoded_photo, "id": "猫 🐈 \x00"}]}).json()
        assert body["data"][0]["input"] == "猫 🐈 \x00"
