"""What every calibrator keeps to."""

import pytest
import torch

from models.calibration import CALIBRATORS, calibrator
from models.core.errors import CheckpointError, UnfittedError, UnknownNameError
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.metrics.proper import negative_log_likelihood

pytestmark = pytest.mark.parametrize("name", CALIBRATORS)


@pytest.fixture
def fit_rows(digits):
    """Held-out digits and an overconfident network: its logits tripled."""
    images, labels = digits.calibration
    return ModelOutputs(3 * digits.outputs(images).logits), labels


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
def test_likelihood_of_the_fit_rows_is_never_worse(name, digits, factor):
    images, labels = digits.calibration
    outputs = ModelOutputs(factor * digits.outputs(images).logits)
    calibrated = CALIBRATORS[name](digits.dimensions).fit(outputs, labels).transform(outputs).calibrated
    assert negative_log_likelihood(calibrated, labels) <= negative_log_likelihood(outputs.logits, labels) + 1e-6


def test_likelihood_of_other_rows_improves(name, method, digits):
    images, labels = digits.test
    outputs = ModelOutputs(3 * digits.outputs(images).logits)
    calibrated = method.transform(outputs).calibrated
    assert negative_log_likelihood(calibrated, labels) < negative_log_likelihood(outputs.logits, labels) - 0.02


def test_keeps_the_networks_own_outputs(name, method, digits):
    outputs = digits.outputs(digits.test[0])
    logits = outputs.logits.clone()
    calibrated = method.transform(outputs)
    assert torch.equal(calibrated.logits, logits)
    assert calibrated.features is outputs.features
    assert (calibrated.calibrated.shape, calibrated.calibrated.dtype) == (logits.shape, torch.float32)
    assert not calibrated.calibrated.requires_grad


def test_each_row_depends_on_itself_alone(name, method, digits):
    logits = digits.outputs(digits.test[0]).logits
    singles = [method.transform(ModelOutputs(row[None])).calibrated for row in logits]
    assert torch.equal(method.transform(ModelOutputs(logits)).calibrated, torch.cat(singles))


def test_fitting_is_repeatable(name, method, digits, fit_rows):
    again = CALIBRATORS[name](digits.dimensions).fit(*fit_rows).state()
    assert all(torch.equal(again[key], value) for key, value in method.state().items())


def test_unfitted_refuses(name, digits):
    unfitted = CALIBRATORS[name](digits.dimensions)
    for use in (unfitted.state, lambda: unfitted.transform(ModelOutputs(torch.zeros(1, 10)))):
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
        CALIBRATORS[name](digits.dimensions).fit(ModelOutputs(logits), torch.tensor(labels, dtype=dtype))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_refused(name, digits, value):
    logits = torch.zeros(4, 10)
    logits[2, 3] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        CALIBRATORS[name](digits.dimensions).fit(ModelOutputs(logits), torch.zeros(4, dtype=torch.int64))


def test_another_number_of_classes_is_refused(name, digits, method):
    with pytest.raises(ValueError, match="10 classes"):
        CALIBRATORS[name](digits.dimensions).fit(ModelOutputs(torch.zeros(4, 7)), torch.zeros(4, dtype=torch.int64))
    if any(shape == (10,) for shape in method.state_shapes().values()):
        with pytest.raises(ValueError, match="10 classes"):
            method.transform(ModelOutputs(torch.zeros(4, 7)))


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
    method = CALIBRATORS[name](digits.dimensions).fit(ModelOutputs(logits), labels)
    assert all(bool(value.isfinite().all()) for value in method.state().values())
    calibrated = method.transform(digits.outputs(digits.test[0]))
    assert bool(calibrated.calibrated_log_probabilities().isfinite().all())
    assert negative_log_likelihood(method.transform(ModelOutputs(logits)).calibrated, labels) <= (
        negative_log_likelihood(logits, labels) + 1e-5
    )


def test_absent_choices_do_not_move_the_fit(name, digits, fit_rows):
    outputs, labels = fit_rows
    mask = torch.rand(outputs.logits.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[torch.arange(len(labels)), labels] = True
    fitted = [
        CALIBRATORS[name](digits.dimensions)
        .fit(ModelOutputs(outputs.logits.masked_fill(~mask, absent), mask=mask), labels)
        .state()
        for absent in (0.0, 50.0)
    ]
    assert all(torch.equal(value, fitted[1][key]) for key, value in fitted[0].items())


def test_a_label_on_an_absent_choice_is_refused(name, digits):
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[1, 3] = False
    with pytest.raises(ValueError, match="choice"):
        CALIBRATORS[name](digits.dimensions).fit(ModelOutputs(torch.zeros(2, 10), mask=mask), torch.tensor([0, 3]))


def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(UnknownNameError, match=name):
        calibrator("hope")
