import pytest
import torch

from models.core.errors import DataError
from models.language.generation.sampling import Sampling, draw
from tests.oracles.generation import nucleus

LOGITS = torch.tensor([2.0, -1.0, 1.5, 0.0, 1.5, -torch.inf])
DRAWS = 4000


@pytest.mark.parametrize(
    ("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.8), (1.0, 0.5), (1.0, 0.0), (5e-324, 1.0), (5e-324, 0.5)]
)
def test_tokens_come_as_often_as_the_nucleus_says(temperature, top_p):
    sampling = Sampling(1, temperature, top_p)
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(LOGITS, sampling, generator) for _ in range(DRAWS)]
    expected = nucleus(LOGITS.tolist(), temperature, top_p)
    for token, probability in enumerate(expected):
        # Five standard deviations of a binomial; a token outside the nucleus never comes.
        spread = 5 * (probability * (1 - probability) / DRAWS) ** 0.5
        assert drawn.count(token) / DRAWS == pytest.approx(probability, abs=spread)


def test_a_seed_gives_every_number_of_an_answer_its_own_draws():
    first, again, second, other = (
        torch.rand(4, generator=Sampling(1, seed=seed).generator(number)).tolist()
        for seed, number in ((-5, 0), (-5, 0), (-5, 1), (5, 0))
    )
    assert first == again
    assert len({tuple(first), tuple(second), tuple(other)}) == 3


def test_without_a_seed_no_two_requests_are_alike():
    assert Sampling(1).generator(0).initial_seed() != Sampling(1).generator(0).initial_seed()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"max_tokens": 0}, "max_tokens is at least 1"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"stops": ("a", "")}, "none of them empty"),
        ({"stops": tuple("abcde")}, "at most 4 stop strings"),
        ({"alternatives": 21}, "0 to 20"),
    ],
)
def test_values_that_mean_nothing_are_refused(wrong, reason):
    with pytest.raises(DataError, match=reason):
        Sampling(**({"max_tokens": 1} | wrong))
