import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.answers import ScoredReference
from models.core.checkpoint import Version
from models.core.errors import CheckpointError, DataError, UnknownNameError
from models.core.golden import GOLDEN_SEEDS, Golden
from models.core.prompt_spec import PromptSpec, Readout
from models.core.reference import Reference
from models.core.store import CheckpointStore
from models.language.calibrators import DIRECTION, TASK_TEMPERATURE, prompt_calibrator
from models.language.choices import score_next_token, score_texts
from models.language.continuations import MOST_CHOICES, ChoiceItem
from models.language.pipeline import (
    LanguagePipeline,
    assemble_language,
    language_dimensions,
    load_language_pipeline,
    same_language,
)
from models.language.reading import ResidualStep, read_items, tokens_of
from models.language.registration import register_language
from models.uncertainty import READY, score

CPU = torch.device("cpu")
ITEMS = [
    ChoiceItem("What is the colour of the sea? Answer:", (" A", " B", " C", " D")),
    ChoiceItem("Answer:", (" B", " C")),
    ChoiceItem("The sand is", (" A", " D", " C")),
]


@pytest.fixture(scope="module")
def store(tiny_source, tmp_path_factory):
    made = CheckpointStore(tmp_path_factory.mktemp("store"))
    register_language(made, "tiny", tiny_source)
    made.activate("tiny", 1, actor="test", reason="first")
    return made


@pytest.fixture(scope="module")
def stored(store):
    return store.read("tiny", 1)


def scored(tiny):
    """Every score that needs no training, against a reference of the items themselves."""
    dimensions = language_dimensions(tiny)
    plain = LanguagePipeline(tiny, PromptSpec(Readout.NEXT_TOKEN), None, {})
    outputs = plain.answer_outputs
    found = read_items(tiny, ITEMS, Readout.NEXT_TOKEN).outputs
    assert outputs(found).confidence.shape == (3,)
    made = {name: score(name)(dimensions) for name in READY}
    values = {name: each.score(found.with_calibrated(found.logits)) for name, each in made.items()}
    return {name: ScoredReference(each, Reference.fit(values[name])) for name, each in made.items()}


def pipeline(tiny, name=None, set_up=lambda made: made, tasks=()):
    prompts = PromptSpec(Readout.NEXT_TOKEN, tasks)
    made = None if name is None else set_up(prompt_calibrator(name, language_dimensions(tiny), prompts))
    return LanguagePipeline(tiny, prompts, made, scored(tiny))


def test_a_registered_model_is_a_whole_version_that_answers(store, stored):
    store.verify("tiny", 1)
    assert stored.manifest.prompts == PromptSpec(Readout.NEXT_TOKEN)
    assert (stored.manifest.classes, stored.manifest.scores) == ((), ())
    loaded = load_language_pipeline(store, stored, CPU, precision="float32")
    found = loaded.answer(ITEMS, Readout.NEXT_TOKEN, top_k=2)
    assert not found.calibrated
    assert found.answers.top_index.shape == (3, 2)


def test_registering_the_same_again_gives_the_same_version(store, tiny_source):
    assert register_language(store, "tiny", tiny_source) == 1
    assert register_language(store, "same-weights", tiny_source) == 1
    assert len(list((store.root / "_weights").iterdir())) == 1


def test_damaged_weights_are_not_served(store, stored, tmp_path):
    other = CheckpointStore(tmp_path)
    other.add_language_folder(store.language_folder(stored.manifest.backbone.sha256))
    folder = tmp_path / "_weights" / stored.manifest.backbone.sha256
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="changed or damaged"):
        load_language_pipeline(other, stored, CPU)


def test_golden_questions_are_asked_again_before_a_version_serves(store, stored):
    rows = stored.golden.rows["float32"]
    changed = Golden(GOLDEN_SEEDS, {"float32": (replace(rows[0], confidence=rows[0].confidence / 2), *rows[1:])})
    with pytest.raises(CheckpointError, match="golden input 1"):
        load_language_pipeline(store, Version(stored.manifest, {}, changed), CPU, precision="float32")


def test_versions_of_one_network_share_it_and_its_golden_readings(store, stored):
    first = load_language_pipeline(store, stored, CPU, precision="float32")
    state = {"float32.calibrator.temperature": torch.tensor(2.0)}
    hotter = replace(stored.manifest, calibrator="temperature")
    assert same_language(stored.manifest, hotter)
    second = assemble_language(first.language, Version(hotter, state, stored.golden), first.golden)
    assert (second.language, second.golden) == (first.language, first.golden)
    ours, theirs = (each.answer(ITEMS, Readout.NEXT_TOKEN).answers for each in (second, first))
    assert (ours.confidence < theirs.confidence).all()
    assert (ours.raw_confidence == theirs.raw_confidence).all()


@pytest.mark.parametrize("readout", Readout)
def test_probabilities_are_those_of_the_choices_read_alone(tiny, readout):
    found = pipeline(tiny).answer(ITEMS, readout, top_k=MOST_CHOICES).answers
    for row, item in enumerate(ITEMS):
        alone = pipeline(tiny).answer([item], readout).answers
        assert found.confidence[row] == pytest.approx(alone.confidence[0], abs=1e-5)
        assert found.top_probability[row, len(item.choices) :].sum() == 0, "a choice it does not have"
        assert set(found.top_index[row, : len(item.choices)]) == set(range(len(item.choices)))


