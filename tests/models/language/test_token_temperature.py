"""The temperature of the tokens of free answers, against one fitted token by token."""

import pytest
import torch

from models.core.errors import DataError
from models.language.continuations import continuation
from models.language.read_tokens import ReadTokens, read_tokens
from models.language.token_temperature import fit_token_temperature, token_figures
from models.metrics.calibration import expected_calibration_error
from tests.oracles import tokens as oracle

ANSWERS = [(f"The sea number {number} is", f" blue, and the sand is yellow, says {number}.") for number in range(40)]


@pytest.fixture(scope="module")
def read(tiny):
    return ReadTokens.joined(list(read_tokens(tiny, [continuation(tiny, *each) for each in ANSWERS])))


@pytest.fixture(scope="module")
def rows(tiny):
    return [row for each in ANSWERS for row in oracle.answer_logits(tiny.network, tiny.tokenizer, *each)]


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


def test_what_is_always_right_is_made_surer(tiny, read):
    best = torch.cat([logits.argmax(dim=1) for logits, _ in read.logits(tiny.unembedding)])
    assert fit_token_temperature(tiny.unembedding, ReadTokens(read.states, best)) < 0.2


def test_too_few_tokens(tiny, read):
    with pytest.raises(DataError, match="19 tokens of answers to fit on, at least 20"):
        fit_token_temperature(tiny.unembedding, ReadTokens(read.states[:19], read.targets[:19]))
