"""What a request may ask for: an order only by what is computed, and what an embedding comes with."""

import pytest

from app.errors import InvalidError
from app.scoring.asked import Form, check_sort, embedding_scores, read_scores

KNOWN = {"entropy": (), "epistemic": (Form.EXACT, Form.FAST, Form.LAST_LAYER)}


def test_an_order_by_what_is_computed_or_by_nothing():
    check_sort("m", KNOWN, ("epistemic",), "epistemic")
    check_sort("m", KNOWN, (), None)


@pytest.mark.parametrize(
    ("sort", "message"),
    [
        ("entropy", "it is not computed; add it to scores, which name: epistemic"),
        ("luck", "model m has no such score; it has: entropy, epistemic"),
        ("luck:exact", "model m has no such score"),
        ("epistemic:exact", "ask for it in scores=epistemic:exact and sort=epistemic"),
        ("", "no such score"),
    ],
)
def test_any_other_order_is_refused_with_the_fix(sort, message):
    with pytest.raises(InvalidError, match=message) as raised:
        check_sort("m", KNOWN, ("epistemic",), sort)
    assert [error["pointer"] for error in raised.value.errors] == ["/sort"]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (["energy", "entropy", "loss_rank"], "loss_rank"),
        (["energy", "entropy"], "entropy"),
    ],
)
def test_an_embedding_comes_with_the_score_that_says_how_far_to_trust_it(known, expected):
    assert embedding_scores(dict.fromkeys(known, ())) == (expected,)


def test_a_version_without_such_a_score_says_what_it_has():
    known = {"energy": ()}
    with pytest.raises(InvalidError, match="it has: energy"):
        read_scores("m", known, embedding_scores(known))
