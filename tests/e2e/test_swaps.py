"""Versions of the shipped model swapped under load: nobody is refused, and no reply mixes two versions."""

import base64
import json
import shutil
import threading
import time
from itertools import pairwise

import httpx
import pytest

from models.core.store import CheckpointStore
from tests.benchmarks.load import Target
from tests.benchmarks.witness import Witness, mixed
from tests.fixtures.images import image_file
from tests.fixtures.metrics import read_metrics
from tests.fixtures.recalibrated import in_float32, networks_of, recalibrated, with_other_weights

MODEL = "efficientnet-lite0"
URL = "/v1/images/score"
JSON = {"Content-Type": "application/json"}
CLIENTS = 4
SWAPS = 10


@pytest.fixture(scope="module")
def swapping_store(tmp_path_factory, shipped_store):
    """Versions 1, 2 and 3 differ in their temperature."""
    root = tmp_path_factory.mktemp("swaps") / "store"
    shutil.copytree(shipped_store.root, root)
    store = CheckpointStore(root)
    first = in_float32(store.read(MODEL, 1))
    networks = networks_of(store, first.manifest)
    for factor in (0.5, 2.0):
        store.publish(MODEL, recalibrated(first, networks, factor))
    return root


@pytest.fixture
def body(photo):
    images = [photo, image_file(1)]
    return json.dumps({"images": [{"data": base64.b64encode(image).decode()} for image in images]}).encode()


@pytest.fixture
def activate():
    def activate(server, version):
        answer = httpx.post(f"{server.url}/v1/models/{MODEL}/activate", json={"version": version}, timeout=60)
        assert answer.status_code == 200
        return answer.json()

    return activate


@pytest.fixture
def confidences(activate, body):
    """What each version gives for the two images, asked of a server without other load."""

    def confidences(server):
        found = {}
        for version in (2, 3, 1):
            assert activate(server, version)["serving"] == version
            answer = httpx.post(
                server.url + URL, content=body, headers={"Content-Type": "application/json"}, timeout=60
            )
            assert answer.json()["version"] == version
            found[version] = [item["confidence"] for item in answer.json()["data"]]
        return found

    return confidences


def seen_by(witness, version):
    """Wait for a reply from this version."""
    until = time.monotonic() + 30
    while not witness.seen or witness.seen[-1].version != version:
        assert time.monotonic() < until, f"no reply from version {version}"
        time.sleep(0.01)


def test_swaps_under_load(start_server, swapping_store, activate, confidences, body, say):
    server = start_server(HOWSURE_STORE=swapping_store, HOWSURE_MAX_BATCH=4, HOWSURE_PRECISION="float32")
    expected = confidences(server)
    assert all(len({round(expected[version][image], 2) for version in expected}) == 3 for image in (0, 1))
    wanted = [2 + swap % 3 if swap % 3 < 2 else 1 for swap in range(SWAPS)]
    served = []

    witness = Witness(Target.build(server.url + URL, body, "application/json"), CLIENTS)

    def swap():
        """Each version once a reply has come from the one before."""
        for before, version in pairwise((1, *wanted)):
            seen_by(witness, before)
            served.append(activate(server, version)["serving"])

    swapping = threading.Thread(target=swap)
    swapping.start()
    result = witness.run(seconds=10)
    swapping.join()
    order = [reply.version for reply in witness.seen]
    changes = sum(before != after for before, after in pairwise(order))
    say(f"{len(order)} replies while {SWAPS} versions were swapped in, {changes} changes of version seen")
    assert (result.statuses.keys(), result.failures) == ({"200"}, {})
    assert mixed(witness.seen, expected) == []
    assert served == wanted
    assert changes >= SWAPS
    metrics = read_metrics(server.url)
    assert metrics["howsure_swap_duration_seconds_count", (("network", "reused"),)] == SWAPS + 3
    assert ("howsure_swap_duration_seconds_count", (("network", "loaded"),)) not in metrics


@pytest.mark.slow
def test_another_network_is_swapped_in_under_load(start_server, swapping_store, activate, body):
    store = CheckpointStore(swapping_store)
    store.activate(MODEL, 1, actor="test", reason="")
    other = store.publish(MODEL, with_other_weights(store, in_float32(store.read(MODEL, 1))))
    server = start_server(HOWSURE_STORE=swapping_store, HOWSURE_MAX_BATCH=4, HOWSURE_PRECISION="float32")
    witness = Witness(Target.build(server.url + URL, body, "application/json"), CLIENTS)
    swapping = threading.Timer(0.5, activate, [server, other])
    swapping.start()
    result = witness.run(seconds=8)
    swapping.join()
    assert (result.statuses.keys(), result.failures) == ({"200"}, {})
    order = [reply.version for reply in witness.seen]
    assert {1, other} == set(order)
    assert read_metrics(server.url)["howsure_swap_duration_seconds_count", (("network", "loaded"),)] == 1
