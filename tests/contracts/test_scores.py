"""What every uncertainty score keeps to, on a network really trained on handwritten digits."""

import copy
from dataclasses import fields, replace

import pytest
import torch
from sklearn.metrics import roc_auc_score

from models.core.errors import CheckpointError, MissingOutputError, UnfittedError, UnknownNameError
from models.core.method import Kind
from models.core.outputs import ModelOutputs, Needs
from models.uncertainty import READY, SCORES, score
from tests.fixtures.models import take
from tests.fixtures.trained_head import degraded, trained_on_digits

pytestmark = pytest.mark.parametrize("name", SCORES)

# Chance that noise scores above a test digit. Measured with this network: uniform .91 to .96, shuffled .86 to .89,
# inverted .77 (energy) to .87. Other small networks do worse, energy most of all: these kinds are where it works.
NOISE_AUROC = {"uniform": 0.85, "shuffled": 0.8, "inverted": 0.7}

# The same for digits of which less can be seen, which is what an aleatoric score is for: it is no detector of noise.
DEGRADED_AUROC = {"blurred": 0.9, "left half": 0.75, "centre": 0.85}

# Chance that a misread digit scores above one that is read well; 14 of 500 are misread.
MISREAD_AUROC = {Kind.TOTAL: 0.8, Kind.EPISTEMIC: 0.8, Kind.ALEATORIC: 0.7}

PARTS = {Needs.CALIBRATED: "calibrated", Needs.FEATURES: "features"}


@pytest.fixture(scope="module")
def trained(digits):
    """The states of the scores that have to be trained."""
    return {"loss_rank": trained_on_digits(digits)}


@pytest.fixture
def method(name, digits, trained):
    """The score, trained where it has to be."""
    method = SCORES[name](digits.dimensions)
    return method if method.fitted else method.load_state(trained[name])


@pytest.fixture
def outputs(digits):
    images, _ = digits.test
    return digits.calibrated(images)


@pytest.fixture
def ragged(outputs):
    """The same rows, each with 2 to 10 of the choices, and absurd numbers where a choice is absent."""
    generator = torch.Generator().manual_seed(0)
    count = torch.randint(2, 11, (len(outputs), 1), generator=generator)
    mask = torch.rand(outputs.logits.shape, generator=generator).argsort(dim=1) < count
    absent = {part: getattr(outputs, part).masked_fill(~mask, 1e4) for part in ("logits", "calibrated")}
    return replace(outputs, mask=mask, **absent)


def test_has_the_key_of_the_registry_a_kind_and_needs(name, method):
    assert score(name) is SCORES[name]
    assert method.name == name
    assert isinstance(method.kind, Kind)
    assert method.needs


def test_gives_one_finite_float_an_input(name, method, outputs, ragged):
    for given in (outputs, ragged):
        values = method.score(given)
        assert (values.shape, values.dtype) == ((len(outputs),), torch.float32)
        assert bool(values.isfinite().all())
        assert not values.requires_grad


def test_is_finite_for_a_certain_and_for_an_ignorant_network(name, method, digits):
    logits = torch.zeros(3, 10)
    logits[0, 4], logits[1, 4] = 1e4, -1e4
    extreme = ModelOutputs(logits, calibrated=logits, features=torch.ones(3, digits.dimensions.features))
    assert bool(method.score(extreme).isfinite().all())


def test_a_batch_gives_what_single_inputs_give(name, method, outputs, ragged):
    for given in (outputs, ragged):
        singles = [method.score(take(given, [index])) for index in range(len(given))]
        torch.testing.assert_close(method.score(given), torch.cat(singles), rtol=1e-6, atol=1e-6)


def test_is_repeatable(name, method, outputs):
    assert torch.equal(method.score(outputs), method.score(outputs))


def test_the_order_of_rows_does_not_matter(name, method, outputs):
    order = torch.randperm(len(outputs), generator=torch.Generator().manual_seed(0))
    shuffled = method.score(take(outputs, order))
    torch.testing.assert_close(shuffled, method.score(outputs)[order], rtol=1e-6, atol=1e-6)


