import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.selective import RiskPoint, aurc, ause, coverage_at_risk, risk_coverage, thinned_curve
from tests.oracles import metrics as oracle

# (uncertainty, error) rows, few enough for the oracle to try every order; three uncertainties make ties common
ROWS = st.lists(st.tuples(st.integers(0, 2).map(float), st.floats(0, 3)), min_size=1, max_size=6)
DOUBLE = torch.float64


@settings(deadline=None)
@given(rows=ROWS)
def test_curve_is_the_mean_over_all_orders_of_ties(rows):
    uncertainty, error = map(list, zip(*rows, strict=True))
    arguments = torch.tensor(uncertainty, dtype=DOUBLE), torch.tensor(error, dtype=DOUBLE)
    expected = oracle.risk_coverage(uncertainty, error)
    coverage, risk = risk_coverage(*arguments)

    assert coverage.tolist() == [kept / len(rows) for kept in range(1, len(rows) + 1)]
    assert risk.tolist() == pytest.approx(expected, abs=1e-12)
    assert aurc(*arguments) == pytest.approx(sum(expected) / len(expected), abs=1e-12)
    if sum(error) > 1e-6:
        assert ause(*arguments) == pytest.approx(oracle.ause(uncertainty, error), abs=1e-6)


# Without ties and with errors 0 or 1, both risks are equal to the last bit, so comparing with the limit is safe.
@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=6, unique_by=lambda row: row[0]),
    limit=st.integers(0, 6).map(lambda k: k / 6),
)
def test_coverage_is_the_largest_with_an_allowed_risk(rows, limit):
    uncertainty, error = map(list, zip(*rows, strict=True))
    drawn = coverage_at_risk(torch.tensor(uncertainty, dtype=DOUBLE), torch.tensor(error), limit)
    assert drawn == oracle.coverage_at_risk(uncertainty, error, limit)


def test_row_order_plays_no_part():
    generator = torch.Generator().manual_seed(0)
    uncertainty = torch.randint(0, 5, (200,), generator=generator)
    wrong = torch.rand(200, generator=generator) < 0.3
    order = torch.randperm(200, generator=generator)
    assert torch.equal(risk_coverage(uncertainty, wrong)[1], risk_coverage(uncertainty[order], wrong[order])[1])


def test_low_uncertainty_is_kept_first():
    uncertainty = torch.tensor([0.1, 0.2, 0.3, 0.4])
    wrong = torch.tensor([False, False, False, True])
    assert aurc(uncertainty, wrong) == pytest.approx(1 / 16)
    assert aurc(-uncertainty, wrong) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert coverage_at_risk(uncertainty, wrong, 0.0) == 0.75
    assert coverage_at_risk(-uncertainty, wrong, 0.2) == 0.0


@pytest.mark.parametrize("errors", range(1, 50))
def test_a_tied_group_meets_its_own_mean_exactly(errors):
    wrong = torch.arange(50) < errors
    assert coverage_at_risk(torch.zeros(50), wrong, errors / 50) == 1.0


@pytest.mark.parametrize(
    ("uncertainty", "error", "message"),
    [
        (torch.empty(0), torch.empty(0), "one value per row"),
        (torch.ones(2), torch.ones(3), "lengths differ"),
        (torch.tensor([float("nan")]), torch.ones(1), "uncertainty contains NaN"),
        (torch.ones(1), torch.tensor([float("inf")]), "error contains NaN or infinity"),
    ],
)
@pytest.mark.parametrize(
    "measure", [risk_coverage, aurc, ause, thinned_curve, lambda *rows: coverage_at_risk(*rows, 0.1)]
)
def test_refuses_bad_input(measure, uncertainty, error, message):
    with pytest.raises(ValueError, match=message):
        measure(uncertainty, error)


def test_ause_of_the_best_and_of_the_worst_order():
    wrong = torch.tensor([False, False, True, True])
    assert ause(torch.tensor([1.0, 2.0, 3.0, 4.0]), wrong) == 0
    # risks 1, 1, 2/3, 1/2 against 0, 0, 1/3, 1/2, over a mean error of 1/2
    assert ause(torch.tensor([4.0, 3.0, 2.0, 1.0]), wrong) == pytest.approx((2 + 1 / 3) / 4 / (1 / 2))


def test_ause_needs_an_error():
    with pytest.raises(ValueError, match="add rows with an error"):
        ause(torch.ones(2), torch.zeros(2))


def test_a_thinned_curve_holds_points_of_the_whole_one():
    generator = torch.Generator().manual_seed(0)
    uncertainty, wrong = torch.rand(1000, generator=generator), torch.rand(1000, generator=generator) < 0.3
    whole = [RiskPoint(*pair) for pair in zip(*(x.tolist() for x in risk_coverage(uncertainty, wrong)), strict=True)]
    thinned = thinned_curve(uncertainty, wrong)
    assert len(thinned) == 101
    assert set(thinned) <= set(whole)
    assert (thinned[0], thinned[-1]) == (whole[0], whole[-1])
    assert thinned_curve(uncertainty[:7], wrong[:7])[-1].coverage == 1
    assert len(thinned_curve(uncertainty[:7], wrong[:7])) == 7


def test_refuses_a_risk_that_is_not_a_number():
    with pytest.raises(ValueError, match="risk is NaN"):
        coverage_at_risk(torch.ones(1), torch.ones(1), float("nan"))
