"""Forms of scores over HTTP, by both clients and by the command: a server in this process, forms made up."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from typer.testing import CliRunner

from app.cli import app
from app.client import HowsureApiError
from tests.fixtures.formed import served
from tests.fixtures.images import image_file
from tests.fixtures.metrics import read_metrics
from tests.fixtures.problems import check_problem
from tests.fixtures.server import Server
from tests.fixtures.wire import connect, head, multipart

URL = "/v1/images/score"
IMAGES = [(f"{seed}.jpg", image_file(seed)) for seed in range(3)]
EXACT = ["epistemic:exact", "entropy"]


@pytest.fixture
def serve(formed_store, tmp_path):
    """`serve(predictor)`: the address of a server that answers with it, for a `with` block."""
    folders = {"store": formed_store.root, "datasets": tmp_path / "data", "jobs": tmp_path / "jobs"}
    return lambda predictor: served(predictor, **folders)


@pytest.fixture
def post():
    def post(url, query="", **body):
        images = [{"id": name, "data": base64.b64encode(content).decode()} for name, content in IMAGES]
        return httpx.post(f"{url}{URL}?{query}", json={"images": images} | body, timeout=30)

    return post


def forms(data):
    return [item["uncertainty"]["epistemic"].get("form") for item in data]


def test_forms_budgets_and_numbers_of_items(serve, formed, post):
    with serve(formed()) as url:
        for answer in (
            post(url, "scores=entropy,epistemic:exact"),
            post(url, scores=EXACT),
            post(url, "scores=epistemic:exact&scores=entropy&exact_top=3", exact_top=3),
        ):
            data = answer.json()["data"]
            assert forms(data) == ["exact"] * 3
            assert all("form" not in item["uncertainty"]["entropy"] for item in data)
            assert "exact;dur=" in answer.headers["server-timing"]
        for answer in (post(url, "exact_top=1", scores=EXACT), post(url, scores=EXACT, exact_top=1)):
            assert sorted(forms(answer.json()["data"])) == ["exact", "fast", "fast"]
        for answer in (post(url, "budget_ms=0", scores=EXACT), post(url, scores=EXACT, budget_ms=0)):
            assert forms(answer.json()["data"]) == ["last_layer"] * 3
        plain = post(url)
        assert forms(plain.json()["data"]) == ["fast"] * 3
        assert "exact" not in plain.headers["server-timing"]
        found = read_metrics(url)
        labels = (("model", "tiny"), ("score", "epistemic"))
        counts = [found["howsure_score_forms_total", (("form", form), *labels)] for form in ("exact", "fast")]
        assert counts == [11, 7]
        assert found["howsure_stage_duration_seconds_count", (("stage", "exact"),)] >= 5
        assert found["howsure_exact_lane_requests", ()] == 0


def test_a_percentile_without_reference_is_null(serve, formed, post, ask):
    with serve(formed(percentile=None)) as url:
        score = post(url, scores=EXACT).json()["data"][0]["uncertainty"]["epistemic"]
        assert score == {"value": score["value"], "percentile": None, "kind": "epistemic", "form": "exact"}
        reply = ask(url, "score", IMAGES, scores=EXACT, exact_top=3, budget_ms=60_000)
        found = reply.scored[0].uncertainty
        assert (found["epistemic"].percentile, found["epistemic"].form) == (None, "exact")
        assert found["entropy"].form is None
        with pytest.raises(HowsureApiError, match="exact_top is for scores in their exact form"):
            ask(url, "score", IMAGES, exact_top=3)


def test_the_command_shows_forms(serve, formed, tmp_path):
    for name, content in IMAGES:
        (tmp_path / name).write_bytes(content)
    with serve(formed(percentile=None)) as url:

        def howsure(*options):
            return CliRunner().invoke(app, ["score", "--url", url, str(tmp_path), *options])

        shown = howsure("--scores", "epistemic:exact", "--exact-top", "2")
        assert shown.exit_code == 0, shown.stderr
        found = [line.split()[-1] for line in shown.stdout.splitlines() if line.strip()]
        assert (found.count("exact"), found.count("fast")) == (2, 1)
        cheap = json.loads(howsure("--json", "--scores", "epistemic:exact", "--budget-ms", "0").stdout)
        assert forms(cheap["data"]) == ["last_layer"] * 3
        refused = howsure("--scores", "epistemic:slow")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "it has: exact, fast, last_layer" in refused.stderr


def test_what_does_not_fit_is_refused(serve, formed, post):
    cases = [
        ("scores=epistemic,epistemic:exact", {}, "/scores"),
        ("scores=entropy:exact", {}, "/scores"),
        ("exact_top=1", {}, "/exact_top"),
        ("exact_top=0", {}, "/query/exact_top"),
        ("budget_ms=-1", {}, "/query/budget_ms"),
        ("", {"budget_ms": 0.5}, "/budget_ms"),
        ("", {"exact_top": "2"}, "/exact_top"),
    ]
    with serve(formed()) as url:
        for query, body, pointer in cases:
            problem = check_problem(post(url, query, **body), 422, "invalid")
            assert [error["pointer"] for error in problem["errors"]] == [pointer]
        twice = check_problem(post(url, "budget_ms=5", budget_ms=6), 422, "invalid")
        assert "say it once" in twice["detail"]


def test_a_client_that_leaves_stops_its_stage_two(serve, formed):
    predictor = formed(seconds=20)
    with serve(predictor) as url:
        content_type, body = multipart([content for _, content in IMAGES])
        path = f"{URL}?scores=epistemic:exact"
        with connect(Server(url, None, None)) as connection:
            connection.sendall(head("POST", path, content_type=content_type, content_length=len(body)) + body)
            assert predictor.pipeline.running.wait(5)
        assert predictor.pipeline.stopped.wait(2)
        gone = ("howsure_exact_requests_total", (("model", "tiny"), ("outcome", "client_gone")))
        deadline = time.monotonic() + 5
        while not read_metrics(url).get(gone) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert read_metrics(url)[gone] == 1


def test_a_server_that_is_stopped_answers_who_is_in_stage_two(serve, formed, post):
    """The server's context ends while the request is under way; the budget, not the shutdown, ends stage two."""
    predictor = formed(seconds=0.8)
    with ThreadPoolExecutor(1) as pool:
        with serve(predictor) as url:
            answer = pool.submit(post, url, "scores=epistemic:exact&budget_ms=1200")
            assert predictor.pipeline.running.wait(5)
        assert set(forms(answer.result().json()["data"])) == {"exact", "fast"}