def test_inputs_of_the_kind_that_it_is_for_score_higher_than_digits(name, method, digits, outputs):
    if method.kind is Kind.ALEATORIC:
        limits, worse = DEGRADED_AUROC, degraded(digits.test[0])
    else:
        limits, worse = NOISE_AUROC, digits.noise
    clean = method.score(outputs)
    for kind, limit in limits.items():
        found = method.score(digits.calibrated(worse[kind]))
        is_worse = [0] * len(clean) + [1] * len(found)
        assert roc_auc_score(is_worse, torch.cat([clean, found])) > limit, kind
        assert found.median() > clean.median(), kind


def test_misread_digits_score_higher_than_well_read_ones(name, method, digits, outputs):
    _, labels = digits.test
    wrong = outputs.logits.argmax(dim=1) != labels
    assert wrong.sum() >= 10
    assert roc_auc_score(wrong, method.score(outputs)) > MISREAD_AUROC[method.kind]


def test_an_absent_choice_counts_for_nothing(name, method, ragged):
    changed = {part: getattr(ragged, part).masked_fill(~ragged.mask, -777.0) for part in ("logits", "calibrated")}
    assert torch.equal(method.score(ragged), method.score(replace(ragged, **changed)))


def test_a_full_mask_is_no_mask(name, method, outputs):
    full = replace(outputs, mask=torch.ones_like(outputs.logits, dtype=torch.bool))
    assert torch.equal(method.score(full), method.score(outputs))


def test_outputs_that_were_not_prepared_are_named(name, method, outputs):
    for part in [part for need, part in PARTS.items() if need in method.needs]:
        with pytest.raises(MissingOutputError, match=part):
            method.score(replace(outputs, **{part: None}))


def test_reads_nothing_that_it_does_not_declare(name, method, outputs):
    undeclared = {part: None for need, part in PARTS.items() if need not in method.needs}
    assert torch.equal(method.score(replace(outputs, **undeclared)), method.score(outputs))
    if Needs.LOGITS not in method.needs:
        spoilt = replace(outputs, logits=torch.full_like(outputs.logits, torch.nan))
        assert torch.equal(method.score(spoilt), method.score(outputs))


def test_an_unfitted_score_refuses(name, digits, outputs):
    method = SCORES[name](digits.dimensions)
    if method.fitted:  # by constants that a fit may replace, or by having none
        assert method.state().keys() == method.state_shapes().keys()
        return
    for use in (method.state, lambda: method.score(outputs)):
        with pytest.raises(UnfittedError, match=name):
            use()


def test_a_saved_score_gives_the_same_numbers(name, method, digits, outputs):
    again = SCORES[name](digits.dimensions).load_state(method.state())
    assert torch.equal(again.score(outputs), method.score(outputs))


def test_is_ready_when_it_needs_no_training(name, digits):
    assert (name in READY) is SCORES[name](digits.dimensions).fitted


def test_an_unknown_tensor_is_refused(name, digits):
    with pytest.raises(CheckpointError, match=name):
        SCORES[name](digits.dimensions).load_state({"unheard_of": torch.zeros(1)})


def test_network_and_outputs_stay_as_they_are(name, method, digits, outputs):
    network = digits.network
    parameters = copy.deepcopy(network.state_dict())
    parts = [field.name for field in fields(ModelOutputs) if field.name != "head"]  # the head is the network's own
    before = {part: copy.deepcopy(getattr(outputs, part)) for part in parts}

    method.score(outputs)

    assert all(torch.equal(value, parameters[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training or module._forward_hooks or module._backward_hooks for module in network.modules())
    for part, value in before.items():
        assert value is getattr(outputs, part) is None or torch.equal(value, getattr(outputs, part))


def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(UnknownNameError, match=name):
        score("certainty")
