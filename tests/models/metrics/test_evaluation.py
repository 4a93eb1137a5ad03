import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.evaluation import Evaluation, evaluate
from tests.oracles import metrics as oracle
from tests.oracles import metrics_debiased, metrics_groups

# (logits, labels) of 1..6 rows and 3 classes; integer logits make ties in the prediction and in the confidence
ROWS = st.lists(
    st.tuples(st.lists(st.integers(-2, 2).map(float), min_size=3, max_size=3), st.integers(0, 2)),
    min_size=1,
    max_size=6,
)
LOGITS = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)) * 2
LABELS = torch.multinomial(LOGITS.softmax(dim=1), 1, generator=torch.Generator().manual_seed(1))[:, 0]


@settings(deadline=None, max_examples=15)
@given(rows=ROWS, bins=st.sampled_from([1, 4, 15]))
def test_report_equals_the_definitions(rows, bins):
    logits, labels = map(list, zip(*rows, strict=True))
    report = evaluate(torch.tensor(logits), torch.tensor(labels), bins=bins)
    # The softmax of the report, so that rows that tie there tie here; its own correctness is test_proper's matter.
    probabilities = torch.tensor(logits, dtype=torch.float64).softmax(dim=1).tolist()
    confidence = [max(row) for row in probabilities]
    uncertainty = [1 - value for value in confidence]
    wrong = [guess != label for guess, label in zip(oracle.predicted(logits), labels, strict=True)]
    correct = [not value for value in wrong]
    risks = oracle.risk_coverage(uncertainty, wrong)
    expected = {
        "rows": len(rows),
        "accuracy": sum(correct) / len(rows),
        "nll": oracle.negative_log_likelihood(logits, labels),
        "brier": oracle.brier_score(probabilities, labels),
        "ece": oracle.expected_calibration_error(confidence, correct, bins, "width"),
        "ece_mass": oracle.expected_calibration_error(confidence, correct, bins, "mass"),
        "mce": oracle.maximum_calibration_error(confidence, correct, bins, "width"),
        "aurc": sum(risks) / len(risks),
        "coverage_at_5_risk": oracle.coverage_at_risk(uncertainty, wrong, 0.05),
        "ece_debiased": metrics_debiased.debiased_calibration_error(confidence, correct, bins, "width"),
        "ece_mass_debiased": metrics_debiased.debiased_calibration_error(confidence, correct, bins, "mass"),
        "mean_confidence": sum(confidence) / len(rows),
        "bins": bins,
    }
    drawn = {name: getattr(report, name) for name in expected}
    drawn |= {"accuracy": report.accuracy.value, "nll": report.nll.value}
    assert drawn == pytest.approx(expected, abs=1e-5)
    exact = expected.keys() - {"ece_debiased", "ece_mass_debiased"}  # the oracle of those is a numerical integral
    assert {name: drawn[name] for name in exact} == pytest.approx({name: expected[name] for name in exact}, abs=1e-12)
    assert [point.risk for point in report.risk_coverage] == pytest.approx(risks, abs=1e-12)
    assert report.ause == (pytest.approx(oracle.ause(uncertainty, wrong), abs=1e-12) if any(wrong) else None)
    losses = [oracle.negative_log_likelihood([row], [label]) for row, label in zip(logits, labels, strict=True)]
    assert report.ause_nll == pytest.approx(oracle.ause(uncertainty, losses), abs=1e-9)
    classes = {each[0]: each for each in metrics_groups.class_figures(probabilities, labels, bins)}
    for found in report.worst_classes:
        assert dataclasses.astuple(found) == pytest.approx(classes[found.class_index], abs=1e-9)
    assert [part.count for part in report.reliability] == [
        count for count, _, _ in oracle.bin_means(confidence, correct, bins, "width")
    ]
    if 0 < sum(wrong) < len(rows):
        assert report.error_auroc == pytest.approx(oracle.auroc(uncertainty, wrong), abs=1e-12)
    else:
        assert report.error_auroc is None


