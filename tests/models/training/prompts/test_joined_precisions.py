"""Two versions that were fitted in a precision each serve as one, and two that do not belong together are refused."""

from dataclasses import replace

import pytest
import torch

from models.core.errors import CheckpointError
from models.core.manifest import BackboneRecord
from models.core.prompt_spec import PromptSpec, Readout
from models.core.store import CheckpointStore
from models.language.causal_lm import load_causal_lm
from models.language.continuations import ChoiceItem
from models.language.pipeline import KIND, assemble_language, load_language_pipeline
from models.language.reading import read_items
from models.language.registration import unfitted_language
from models.training.build import Part
from models.training.labelled_outputs import LabelledOutputs
from models.training.prompts.joined_precisions import with_more_precisions
from models.training.prompts.version import PromptPart, PromptRecipe, fit_prompts, prompt_version

CPU = torch.device("cpu")
BOTH = ("bfloat16", "float32")
ROWS = 40
RECIPE = PromptRecipe("temperature", PromptSpec(Readout.NEXT_TOKEN), 0)


@pytest.fixture(scope="module")
def store(tiny_folder, tmp_path_factory):
    made = CheckpointStore(tmp_path_factory.mktemp("store"))
    made.add_language_folder(tiny_folder)
    return made


@pytest.fixture(scope="module")
def versions(store):
    """By precision."""
    (sha256,) = (path.name for path in (store.root / "_weights").iterdir())
    return {precision: fitted(store, sha256, precision) for precision in BOTH}


def part_of(model, role, first):
    names = tuple(f"row {number}" for number in range(first, first + ROWS))
    items = [ChoiceItem(f"{name}. Answer:", (" A", " B", " C")) for name in names]
    reading = read_items(model, items, Readout.NEXT_TOKEN, gradients=True)
    found = LabelledOutputs(reading.outputs, torch.arange(ROWS) % 3)
    return PromptPart(Part("made up", "0" * 64, role, names, found), reading, reading)


def fitted(store, sha256, precision):
    base = unfitted_language(store, BackboneRecord(KIND, "tiny", {}, sha256), (precision,))
    model = load_causal_lm(store.language_folder(sha256), CPU, precision)
    parts = part_of(model, "fit", 0), part_of(model, "report", ROWS)
    found = fit_prompts(RECIPE, assemble_language(model, base), parts[0], [parts[1]])
    version = prompt_version(base, RECIPE, {precision: found}, {})
    prompts = replace(RECIPE.prompts, token_temperatures={precision: 2.0})
    return replace(version, manifest=replace(version.manifest, prompts=prompts))


def test_each_precision_answers_as_it_was_fitted(store, versions):
    joined = with_more_precisions(*(versions[precision] for precision in BOTH))
    number = store.publish("joined", joined)
    version = store.read("joined", number)
    assert version.manifest.precisions == BOTH
    assert version.manifest.prompts.token_temperatures == dict.fromkeys(BOTH, 2.0)
    assert [row["precision"] for row in version.manifest.report["evaluations"]] == [BOTH[0]] * 2 + [BOTH[1]] * 2
    item = ChoiceItem("The sea is", (" A", " B"))
    for precision in BOTH:
        together = load_language_pipeline(store, version, CPU, precision=precision)
        alone = assemble_language(together.language, versions[precision])
        ours, theirs = (each.answer([item], Readout.NEXT_TOKEN, scores=each.scores) for each in (together, alone))
        assert ours.answers.confidence == theirs.answers.confidence
        assert ours.answers.scores == theirs.answers.scores


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, "precisions"),
        ({"precisions": ("float32",), "data": ()}, "data"),
        ({"precisions": ("float32",), "prompts": PromptSpec(Readout.TEXT)}, "prompts"),
        ({"precisions": ("float32",), "report": {"evaluations": [], "few_shot": {}}}, "few_shot"),
    ],
)
def test_what_does_not_belong_together_is_refused(versions, changed, named):
    version = versions["bfloat16"]
    other = replace(version, manifest=replace(version.manifest, **changed))
    with pytest.raises(CheckpointError, match=f"because of {named}: build both anew"):
        with_more_precisions(version, other)
