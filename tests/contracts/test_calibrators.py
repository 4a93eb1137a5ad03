"""What every calibrator keeps to."""

import math
from dataclasses import replace

import pytest
import torch

from models.calibration import CALIBRATORS, calibrator
from models.core.errors import CheckpointError, MissingOutputError, UnfittedError, UnknownNameError
from models.core.method import Dimensions
from models.core.outputs import LinearHead, ModelOutputs, Needs
from models.metrics.proper import negative_log_likelihood

pytestmark = pytest.mark.parametrize("name", CALIBRATORS)


# Those that bound a confidence by the number of rows, or give one to a whole bin, can lose likelihood on the fit rows.
LOST_ON_FIT_ROWS = {"histogram": 0.06, "isotonic": 0.004}


def scaled(outputs, factor, bias=0.0):
    """The outputs of the network whose head is larger by `factor`, and prefers the last classes by up to `bias`."""
    tilt = torch.linspace(0, bias, len(outputs.head.bias))
    head = LinearHead(factor * outputs.head.weight, factor * outputs.head.bias + tilt)
    return replace(outputs, logits=head.logits(outputs.features), head=head)


def far_too_confident(outputs):
    """The outputs of a network whose logits are six times too large and biased.

    Without the bias its accuracy is so high that a guard over a few held-out rows keeps its head on some machines.
    """
    return scaled(outputs, 6, bias=60)


def made_up(logits, mask=None):
    """Outputs with these logits (N, C), N <= 64: row i has feature i alone, weighted by its logits."""
    features = torch.eye(len(logits), 64)
    head = LinearHead((features.T @ logits).T, torch.zeros(logits.shape[1]))
    return ModelOutputs(logits, features=features, head=head, mask=mask)


@pytest.fixture
def fit_rows(digits):
    """Held-out digits and a far too confident network."""
    images, labels = digits.calibration
    return far_too_confident(digits.outputs(images)), labels


@pytest.fixture
def method(name, digits, fit_rows):
    return CALIBRATORS[name](digits.dimensions).fit(*fit_rows)


def test_has_the_key_of_the_registry_and_needs(name, method):
    assert calibrator(name) is CALIBRATORS[name]
    assert method.name == name
    assert method.needs


def test_likelihood_of_the_fit_rows_improves(name, method, fit_rows):
    outputs, labels = fit_rows
    before = negative_log_likelihood(outputs.logits, labels)
    assert negative_log_likelihood(method.transform(outputs).calibrated, labels) < before - 0.02


@pytest.mark.parametrize("factor", [0.2, 1.0])
def test_likelihood_of_the_fit_rows_is_hardly_ever_worse(name, digits, factor):
    images, labels = digits.calibration
    outputs = scaled(digits.outputs(images), factor)
    calibrated = CALIBRATORS[name](digits.dimensions).fit(outputs, labels).transform(outputs).calibrated
    allowed = negative_log_likelihood(outputs.logits, labels) + LOST_ON_FIT_ROWS.get(name, 1e-6)
    assert negative_log_likelihood(calibrated, labels) <= allowed


def test_likelihood_of_other_rows_improves(name, method, digits):
    images, labels = digits.test
    outputs = far_too_confident(digits.outputs(images))
    calibrated = method.transform(outputs).calibrated
    assert negative_log_likelihood(calibrated, labels) < negative_log_likelihood(outputs.logits, labels) - 0.02


def test_keeps_the_networks_own_outputs(name, method, digits):
    outputs = digits.outputs(digits.test[0])
    logits, features, weight = outputs.logits.clone(), outputs.features.clone(), outputs.head.weight.clone()
    calibrated = method.transform(outputs)
    assert torch.equal(calibrated.logits, logits)
    assert calibrated.features is outputs.features
    assert calibrated.head is outputs.head
    assert torch.equal(outputs.features, features)
    assert torch.equal(outputs.head.weight, weight)
    assert (calibrated.calibrated.shape, calibrated.calibrated.dtype) == (logits.shape, torch.float32)
    assert not calibrated.calibrated.requires_grad


def test_each_row_depends_on_itself_alone(name, method, digits):
    outputs = digits.outputs(digits.test[0])
    together = method.transform(outputs).calibrated
    singles = [method.transform(outputs.take(torch.tensor([row]))).calibrated for row in range(len(outputs))]
    torch.testing.assert_close(together, torch.cat(singles), rtol=1e-5, atol=2e-5)

    first = torch.arange(len(outputs)).remainder(2) == 0
    others = outputs.take(torch.where(first, torch.arange(len(outputs)), 1))
    assert torch.equal(method.transform(others).calibrated[first], together[first])


def test_fitting_is_repeatable(name, method, digits, fit_rows):
    again = CALIBRATORS[name](digits.dimensions).fit(*fit_rows).state()
    assert all(torch.equal(again[key], value) for key, value in method.state().items())


def test_unfitted_refuses(name, digits):
    unfitted = CALIBRATORS[name](digits.dimensions)
    for use in (unfitted.state, lambda: unfitted.transform(made_up(torch.zeros(1, 10)))):
        with pytest.raises(UnfittedError, match=name):
            use()


def test_a_saved_calibrator_gives_the_same_numbers(name, method, digits):
    again = CALIBRATORS[name](digits.dimensions).load_state(method.state())
    outputs = digits.outputs(digits.test[0])
    assert torch.equal(again.transform(outputs).calibrated, method.transform(outputs).calibrated)


