"""A version with a recalibrator of slices: stored and loaded, and what its answers keep for one."""

from dataclasses import replace

import pytest
import torch

from models.core.checkpoint import Version
from models.core.errors import CheckpointError
from models.core.prompt_spec import PromptSpec, Readout
from models.core.store import CheckpointStore
from models.language.continuations import ChoiceItem
from models.language.few_shot_recalibration import DomainRows, FewShotPlan, FewShotRecalibrator
from models.language.pipeline import LanguagePipeline, load_language_pipeline
from models.language.reading import read_items
from models.language.registration import register_language

CPU = torch.device("cpu")
ITEMS = [ChoiceItem(f"What is {word}? Answer:", (" A", " B", " C")) for word in ("blue", "x", "the sea")]


@pytest.fixture(scope="module")
def few_shot(tiny):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(20, tiny.width, generator=generator)
    confidences = torch.rand(20, generator=generator)
    rows = DomainRows(confidences, embeddings, confidences > 0.5, torch.arange(20) % 2)
    return FewShotRecalibrator.fit(rows, FewShotPlan(shown=3, steps=3, directions=4))


@pytest.fixture(scope="module")
def store(tiny_source, tmp_path_factory):
    made = CheckpointStore(tmp_path_factory.mktemp("store"))
    register_language(made, "tiny", tiny_source)
    return made


def with_tensors(version, tensors, prefix="float32.few_shot."):
    return Version(version.manifest, {prefix + name: value for name, value in tensors.items()}, version.golden)


def test_a_published_recalibrator_gives_the_same_curves(store, few_shot):
    base = store.read("tiny", 1)
    plain = load_language_pipeline(store, base, CPU, precision="float32")
    assert plain.few_shot is None
    version = store.read("tiny", store.publish("tiny", with_tensors(base, few_shot.state)))
    loaded = load_language_pipeline(store, version, CPU, precision="float32", loaded=plain)
    answers = loaded.answer(ITEMS, Readout.NEXT_TOKEN)
    shown = torch.tensor(answers.answers.confidence), torch.tensor(answers.embeddings)
    assert torch.equal(loaded.few_shot.curve(*shown), few_shot.curve(*shown))
    assert load_language_pipeline(store, version, CPU, precision="bfloat16").few_shot is None, "it is of float32"


def test_answers_keep_what_was_read_where_a_slice_could_use_it(tiny, few_shot):
    plain = LanguagePipeline(tiny, PromptSpec(Readout.NEXT_TOKEN), None, {})
    able = LanguagePipeline(tiny, plain.prompts, None, {}, few_shot=few_shot)
    found, without = (each.answer(ITEMS, Readout.NEXT_TOKEN) for each in (able, plain))
    features = read_items(tiny, ITEMS, Readout.NEXT_TOKEN).outputs.require_features()
    assert found.embeddings == pytest.approx(features.numpy(), abs=1e-5)
    assert without.embeddings is None
    assert able.answer(ITEMS, Readout.TEXT).embeddings is None
    assert found.answers.confidence.tolist() == without.answers.confidence.tolist()
    assert able.golden_rows((1, 2)) == plain.golden_rows((1, 2))


def test_a_recalibrator_of_another_network_is_not_loaded(store, few_shot):
    state = few_shot.state | {"mean": torch.zeros(5)}
    version = with_tensors(store.read("tiny", 1), state)
    with pytest.raises(CheckpointError, match="few_shot: expected finite tensors"):
        load_language_pipeline(store, replace(version), CPU, precision="float32")
