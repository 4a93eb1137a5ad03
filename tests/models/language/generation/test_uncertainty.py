import math

import pytest

from models.language.generation.token import Token
from models.language.generation.uncertainty import AnswerUncertainty, answer_uncertainty


def test_measures_are_over_the_tokens_of_the_answer():
    tokens = [
        Token(number, b"", math.log(probability), entropy, math.log(calibrated))
        for number, (probability, entropy, calibrated) in enumerate([(0.5, 1.0, 0.4), (0.25, 2.0, 0.1)])
    ]
    found = answer_uncertainty(tokens)
    assert found.log_probability == pytest.approx(math.log(0.125))
    assert found.mean_log_probability == pytest.approx(math.log(0.125) / 2)
    assert found.confidence == pytest.approx(0.2)
    assert (found.mean_entropy, found.lowest_confidence) == pytest.approx((1.5, 0.1))


def test_an_answer_without_tokens_has_only_a_sum():
    assert answer_uncertainty([]) == AnswerUncertainty(0.0, None, None, None, None)
