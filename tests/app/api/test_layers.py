"""`GET …/layers` and `…/layers.svg`: the study of a version, and what to do where there is none."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from models.core.prompt_spec import PromptSpec, Readout
from models.core.store import CheckpointStore
from tests.fixtures.layer_studies import made_study
from tests.fixtures.made_version import WEIGHTS, made_version
from tests.fixtures.problems import check_problem


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """A client of a store with a version of images, a language model's without a study, and one with it."""
    store = CheckpointStore(tmp_path_factory.mktemp("layers") / "store")
    store.add_weights(WEIGHTS)
    images = made_version()
    prompts = replace(images.manifest, input_spec=None, classes=(), prompts=PromptSpec(Readout.NEXT_TOKEN))
    studied = replace(prompts, report={"evaluations": [], "layers": made_study()})
    store.publish("images", images)
    for manifest in (prompts, studied):
        store.publish("language", replace(images, manifest=manifest))
    return TestClient(create_app(Settings(store=store.root))).get


def test_the_study_as_it_was_published(ask):
    response = ask("/v1/models/language/versions/2/layers")
    assert response.status_code == 200
    assert response.json() == {"model": "language", "version": 2, **made_study()}


def test_the_picture_and_the_page(ask):
    response = ask("/v1/models/language/versions/2/layers.svg")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/svg+xml")
    assert response.text in ask("/v1/models/language/versions/2/report.html").text


@pytest.mark.parametrize("tail", ["layers", "layers.svg"])
@pytest.mark.parametrize(
    ("version", "told"),
    [("language/versions/1", "calibration_direction"), ("images/versions/1", "images"), ("language/versions/9", "9")],
)
def test_what_has_none_says_what_to_do(ask, version, tail, told):
    assert told in check_problem(ask(f"/v1/models/{version}/{tail}"), 404, "not_found")["detail"]
