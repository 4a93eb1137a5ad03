"""The order of items: by value within a form, by percentile across forms, failed ones last."""

from hypothesis import given
from hypothesis import strategies as st

from app.client.replies import Uncertainty
from app.uncertainty_order import most_uncertain_first


def fast(value, percentile=0.5):
    return Uncertainty(value, percentile, "epistemic", "fast")


def exact(value, percentile=0.5):
    return Uncertainty(value, percentile, "epistemic", "exact")


@given(st.lists(st.none() | st.integers(-3, 3)))
def test_highest_values_first_failed_ones_last_and_equal_ones_as_they_came(values):
    scores = [None if value is None else Uncertainty(value, 1.0, "total") for value in values]
    expected = []
    for wanted in (3, 2, 1, 0, -1, -2, -3, None):
        expected += [row for row, value in enumerate(values) if value == wanted]
    assert most_uncertain_first(scores) == expected


def test_values_count_where_percentiles_are_all_at_an_end_of_the_reference():
    assert most_uncertain_first([fast(7.0, 1.0), fast(9.0, 1.0), fast(8.0, 1.0)]) == [1, 2, 0]


def test_values_of_two_forms_are_not_compared():
    assert most_uncertain_first([fast(900.0, 0.2), exact(3.0, 0.9), fast(800.0, 0.1), None]) == [1, 0, 2, 3]


def test_a_value_of_another_form_without_percentile_is_after_those_that_have_one():
    last_layer = Uncertainty(9.0, None, "epistemic", "last_layer")
    assert most_uncertain_first([last_layer, fast(0.1, 0.0), fast(0.2, 0.3), None]) == [2, 1, 0, 3]


def test_an_exact_value_without_percentile_is_before_the_fast_ones_that_it_was_chosen_from():
    assert most_uncertain_first([fast(900.0, 0.9), exact(3.0, None), exact(4.0, None)]) == [2, 1, 0]
