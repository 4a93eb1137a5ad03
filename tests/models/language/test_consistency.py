import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.language.consistency import Consistency, canonical, consistency
from tests.oracles.consistency import consistency as oracle


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=20))
def test_measures_are_those_of_plain_counting(answers):
    found = consistency(answers)
    values = (found.agreement, found.entropy_consistency, found.first_second_distance)
    assert values == pytest.approx([float(each) for each in oracle(answers)], abs=1e-12)
    assert all(0 <= value <= 1 for value in values)


def test_invalid_answers_count_among_all_but_are_none_of_the_distinct_ones():
    assert consistency(["a", "a", "b", None]) == Consistency(0.5, pytest.approx(0.0817, abs=1e-4), 0.25, 2)
    assert consistency([None, None]) == Consistency(1.0, 1.0, 1.0, 1)


def test_there_is_no_consistency_of_nothing():
    with pytest.raises(ValueError, match="at least one answer"):
        consistency([])


def test_texts_that_differ_in_case_space_and_full_stop_say_the_same():
    assert canonical(" The  Sea\n.") == canonical("the sea") == "the sea"
    assert canonical("1.5") == "1.5"
    assert canonical(" . ") is None
