"""`/v1/datasets` in this process, without a model: uploads in every form, refusals, pages, keys."""

import asyncio
import hashlib
import json

import pytest

from app.keys import ApiKey, Scope
from tests.fixtures import labelled_data as made
from tests.fixtures.dataset_service import FORM, URL, ZIP, left, part, upload
from tests.fixtures.problems import check_problem

pytestmark = pytest.mark.anyio
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("filename", [name for files in made.SAMPLES.values() for name in files])
async def test_every_format(data_service, tmp_path, filename):
    content = next(files[filename] for files in made.SAMPLES.values() if filename in files)
    response = await data_service().post(URL, **upload(content, filename))
    assert response.status_code == 201, response.text
    card = response.json()
    assert (card["object"], card["name"], card["rows"], card["good"], card["bad"]) == ("dataset", filename, 6, 6, [])
    answers = {"prompts.jsonl": {"0": 2, "1": 4}, "lettered.jsonl.gz": {"0": 2, "1": 2, "2": 1, "3": 1}}
    assert card["labels"] == answers.get(filename, {"0": 2, "1": 2, "2": 2})
    assert card["bytes"] == len(content)
    assert (await data_service().get(f"{URL}/{card['id']}")).json() == card
    assert left(tmp_path) == []


async def test_the_same_upload_again_is_200_and_the_same_dataset(data_service):
    first, second = [await data_service().post(URL, **upload(ZIP, name=name)) for name in ("first", "second")]
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.json()["name"] == "first"