def test_a_model_that_drew_its_own_labels_is_calibrated():
    report = evaluate(LOGITS, LABELS)
    assert report.ece < 1.6 * report.ece_floor
    assert report.ece_mass < 1.6 * report.ece_mass_floor
    assert report.accuracy.low < report.mean_confidence < report.accuracy.high
    sharpened = evaluate(LOGITS * 3, LABELS)
    assert sharpened.ece > 3 * sharpened.ece_floor
    assert sharpened.ece_mass > 3 * sharpened.ece_mass_floor
    assert sharpened.nll.low > report.nll.high


def test_the_floors_use_the_bins_and_binning_of_their_error():
    coarse, fine = evaluate(LOGITS, LABELS, bins=2), evaluate(LOGITS, LABELS, bins=100)
    assert fine.ece_floor > 3 * coarse.ece_floor
    assert fine.ece_mass_floor > 3 * coarse.ece_mass_floor
    assert fine.ece_floor != fine.ece_mass_floor


def test_the_seed_moves_only_what_is_resampled():
    first, again, other = (evaluate(LOGITS, LABELS, seed=seed) for seed in (1, 1, 2))
    assert first == again
    moved = {
        field.name for field in dataclasses.fields(first) if getattr(first, field.name) != getattr(other, field.name)
    }
    # The ends of the accuracy interval are multiples of 1 / rows, so two seeds may agree on them.
    assert moved | {"accuracy"} == {"accuracy", "nll", "intervals", "ece_floor", "ece_mass_floor"}
    assert {name: interval.value for name, interval in first.intervals.items()} == {
        "brier": first.brier,
        "ece": first.ece,
        "smooth_ece": first.smooth_ece,
    }


def test_features_add_what_is_known_of_rows_that_look_alike():
    alike = LOGITS.softmax(dim=1)
    report = evaluate(LOGITS, LABELS, features=alike)
    assert report.grouping_loss is not None
    assert 0 < report.local_calibration_error.mean < report.local_calibration_error.maximum <= 1
    assert abs(report.grouping_loss) < 0.05  # the labels were drawn by these very probabilities
    without = {"grouping_loss": None, "local_calibration_error": None}
    assert dataclasses.replace(report, **without) == evaluate(LOGITS, LABELS)
    few = evaluate(LOGITS[:99], LABELS[:99], features=alike[:99])
    assert (few.grouping_loss, few.local_calibration_error) == (None, None)


def test_a_perfect_model_has_no_error_to_rank():
    report = evaluate(torch.tensor([[0.0, -torch.inf]]), torch.tensor([0]))
    assert (report.ause, report.ause_nll, report.error_auroc, report.coverage_at_5_risk) == (None, None, None, 1.0)


@pytest.mark.parametrize("features", [None, LOGITS])
@pytest.mark.parametrize("rows", [400, 1])
def test_survives_json_bit_for_bit(rows, features):
    report = evaluate(LOGITS[:rows], LABELS[:rows], features=None if features is None else features[:rows])
    record = report.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert Evaluation.from_dict(json.loads(json.dumps(record))) == report


@pytest.mark.parametrize("change", [lambda record: record.pop("mce"), lambda record: record.update(mce2=0.0)])
def test_refuses_a_record_with_other_fields(change):
    record = evaluate(LOGITS, LABELS).to_dict()
    change(record)
    with pytest.raises(ValueError, match="mce"):
        Evaluation.from_dict(record)


@pytest.mark.parametrize(
    ("logits", "labels", "options", "message"),
    [
        (LOGITS[:0], LABELS[:0], {}, r"shape \(N, C\)"),
        (LOGITS, LABELS[1:], {}, "lengths differ"),
        (LOGITS / 0, LABELS, {}, "infinity"),
        (LOGITS[:, :1], LABELS, {}, r"0\.\.0"),
        (LOGITS, LABELS, {"bins": 0}, "bins must be at least 1"),
        (LOGITS, LABELS, {"features": LOGITS[1:]}, "lengths differ"),
        (LOGITS[:5], LABELS[:5], {"features": LOGITS[:5] / 0}, "features contains NaN or infinity"),
    ],
)
def test_refuses_bad_input(logits, labels, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(logits, labels, **options)