def test_the_state_is_float32_and_no_view_of_the_calibrators_own(name, method, digits):
    outputs = digits.outputs(digits.test[0])
    before = method.transform(outputs).calibrated
    for value in method.state().values():
        assert value.dtype == torch.float32
        value.fill_(99)
    assert torch.equal(method.transform(outputs).calibrated, before)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (3, [0, 1], r"labels must be \(3,\)"),
        (2, [[0], [1]], r"labels must be \(2,\)"),
        (2, [0, 10], r"0\.\.9, got 0\.\.10"),
        (2, [-1, 3], r"0\.\.9, got -1\.\.3"),
        (0, [], "zero rows"),
        (2, [0.0, 1.0], "int64"),
    ],
)
def test_bad_labels_are_refused(name, digits, rows, labels, message):
    logits = torch.zeros(rows, 10)
    dtype = torch.float32 if labels and isinstance(labels[0], float) else torch.int64
    with pytest.raises(ValueError, match=message):
        CALIBRATORS[name](digits.dimensions).fit(made_up(logits), torch.tensor(labels, dtype=dtype))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_refused(name, digits, value):
    logits = torch.zeros(4, 10)
    logits[2, 3] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        CALIBRATORS[name](digits.dimensions).fit(made_up(logits), torch.zeros(4, dtype=torch.int64))


def test_another_number_of_classes_is_refused(name, digits, method):
    with pytest.raises(ValueError, match="10 classes"):
        CALIBRATORS[name](digits.dimensions).fit(made_up(torch.zeros(4, 7)), torch.zeros(4, dtype=torch.int64))
    if any(10 in shape for shape in method.state_shapes().values()):
        with pytest.raises(ValueError, match="10 classes"):
            method.transform(made_up(torch.zeros(4, 7)))


def test_a_state_for_another_number_of_classes_is_refused(name, method):
    other = CALIBRATORS[name](Dimensions(classes=7, features=64))
    if other.state_shapes() == method.state_shapes():
        assert other.load_state(method.state()).fitted
        return
    with pytest.raises(CheckpointError, match=name):
        other.load_state(method.state())


DEGENERATE = {
    "all rows right": (10 * torch.eye(10), torch.arange(10)),
    "all rows wrong": (10 * torch.eye(10), (torch.arange(10) + 1) % 10),
    "one row": (torch.linspace(-3, 3, 10)[None], torch.tensor([9])),
    "one class only": (torch.linspace(-3, 3, 10).repeat(5, 1), torch.full((5,), 4)),
    "equal logits": (torch.full((6, 10), 2.5), torch.arange(6)),
    "huge logits": (1e4 * torch.eye(10), torch.arange(10)),
    "tiny logits": (1e-6 * torch.eye(10), torch.arange(10)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_rows_give_finite_probabilities(name, digits, case):
    logits, labels = DEGENERATE[case]
    outputs = made_up(logits)
    method = CALIBRATORS[name](digits.dimensions).fit(outputs, labels)
    assert all(bool(value.isfinite().all()) for value in method.state().values())
    calibrated = method.transform(digits.outputs(digits.test[0]))
    assert bool(calibrated.calibrated_log_probabilities().isfinite().all())
    # What one row that is all right or all wrong may cost under a confidence bounded by the number of rows.
    lost = math.log((len(labels) + 2) / (len(labels) + 1)) if name in LOST_ON_FIT_ROWS else 0
    allowed = negative_log_likelihood(logits, labels) + lost + 1e-5
    assert negative_log_likelihood(method.transform(outputs).calibrated, labels) <= allowed


def test_absent_choices_do_not_move_the_fit(name, method, digits, fit_rows):
    outputs, labels = fit_rows
    if not method.takes_masks:
        return
    mask = torch.rand(outputs.logits.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[torch.arange(len(labels)), labels] = True
    fitted = [
        CALIBRATORS[name](digits.dimensions)
        .fit(replace(outputs, logits=outputs.logits.masked_fill(~mask, absent), mask=mask), labels)
        .state()
        for absent in (0.0, 50.0)
    ]
    assert all(torch.equal(value, fitted[1][key]) for key, value in fitted[0].items())


def test_a_label_on_an_absent_choice_is_refused(name, digits):
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[1, 3] = False
    with pytest.raises(ValueError, match="choice"):
        CALIBRATORS[name](digits.dimensions).fit(made_up(torch.zeros(2, 10), mask), torch.tensor([0, 3]))


def test_masks_are_taken_or_refused_as_declared(name, method, digits):
    outputs = digits.outputs(digits.test[0])
    mask = torch.arange(10).expand_as(outputs.logits) != (outputs.logits.argmax(dim=1, keepdim=True) + 1) % 10
    ragged = replace(outputs, logits=outputs.logits.masked_fill(~mask, 50), mask=mask)
    if method.takes_masks:
        calibrated = method.transform(ragged)
        assert bool(calibrated.calibrated.isfinite().all())
        assert bool((calibrated.calibrated_log_probabilities().exp()[~mask] == 0).all())
        return
    for use in (lambda: method.transform(ragged), lambda: type(method)(digits.dimensions).fit(ragged, digits.test[1])):
        with pytest.raises(ValueError, match="with temperature"):
            use()


def test_what_is_declared_is_needed_and_nothing_else(name, method, fit_rows):
    outputs, labels = fit_rows
    parts = {Needs.FEATURES: "features", Needs.HEAD: "head"}
    for need, part in parts.items():
        without = replace(outputs, **{part: None})
        if need in method.needs:
            for use in (
                lambda given=without: method.transform(given),
                lambda given=without: type(method)(method.dimensions).fit(given, labels),
            ):
                with pytest.raises(MissingOutputError, match=need.name):
                    use()
        else:
            assert torch.equal(method.transform(without).calibrated, method.transform(outputs).calibrated)


def test_the_global_random_state_stays(name, digits, fit_rows):
    before = torch.get_rng_state()
    CALIBRATORS[name](digits.dimensions).fit(*fit_rows)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(UnknownNameError, match=name):
        calibrator("hope")