def test_the_two_readouts_are_those_of_the_library(tiny):
    own = score_next_token(tiny, ITEMS).log_probabilities().exp().max(dim=1)
    found = pipeline(tiny).answer(ITEMS, Readout.NEXT_TOKEN).answers
    assert found.raw_confidence == pytest.approx(own.values.numpy(), abs=1e-6)
    assert list(found.class_index) == own.indices.tolist()
    whole = score_texts(tiny, ITEMS).log_probabilities().exp().max(dim=1)
    assert pipeline(tiny).answer(ITEMS, Readout.TEXT).answers.confidence == pytest.approx(whole.values.numpy())


def test_scores_are_of_the_items_and_have_percentiles(tiny):
    found = pipeline(tiny).answer(ITEMS, Readout.NEXT_TOKEN, scores=READY).answers.scores
    assert set(found) == set(READY)
    for values, percentiles in found.values():
        assert percentiles == pytest.approx([(values < value).sum() / 3 for value in values])
    with pytest.raises(UnknownNameError):
        pipeline(tiny).answer(ITEMS, Readout.NEXT_TOKEN, scores=["loss_rank"])


def test_what_is_read_in_another_way_is_neither_calibrated_nor_compared(tiny):
    made = pipeline(tiny, "temperature", lambda each: each.load_state({"temperature": torch.tensor(3.0)}))
    fits, other = (made.answer(ITEMS, readout, scores=["entropy"]) for readout in (Readout.NEXT_TOKEN, Readout.TEXT))
    assert (fits.calibrated, other.calibrated) == (True, False)
    assert (other.answers.confidence == other.answers.raw_confidence).all()
    assert all(math.isnan(value) for value in other.answers.scores["entropy"][1])
    assert not any(math.isnan(value) for value in fits.answers.scores["entropy"][1])


def test_tasks_go_with_their_items(tiny):
    temperatures = {"temperatures": torch.tensor([4.0, 1.0])}
    made = pipeline(tiny, TASK_TEMPERATURE, lambda each: each.load_state(temperatures), ("hot",))
    found = made.answer(ITEMS, Readout.NEXT_TOKEN, ("hot", None, "cold")).answers
    assert found.confidence[0] < found.raw_confidence[0]
    assert found.confidence[1:] == pytest.approx(found.raw_confidence[1:])


def test_a_step_of_the_residual_stream_changes_confidence_and_leaves_the_raw_one(tiny):
    vector = torch.nn.functional.normalize(torch.randn(tiny.width, generator=torch.Generator().manual_seed(0)), dim=0)
    stepped = pipeline(tiny, DIRECTION, lambda each: each.set(ResidualStep(vector, 3, 4.0)))
    still = pipeline(tiny, DIRECTION, lambda each: each.set(ResidualStep(vector, 3, 0.0)))
    plain = pipeline(tiny).answer(ITEMS, Readout.NEXT_TOKEN).answers
    none = still.answer(ITEMS, Readout.NEXT_TOKEN).answers
    assert none.confidence == pytest.approx(plain.confidence, abs=1e-6), "no step, no change"
    found = stepped.answer(ITEMS, Readout.NEXT_TOKEN).answers
    assert (abs(found.confidence - plain.confidence) > 1e-3).any()
    own = read_items(tiny, ITEMS, Readout.NEXT_TOKEN).outputs.log_probabilities().exp()
    assert found.raw_confidence == pytest.approx([float(own[row, at]) for row, at in enumerate(found.class_index)])
    assert stepped.golden_rows(GOLDEN_SEEDS) != still.golden_rows(GOLDEN_SEEDS)


def test_an_item_tells_how_many_tokens_it_is_or_what_is_wrong_with_it(tiny):
    item = ITEMS[0]
    prompt = len(tiny.encode(item.prompt))
    assert tokens_of(tiny, item, Readout.NEXT_TOKEN) == prompt
    assert tokens_of(tiny, item, Readout.TEXT) == prompt + len(item.choices)
    alone = len(tiny.encode("Answer:")) + len(item.choices)
    assert tokens_of(tiny, item, Readout.TEXT_UNCONDITIONAL) == prompt + len(item.choices) + alone
    with pytest.raises(DataError, match="not every choice is one token"):
        tokens_of(tiny, ChoiceItem("The sea is", (" blue water everywhere", " A")), Readout.NEXT_TOKEN)


def test_a_folder_without_weights_is_no_model(tmp_path):
    with pytest.raises(CheckpointError, match="missing"):
        CheckpointStore(tmp_path).language_folder("0" * 64)
    assert not Path(tmp_path / "_weights").exists()


def test_threads_that_share_a_network_do_not_feel_each_others_steps(tiny):
    vector = torch.nn.functional.normalize(torch.randn(tiny.width, generator=torch.Generator().manual_seed(0)), dim=0)
    made = [pipeline(tiny, DIRECTION, lambda each: each.set(ResidualStep(vector, 2, 6.0))), pipeline(tiny)]
    alone = [each.answer(ITEMS, Readout.NEXT_TOKEN).answers.confidence for each in made]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda turn: made[turn % 2].answer(ITEMS, Readout.NEXT_TOKEN).answers, range(200)))
    for turn, answers in enumerate(found):
        assert answers.confidence == pytest.approx(alone[turn % 2], abs=1e-6)
