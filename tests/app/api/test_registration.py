"""An own network over HTTP: registered uncalibrated, calibrated by a job, and then served with every score."""

import time

import httpx
import pytest
import timm
from safetensors.torch import save_file

from models.core.store import CheckpointStore
from tests.fixtures.hub import put_into_cache
from tests.fixtures.image_files import encode, photograph
from tests.fixtures.problems import check_problem
from tests.fixtures.server import launch
from tests.models.language.tiny_gguf import save_gguf
from tests.models.language.tiny_model import save_model, tiny_network, tiny_tokenizer

INPUT = {"height": 32, "width": 32, "resize": 36, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
NETWORK = {"name": "test_efficientnet", "arguments": {"num_classes": 10}, "input": INPUT}


@pytest.fixture(scope="module")
def own(tiny, digit_archive, tmp_path_factory):
    """A client of a server with a worker, whose data root has a folder, a file of weights, and labelled data."""
    folder = tmp_path_factory.mktemp("registration")
    root = folder / "root"
    root.mkdir()
    timm.models.save_for_hf(tiny.network, root / "folder")
    save_file(tiny.network.state_dict(), root / "weights.safetensors")
    (root / "digits.zip").write_bytes(digit_archive.path.read_bytes())
    save_model(root / "language", tiny_network())
    whole = save_gguf(root / "tiny.gguf", tiny_network(), tiny_tokenizer()).read_bytes()
    (root / "cut.gguf").write_bytes(whole[:1000])
    store = CheckpointStore(folder / "store")
    store.add_weights(tiny.network.state_dict())
    store.activate("tiny", store.publish("tiny", tiny.version), actor="test", reason="so that something is served")
    put_into_cache(folder / "hub", "own/language", root / "language")
    timm.models.save_for_hf(tiny.network, folder / "safe", safe_serialization=True)
    put_into_cache(folder / "hub", "own/timm", folder / "safe")
    put_into_cache(folder / "hub", "own/pickled", root / "folder")
    environment = {"HOWSURE_STORE": store.root, "HOWSURE_DATA_ROOT": root, "HOWSURE_WORKER": "true"}
    environment |= {"HOWSURE_SHIPPED": "", "HOWSURE_MAX_BATCH": 2}
    environment |= {"HOWSURE_HUB": "true", "HF_HUB_CACHE": folder / "hub", "HF_HUB_OFFLINE": "1"}
    server = launch(folder / "server.log", **environment)
    try:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            yield client
    finally:
        assert server.stop() == 0, server.log.read_text()


def test_an_own_network_is_registered_calibrated_and_served(own):
    wanted = {"model": "own", "kind": "timm", "path": "weights.safetensors", "network": NETWORK}
    refused = check_problem(own.post("/v1/models", json=wanted), 422, "invalid")
    assert "has 10 outputs" in refused["detail"]
    wanted["classes"] = [f"digit {number}" for number in range(10)]
    made = own.post("/v1/models", json=wanted)
    assert (made.status_code, made.json()["version"], made.json()["active"]) == (201, 1, 1), made.text

    image = encode(photograph(), "PNG")
    scored = own.post("/v1/images/score?model=own", files={"files": ("a.png", image)}).json()
    item = scored["data"][0]
    assert (scored["version"], item["uncertainty"], item["calibrated"]) == (1, {}, False)
    assert item["confidence"] == item["raw_confidence"]
    card = own.get("/v1/models/own").json()
    assert "never calibrated" in card["calibration"]["warnings"][0]
    assert own.get("/v1/models/own/versions/1/report.html").status_code == 200
    diagram = check_problem(own.get("/v1/models/own/versions/1/reliability.svg"), 404, "not_found")
    assert "version 1 of own was never evaluated" in diagram["detail"]

    dataset = own.post("/v1/datasets", json={"path": "digits.zip"}).json()["id"]
    asked = {"type": "calibrate", "model": "own", "dataset": dataset, "params": {"method": "temperature"}}
    job = own.post("/v1/jobs", json=asked).json()["id"]
    deadline = time.monotonic() + 90
    while (found := own.get(f"/v1/jobs/{job}").json())["finished_at"] is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found["state"] == "succeeded", found
    assert found["result"]["promoted"], found
    while (scored := own.post("/v1/images/score?model=own", files={"files": ("a.png", image)}).json())["version"] == 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert {"entropy", "epistemic"} <= scored["data"][0]["uncertainty"].keys()
    assert scored["data"][0]["calibrated"]

    again = own.post("/v1/models", json=wanted | {"path": "folder", "network": None})
    assert (again.status_code, again.json()["version"], again.json()["active"]) == (201, 3, 2)


def test_a_language_model_is_taken_up_from_a_gguf_file_and_from_a_folder(own):
    wanted = {"model": "own-language", "kind": "causal_lm"}
    made = own.post("/v1/models", json=wanted | {"path": "tiny.gguf"})
    assert (made.status_code, made.json()["version"], made.json()["active"]) == (201, 1, 1), made.text
    asked = {"model": "own-language", "prompts": [{"prompt": "The sea is. Answer:", "choices": [" A", " B"]}]}
    scored = own.post("/v1/prompts/score", json=asked).json()
    assert (scored["version"], scored["data"][0]["calibrated"]) == (1, False)
    assert "never calibrated" in own.get("/v1/models/own-language").json()["calibration"]["warnings"][0]
    assert "calibration_direction" in check_problem(own.get("/v1/models/own-language/versions/1/layers"), 404)["detail"]
    again = own.post("/v1/models", json=wanted | {"path": "language"})
    assert (again.status_code, again.json()["version"], again.json()["active"]) == (201, 2, 1), again.text


def test_networks_are_taken_up_from_the_hub(own):
    made = own.post("/v1/models", json={"model": "from-hub", "kind": "causal_lm", "hub": "own/language"})
    assert (made.status_code, made.json()["active"]) == (201, 1), made.text
    asked = {"model": "from-hub", "prompts": [{"prompt": "The sea is. Answer:", "choices": [" A", " B"]}]}
    assert own.post("/v1/prompts/score", json=asked).json()["version"] == 1
    history = own.get("/v1/models/from-hub/versions").json()["history"]
    assert history[0]["reason"] == "registered from own/language"

    classes = [f"digit {number}" for number in range(10)]
    wanted = {"model": "images-from-hub", "kind": "timm", "hub": "own/timm"}
    made = own.post("/v1/models", json=wanted | {"classes": classes})
    assert (made.status_code, made.json()["active"]) == (201, 1), made.text


@pytest.mark.parametrize(
    ("change", "status", "pointer", "told"),
    [
        ({"hub": "../root/language"}, 422, "/hub", "give ORG/NAME"),
        ({"hub": "own/absent"}, 502, None, "HF_HUB_OFFLINE"),
        ({"kind": "timm", "hub": "own/pickled"}, 422, "/hub", "weights as pickles"),
        ({"kind": "transformers"}, 422, "/hub", "cannot be taken up"),
        ({"kind": "torchvision"}, 422, "/kind", "timm, transformers or causal_lm"),
        ({"kind": "timm", "network": NETWORK}, 422, "/network", "leave it out"),
        ({"classes": ["a", "b"]}, 422, "/classes", "leave it out"),
        ({"path": "language"}, 422, "/", "either path or hub"),
        ({"hub": None}, 422, "/", "either path or hub"),
    ],
)
def test_what_the_hub_cannot_give_is_refused_with_the_reason(own, change, status, pointer, told):
    wanted = {"model": "taken", "kind": "causal_lm", "hub": "own/language"}
    problem = check_problem(own.post("/v1/models", json=wanted | change), status)
    assert told in problem["detail"] + str(problem.get("errors"))
    assert pointer == (problem["errors"][0]["pointer"] if "errors" in problem else None)
    assert "taken" not in [card["id"] for card in own.get("/v1/models").json()["data"]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"path": "cut.gguf"}, "cannot be read as a causal language model"),
        ({"path": "weights.safetensors"}, "hub's layout"),
        ({"path": "folder"}, "cannot be taken up"),
        ({"path": "HuggingFaceTB/SmolLM2-135M"}, "below the data root"),
        ({"network": NETWORK}, "leave it out"),
        ({"classes": ["a", "b"]}, "leave it out"),
    ],
)
def test_what_is_no_language_model_is_refused_with_the_reason(own, change, told):
    wanted = {"model": "taken", "kind": "causal_lm", "path": "language"}
    problem = own.post("/v1/models", json=wanted | change).json()
    assert problem["status"] in (404, 422)
    assert told in problem["detail"]
    assert "taken" not in [card["id"] for card in own.get("/v1/models").json()["data"]]


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"model": "No Name"}, 422, "is no model name"),
        ({"path": "../weights.safetensors"}, 422, "plain path"),
        ({"path": "absent"}, 404, "below the data root"),
        ({"path": "digits.zip"}, 422, "cannot be taken up"),
        ({"path": "folder"}, 422, "cannot be taken up"),
        ({"network": None}, 422, "not a folder"),
        ({"kind": "onnx"}, 422, ""),
        ({"network": NETWORK | {"arguments": {"num_classes": 9}}}, 422, "cannot be taken up"),
        ({"network": NETWORK | {"arguments": {"checkpoint_path": "x"}}}, 422, ""),
        ({"network": NETWORK | {"name": "no_such_network"}}, 422, "cannot be taken up"),
    ],
)
def test_what_cannot_be_taken_up_is_refused_with_the_reason(own, change, status, told):
    wanted = {"model": "taken", "kind": "timm", "path": "weights.safetensors", "network": NETWORK, "classes": ["a"]}
    problem = check_problem(own.post("/v1/models", json=wanted | change), status)
    assert told in problem["detail"] or any(told in str(error) for error in problem["errors"])
    assert "taken" not in [card["id"] for card in own.get("/v1/models").json()["data"]]


def test_without_a_data_root_nothing_is_taken_up(client):
    wanted = {"model": "own", "kind": "timm", "path": "folder"}
    assert "HOWSURE_DATA_ROOT" in check_problem(client.post("/v1/models", json=wanted), 422)["detail"]


def test_without_the_setting_nothing_is_fetched_from_the_hub(client):
    wanted = {"model": "own", "kind": "timm", "hub": "own/timm"}
    assert "HOWSURE_HUB=true" in check_problem(client.post("/v1/models", json=wanted), 422)["detail"]
