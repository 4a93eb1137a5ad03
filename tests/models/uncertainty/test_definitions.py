import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.uncertainty import SCORES
from tests.oracles import uncertainty as oracle
from tests.oracles.epistemic import expected_squared_gradient

LOGIT = st.one_of(st.floats(-30, 30), st.integers(-2, 2).map(float))
# A row of 2 to 6 logits and which of them are real choices, at least one.
ROW = st.lists(st.tuples(LOGIT, st.booleans()), min_size=2, max_size=6).filter(lambda row: any(kept for _, kept in row))
DOUBLE = torch.float64


@settings(deadline=None, max_examples=200)
@given(row=ROW, masked=st.booleans())
@pytest.mark.parametrize("name", ["entropy", "max_prob", "energy"])
def test_equals_the_definition(name, row, masked):
    logits, mask = map(list, zip(*row, strict=True))
    tensor = torch.tensor([logits], dtype=DOUBLE)
    outputs = ModelOutputs(tensor, calibrated=tensor, mask=torch.tensor([mask]) if masked else None)
    found = SCORES[name](Dimensions(len(logits), 1)).score(outputs)
    expected = getattr(oracle, name)(logits, mask if masked else None)
    assert float(found) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("spread", [0.1, 1, 10, 40])
@pytest.mark.parametrize("masked", [False, True])
def test_epistemic_is_the_expected_squared_gradient_of_the_last_layer(spread, masked):
    generator = torch.Generator().manual_seed(0)
    weight = spread * torch.randn(5, 7, dtype=DOUBLE, generator=generator) / math.sqrt(7)
    bias = torch.randn(5, dtype=DOUBLE, generator=generator)
    features = torch.randn(6, 7, dtype=DOUBLE, generator=generator)
    mask = None
    if masked:
        mask = torch.rand(6, 5, generator=generator) < 0.6
        mask[:, :2] = True
    outputs = ModelOutputs(features @ weight.T + bias, features=features, mask=mask)
    found = SCORES["epistemic"](Dimensions(5, 7)).score(outputs)
    expected = expected_squared_gradient(weight, bias, features, mask)
    assert found.tolist() == pytest.approx(expected, rel=1e-10, abs=1e-300)


def test_epistemic_keeps_its_digits_where_the_network_is_certain():
    logits = torch.tensor([[30.0, 0.0]])
    outputs = ModelOutputs(logits, features=torch.zeros(1, 3))
    # 1 - p0^2 - p1^2 = 2 p0 p1, of which naive float32 leaves 0.
    assert float(SCORES["epistemic"](Dimensions(2, 3)).score(outputs)) == pytest.approx(2 * math.exp(-30), rel=1e-4)


def test_max_prob_keeps_its_digits_where_the_network_is_certain():
    outputs = ModelOutputs(torch.zeros(1, 2), calibrated=torch.tensor([[30.0, 0.0]]))
    assert float(SCORES["max_prob"](Dimensions(2, 3)).score(outputs)) == pytest.approx(math.exp(-30), rel=1e-4)


@pytest.mark.parametrize(("name", "largest"), [("entropy", math.log(4)), ("max_prob", 0.75)])
def test_bounded_scores_reach_their_bounds(name, largest):
    logits = torch.tensor([[0.0] * 4, [200.0, 0.0, 0.0, 0.0]])
    found = SCORES[name](Dimensions(4, 1)).score(ModelOutputs(torch.zeros(2, 4), calibrated=logits))
    assert found.tolist() == pytest.approx([largest, 0], abs=1e-6)