async def test_two_at_once(data_service, tmp_path):
    client = data_service()
    answers = await asyncio.gather(*(client.post(URL, **upload(ZIP)) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert left(tmp_path) == []


async def test_a_form_in_pieces_of_every_size(data_service):
    """The parser sees boundaries torn anywhere; a name may come after the file."""
    content = b'{"label": "a\\rb", "logits": [1, 2], "is": "--b"}\r\n--c\r\n\r\n'  # looks like a boundary now and then
    body = part("file", content, "set.jsonl") + part("name", "späte Blumen".encode()) + b"--b--\r\n"
    for size in (1, 2, 3, 7, 64, len(body)):

        async def pieces(size=size):
            for start in range(0, len(body), size):
                yield body[start : start + size]

        response = await data_service(max_bad_share=0.5).post(URL, content=pieces(), headers=FORM)
        assert response.status_code in (200, 201), response.text
        assert response.json()["name"] == "späte Blumen"
        assert response.json()["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"--b--\r\n", 422, "no file in the form"),
        (b"", 400, "ends before"),
        (part("file", ZIP, "set.zip"), 400, "ends before its closing boundary"),
        (part("file", ZIP, "set.zip")[:500], 400, "ends before"),
        (b"nonsense", 400, "cannot be read"),
        (part("file", ZIP) + b"--b--\r\n", 422, "no filename"),
        (part("file", ZIP, "") + b"--b--\r\n", 422, "no filename"),
        (part("file", ZIP, "set.exe") + b"--b--\r\n", 422, "no known format"),
        (part("file", b"", "set.zip") + b"--b--\r\n", 422, "empty file"),
        (part("files", ZIP, "set.zip") + b"--b--\r\n", 422, "unknown form field 'files'"),
        (part("file", ZIP, "set.zip") * 2 + b"--b--\r\n", 422, "`file` twice"),
        (part("name", b"a") * 2 + b"--b--\r\n", 422, "`name` twice"),
        (part("name", b"x" * 2000) + b"--b--\r\n", 422, "longer than 1024"),
        (part("name", b"x" * 201) + part("file", ZIP, "set.zip") + b"--b--\r\n", 422, "1 to 200"),
        (part("name", b"a\x00") + part("file", ZIP, "set.zip") + b"--b--\r\n", 422, "printable"),
        (b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 400, "cannot be read"),
        (b"--b\r\n\r\nx\r\n--b--\r\n", 422, "unknown form field ''"),
    ],
)
async def test_forms_that_do_not_fit(data_service, tmp_path, body, status, reason):
    problem = check_problem(await data_service().post(URL, content=body, headers=FORM), status)
    assert reason in problem["detail"]
    assert left(tmp_path) == []


@pytest.mark.parametrize("content_type", ["", "text/csv", "application/zip", "multipart/mixed; boundary=b"])
async def test_other_content_types(data_service, content_type):
    response = await data_service().post(URL, content=b"x", headers={"Content-Type": content_type})
    check_problem(response, 415, "unsupported_media_type")


async def test_no_boundary(data_service):
    response = await data_service().post(URL, content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert "boundary" in check_problem(response, 400)["detail"]


async def test_bad_rows_up_to_the_share_are_listed(data_service, tmp_path):
    images = made.IMAGES | {"torn.png": (1, b"torn")}
    content = made.zipped(made.indexed(images))
    problem = check_problem(await data_service().post(URL, **upload(content)), 422, "invalid")
    assert problem["detail"].startswith("1 of 7 rows are bad, more than 5%")
    assert problem["errors"] == [{"row": "torn.png", "detail": problem["errors"][0]["detail"]}]
    assert "not an image" in problem["errors"][0]["detail"]
    assert left(tmp_path) == []
    response = await data_service(max_bad_share=0.2).post(URL, **upload(content))
    assert response.status_code == 201
    assert (response.json()["bad_count"], response.json()["bad"][0]["row"]) == (1, "torn.png")


async def test_unusable_data_lists_its_rows(data_service):
    problem = check_problem(await data_service().post(URL, **upload(b'{"label": 0}\n', "o.jsonl")), 422, "invalid")
    assert problem["errors"] == [{"row": "row 1", "detail": "`logits` must be a list of numbers"}]


async def test_limits(data_service, tmp_path):
    client = data_service(max_dataset_bytes=2000)
    check_problem(await client.post(URL, **upload(ZIP + bytes(2000))), 413, "payload_too_large")

    async def endless():
        yield part("file", b"", "set.zip")[:-2]
        while True:
            yield bytes(500)

    check_problem(await client.post(URL, content=endless(), headers=FORM), 413, "payload_too_large")
    assert left(tmp_path) == []
    problem = check_problem(await data_service(max_dataset_rows=5).post(URL, **upload(ZIP)), 422)
    assert "more than 5 rows" in problem["detail"]
    check_problem(await data_service(dataset_check_seconds=1e-9).post(URL, **upload(ZIP)), 504, "timed_out")
    assert left(tmp_path) == []


async def test_the_form_may_be_larger_than_other_bodies_and_json_not(data_service):
    client = data_service(max_body_bytes=1024)
    assert (await client.post(URL, **upload(ZIP))).status_code == 201
    check_problem(await client.post(URL, content=bytes(70_000), headers=JSON), 413)


async def test_pages(data_service):
    client = data_service()
    bodies = [b"label,logit_0,logit_1\n0,%d,2\n" % number for number in range(5)]
    ids = [(await client.post(URL, **upload(body, "o.csv"))).json()["id"] for body in bodies][::-1]
    first = (await client.get(URL, params={"limit": 2})).json()
    assert [card["id"] for card in first["data"]] == ids[:2]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, ids[0], ids[1])
    rest = (await client.get(URL, params={"limit": 100, "after": first["last_id"]})).json()
    assert [card["id"] for card in rest["data"]] == ids[2:]
    assert not rest["has_more"]
    check_problem(await client.get(URL, params={"after": "ds_" + "0" * 20}), 404, "not_found")
    check_problem(await client.get(URL, params={"limit": 0}), 422)


async def test_delete_unless_a_job_uses_it(data_service):
    client = data_service()
    url = f"{URL}/{(await client.post(URL, **upload(ZIP))).json()['id']}"
    client.app.state.users_of_all = ["job_1"]
    assert "job_1" in check_problem(await client.delete(url), 409, "conflict")["detail"]
    assert (await client.get(url)).status_code == 200
    client.app.state.users_of_all = []
    response = await client.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    for method in ("GET", "DELETE"):
        check_problem(await client.request(method, url), 404, "not_found")
    assert (await client.get(URL)).json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


async def test_a_damaged_record_says_to_delete_it_and_can_be_deleted(data_service, tmp_path):
    client = data_service()
    dataset = (await client.post(URL, **upload(ZIP))).json()["id"]
    (tmp_path / "datasets" / dataset / "dataset.json").write_text("{")
    assert "delete it" in check_problem(await client.get(f"{URL}/{dataset}"), 500, "internal")["detail"]
    assert (await client.delete(f"{URL}/{dataset}")).status_code == 204
    assert (await client.post(URL, **upload(ZIP))).status_code == 201


@pytest.fixture
def photos(tmp_path):
    for name, content in made.in_class_folders().items():
        (tmp_path / "data/photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/photos" / name).write_bytes(content)


async def test_data_below_the_root_by_path(data_service, photos):
    response = await data_service().post(URL, json={"path": "photos", "name": "my photos"})
    assert response.status_code == 201
    assert (response.json()["path"], response.json()["name"]) == ("photos", "my photos")
    assert (await data_service().post(URL, json={"path": "photos"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"path": "../store"}, 422),
        ({"path": "/etc/passwd"}, 422),
        ({"path": "absent"}, 404),
        ({"path": ""}, 422),
        ({"path": 5}, 422),
        ({"path": "photos", "url": "http://x"}, 422),
        ({"path": "photos", "name": " "}, 422),
        ({}, 422),
        ([], 422),
        ({"path": "photos/cat"}, 422),
    ],
)
async def test_paths_that_do_not_fit(data_service, photos, body, status):
    response = await data_service().post(URL, content=json.dumps(body), headers=JSON)
    check_problem(response, status)


@pytest.mark.parametrize(
    ("scope", "reads", "writes"),
    [(Scope.READ, True, False), (Scope.JOBS, False, True), (Scope.SCORE, False, False), (Scope.ADMIN, True, True)],
)
async def test_scopes(data_service, scope, reads, writes):
    key, secret = ApiKey.create("team", [scope])
    client = data_service(api_keys=(key,))
    check_problem(await client.post(URL, **upload(ZIP)), 401, "unauthorized")
    check_problem(await client.get(URL), 401, "unauthorized")
    client.headers["X-API-Key"] = secret
    unknown = f"{URL}/ds_{'0' * 20}"
    assert (await client.post(URL, **upload(ZIP))).status_code == (201 if writes else 403)
    assert (await client.delete(unknown)).status_code == (404 if writes else 403)
    assert (await client.get(URL)).status_code == (200 if reads else 403)
    assert (await client.get(unknown)).status_code == (404 if reads else 403)
