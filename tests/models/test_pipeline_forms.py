"""The forms of the epistemic score in a version that has a gradient plan."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.core.errors import CheckpointError, UnknownNameError
from models.core.golden import golden_pixels
from models.core.gradient_plan import GradientPlan
from models.core.reference import Reference
from models.core.store import CheckpointStore
from models.pipeline import load_pipeline, same_network

CPU = torch.device("cpu")
NAME = "float32.scores.epistemic"


@pytest.fixture(scope="module")
def store(tiny, planned, tmp_path_factory):
    store = CheckpointStore(tmp_path_factory.mktemp("planned"))
    store.add_weights(tiny.network.state_dict())
    store.publish("tiny", planned)
    return store


@pytest.fixture(scope="module")
def pipeline(store):
    return load_pipeline(store, store.read("tiny", 1), CPU)


@pytest.fixture
def pixels(tiny):
    return golden_pixels(tiny.plan.recipe.input_spec, tuple(range(5)))


def test_the_plan_and_every_reference_come_back_from_the_store(store, planned):
    read = store.read("tiny", 1)
    assert read.manifest.gradients == planned.manifest.gradients == GradientPlan(3, 1)
    stored = {name.removeprefix(f"{NAME}.") for name in read.tensors if name.startswith(NAME)}
    assert stored == {"decay", "reference", "reference_last_layer"}


def test_the_fast_form_is_the_usual_one(pipeline, pixels):
    fast = pipeline.answer(pixels, ["epistemic", "entropy"])
    cheap = pipeline.answer(pixels, ["epistemic", "entropy"], cheap=True)
    assert (fast.forms, cheap.forms) == ({"epistemic": "fast"}, {"epistemic": "last_layer"})
    assert not np.allclose(fast.scores["epistemic"][0], cheap.scores["epistemic"][0])
    np.testing.assert_allclose(fast.scores["entropy"][0], cheap.scores["entropy"][0], rtol=1e-4)
    assert pipeline.fast_scores == pipeline.exact_scores == ("epistemic",)


def test_each_form_has_a_percentile_of_its_own(pipeline, planned, pixels):
    for cheap, name in ((False, "reference"), (True, "reference_last_layer")):
        values, percentiles = pipeline.answer(pixels, ["epistemic"], cheap=cheap).scores["epistemic"]
        reference = planned.tensors[f"{NAME}.{name}"]
        expected = [float((reference < value).float().mean()) for value in torch.from_numpy(values)]
        np.testing.assert_allclose(percentiles, expected, atol=1e-6)


def test_no_backward_pass_where_nobody_asks_for_it(pipeline, pixels, monkeypatch):
    monkeypatch.setattr(type(pipeline.network.gradients), "outputs", None)
    assert pipeline.answer(pixels, ["entropy", "energy"]).forms == {}
    with pytest.raises(TypeError):
        pipeline.answer(pixels, ["epistemic"])


def test_the_exact_form_weighs_every_layer(pipeline, pixels):
    energies = pipeline.exact_gradients.energies(pipeline.network.input_spec.tensor(pixels, CPU, torch.float32))
    layers = energies[0].layers
    weights = torch.softmax(5 * torch.arange(1, layers + 1) / layers, dim=0)
    for (value, percentile), row in zip(pipeline.exact("epistemic", pixels, lambda: False), energies, strict=True):
        assert value == pytest.approx(float(row.energies[0] @ weights), rel=1e-5)
        assert percentile is None


def test_an_exact_reference_gives_a_percentile(store, planned, pixels):
    values = [value for value, _ in load_pipeline(store, planned, CPU).exact("epistemic", pixels, lambda: False)]
    reference = Reference.fit(torch.tensor(values)).values
    version = replace(planned, tensors=planned.tensors | {f"{NAME}.reference_exact": reference})
    found = load_pipeline(store, version, CPU).exact("epistemic", pixels, lambda: False)
    order = np.argsort(np.argsort(values))
    np.testing.assert_allclose([percentile for _, percentile in found], order / 5, atol=1e-6)


def test_what_there_was_no_time_for_is_none(pipeline, pixels):
    asked = itertools.count()
    assert pipeline.exact("epistemic", pixels, lambda: next(asked) > 2) == [None] * 5


@pytest.mark.parametrize("name", ["entropy", "nonsense"])
def test_a_score_without_an_exact_form_is_named(pipeline, pixels, name):
    with pytest.raises(UnknownNameError, match=name):
        pipeline.exact(name, pixels, lambda: False)


def test_a_version_without_a_plan_has_the_last_layer_alone(tiny_store, pixels):
    plain = load_pipeline(tiny_store, tiny_store.read("tiny", 1), CPU, precision="float32")
    assert plain.fast_scores == plain.exact_scores == ()
    assert plain.answer(pixels, ["epistemic"]).forms == {"epistemic": "last_layer"}


def test_a_fast_form_without_the_reference_of_its_cheap_one_is_refused(store, planned):
    tensors = {name: value for name, value in planned.tensors.items() if name != f"{NAME}.reference_last_layer"}
    with pytest.raises(CheckpointError, match="last-layer form"):
        load_pipeline(store, replace(planned, tensors=tensors), CPU)


def test_versions_share_a_network_only_with_the_same_plan(store, planned, pipeline):
    other = replace(planned.manifest, gradients=GradientPlan(depth=4, directions=1))
    assert same_network(planned.manifest, planned.manifest)
    assert not same_network(planned.manifest, other)
    again = load_pipeline(store, planned, CPU, loaded=pipeline)
    assert again.network is pipeline.network
    assert again.exact_gradients is pipeline.exact_gradients


def test_layer_weights_of_the_version_decide(store, planned, pixels):
    changed = replace(planned, tensors=planned.tensors | {f"{NAME}.decay": torch.tensor(0.0)})
    with pytest.raises(CheckpointError, match="golden input"):
        load_pipeline(store, changed, CPU)


def test_a_network_shared_with_a_version_without_the_score_still_gives_its_golden_rows(store, planned, pixels):
    kept = {name: value for name, value in planned.tensors.items() if ".scores." not in name or ".entropy." in name}
    rows = {"float32": tuple(replace(row, scores={"entropy": row.scores["entropy"]}) for row in golden_rows(planned))}
    fewer = replace(
        planned,
        manifest=replace(planned.manifest, scores=("entropy",)),
        tensors=kept,
        golden=replace(planned.golden, rows=rows),
    )
    beside = load_pipeline(store, fewer, CPU)
    assert load_pipeline(store, planned, CPU, loaded=beside).answer(pixels, ["epistemic"]).forms == {
        "epistemic": "fast"
    }


def golden_rows(version):
    return version.golden.rows["float32"]
