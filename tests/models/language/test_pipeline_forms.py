"""The forms of the epistemic score of a language model: of its last layers, or of the last one alone."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.answers import FAST, LAST_LAYER
from models.core.checkpoint import Version
from models.core.errors import CheckpointError
from models.core.golden import GOLDEN_SEEDS
from models.core.prompt_spec import PromptSpec, Readout
from models.language.calibrators import DIRECTION, prompt_calibrator
from models.language.choices import score_next_token
from models.language.continuations import ChoiceItem
from models.language.pipeline import LanguagePipeline, assemble_language, language_dimensions
from models.language.reading import ResidualStep, read_items
from models.training.prompts.version import reference_on
from models.uncertainty import score

NAME = "epistemic"
ITEMS = [
    ChoiceItem("What is the colour of the sea? Answer:", (" A", " B", " C", " D")),
    ChoiceItem("Answer:", (" B", " C")),
    ChoiceItem("The sand is", (" A", " D", " C")),
]


def pipeline(tiny, *, gradients, golden=None, calibrator=None):
    """With references on the items, which were read with gradients or without."""
    found = read_items(tiny, ITEMS, Readout.NEXT_TOKEN, gradients=gradients).outputs
    outputs = found.with_calibrated(found.logits)
    scored = reference_on(outputs, score(NAME)(language_dimensions(tiny)), tiny.device)
    return LanguagePipeline(tiny, PromptSpec(Readout.NEXT_TOKEN), calibrator, {NAME: scored}, golden)


def asked(made, readout=Readout.NEXT_TOKEN, **options):
    """Its form, values and percentiles."""
    answers = made.answer(ITEMS, readout, scores=[NAME], **options).answers
    return answers.forms[NAME], *answers.scores[NAME]


def expected(tiny, form):
    outputs, method = score_next_token(tiny, ITEMS, gradients=True), score(NAME)(language_dimensions(tiny))
    values = method.of_layers(outputs.gradients) if form == FAST else method.of_last_layer(outputs)
    return pytest.approx(values.numpy(), rel=1e-3)


def test_each_form_has_values_and_percentiles_of_its_own(tiny):
    made = pipeline(tiny, gradients=True)
    fast, cheap = asked(made), asked(made, cheap=True)
    for (form, values, percentiles), name in ((fast, FAST), (cheap, LAST_LAYER)):
        assert form == name
        assert values == expected(tiny, name)
        assert percentiles == pytest.approx([(values < value).mean() for value in values], abs=0.01)
    assert not np.allclose(fast[1], cheap[1], rtol=0.1)


def test_a_version_of_the_last_layer_alone_stays_so_beside_one_of_several(tiny):
    golden = {}
    several, one = (pipeline(tiny, gradients=gradients, golden=golden) for gradients in (True, False))
    assert (several.fast_scores, one.fast_scores) == ((NAME,), ())
    rows = [each.golden_rows(GOLDEN_SEEDS) for each in (several, one)]
    assert len(golden) == 1, "both took the same readings"
    assert rows[0] != rows[1]
    form, values, _ = asked(one)
    assert form == LAST_LAYER
    assert values == expected(tiny, LAST_LAYER)


def test_choices_read_as_texts_have_the_last_layers_form_and_no_percentile(tiny):
    form, values, percentiles = asked(pipeline(tiny, gradients=True), Readout.TEXT)
    assert form == LAST_LAYER
    assert np.isfinite(values).all()
    assert all(map(math.isnan, percentiles))


def test_under_a_step_of_the_residual_stream_the_form_is_that_of_the_last_layer(tiny):
    vector = torch.nn.functional.normalize(torch.ones(tiny.width), dim=0)
    dimensions, prompts = language_dimensions(tiny), PromptSpec(Readout.NEXT_TOKEN)
    stepping = prompt_calibrator(DIRECTION, dimensions, prompts).set(ResidualStep(vector, 3, 1.0))
    form, values, _ = asked(pipeline(tiny, gradients=False, calibrator=stepping))
    assert form == LAST_LAYER
    assert values == expected(tiny, LAST_LAYER)


def test_a_model_without_known_gradients_is_fitted_by_its_last_layer(tiny):
    blind = replace(tiny, gradients=None)
    form, values, _ = asked(pipeline(blind, gradients=True))
    assert form == LAST_LAYER
    assert values == expected(tiny, LAST_LAYER)


def test_a_version_of_gradients_that_are_not_known_here_is_refused(tiny):
    scored = pipeline(tiny, gradients=True).scores[NAME]
    tensors = {f"float32.scores.{NAME}.{name}": value for name, value in scored.state().items()}
    manifest = SimpleNamespace(prompts=PromptSpec(Readout.NEXT_TOKEN), calibrator=None, scores=(NAME,))
    version = Version(manifest, tensors, None)
    assert assemble_language(tiny, version).fast_scores == (NAME,)
    with pytest.raises(CheckpointError, match="not known here of llama: calibrate it again"):
        assemble_language(replace(tiny, gradients=None), version)
