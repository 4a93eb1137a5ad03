"""The temperature of the tokens of free answers, against one fitted token by token."""

import pytest
import torch

from models.core.errors import DataError
from models.language.continuations import continuation
from models.language.read_tokens import ReadTokens, read_tokens
from models.language.token_temperature import fit_token_temperature, token_figures
from models.metrics.calibration import expected_calibration_error
from tests.fixtures.completions import drawn_completions
from tests.oracles import tokens as oracle


@pytest.fixture(scope="module")
def answers(tiny):
    return [(row["prompt"], row["completion"]) for row in drawn_completions(tiny, 40, 6)]


@pytest.fixture(scope="module")
def read(tiny, answers):
    return ReadTokens.joined(list(read_tokens(tiny, [continuation(tiny, *each) for each in answers])))


@pytest.fixture(scope="module")
def rows(tiny, answers):
    return [row for each in answers for row in oracle.answer_logits(tiny.network, tiny.tokenizer, *each)]


def test_every_token_has_the_logits_of_plain_transformers(tiny, read, rows):
    assert read.targets.tolist() == [token for _, token in rows]
    found = torch.cat([logits for logits, _ in read.logits(tiny.unembedding)])
    assert (found - torch.stack([logits for logits, _ in rows])).abs().max() < 1e-4


def test_the_temperature_has_the_least_loss(tiny, read, rows):
    found = fit_token_temperature(tiny.unembedding, read)
    assert found == pytest.approx(oracle.best_temperature(rows), rel=1e-2)
    assert oracle.mean_loss(rows, found) < oracle.mean_loss(rows, 1.0) - 0.01


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_figures_are_of_the_likeliest_token(tiny, read, rows, temperature):
    figures = token_figures(tiny.unembedding, read, temperature)
    confidence, right = (torch.tensor(each) for each in zip(*oracle.likeliest(rows, temperature), strict=True))
    assert figures.tokens == len(rows)
    assert figures.accuracy == pytest.approx(float(right.double().mean()))
    assert figures.confidence == pytest.approx(float(confidence.mean()), abs=1e-5)
    assert figures.nll == pytest.approx(oracle.mean_loss(rows, temperature), abs=1e-4)
    assert figures.ece == pytest.approx(expected_calibration_error(confidence, right), abs=1e-3)


def test_tokens_drawn_from_a_known_temperature_give_it_back(tiny, read):
    generator = torch.Generator().manual_seed(0)
    states = read.states.repeat(20, 1)
    drawn = torch.cat(
        [
            torch.multinomial((logits / 2.5).softmax(dim=1), 1, generator=generator)[:, 0]
            for logits, _ in ReadTokens(states, torch.zeros(len(states), dtype=torch.int64)).logits(tiny.unembedding)
        ]
    )
    assert fit_token_temperature(tiny.unembedding, ReadTokens(states, drawn)) == pytest.approx(2.5, rel=0.1)


def test_answers_that_are_always_the_likeliest_tell_nothing(tiny, read):
    best = torch.cat([logits.argmax(dim=1) for logits, _ in read.logits(tiny.unembedding)])
    with pytest.raises(DataError, match=r"would be 0\.02, at the limit .* not the model's own"):
        fit_token_temperature(tiny.unembedding, ReadTokens(read.states, best))


def test_answers_that_are_always_the_least_likely_tell_nothing(tiny, read):
    least = torch.cat([logits.argmin(dim=1) for logits, _ in read.logits(tiny.unembedding)])
    with pytest.raises(DataError, match="would be 50, at the limit"):
        fit_token_temperature(tiny.unembedding, ReadTokens(read.states, least))


def test_too_few_tokens(tiny, read):
    few = ReadTokens(read.states[:99], read.targets[:99])
    with pytest.raises(DataError, match="99 tokens to fit or judge on, at least 100"):
        fit_token_temperature(tiny.unembedding, few)
    with pytest.raises(DataError, match="99 tokens"):
        token_figures(tiny.unembedding, few, 1.0)
