"""The moving average of weights against a sum written out."""

import pytest
import torch
from torch import nn

from models.training.classifier.averaging import AveragedWeights
from tests.oracles import training as oracle


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_is_the_weighted_sum_of_all_steps(decay):
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    averaged = AveragedWeights(network, decay)
    kept = [{name: tensor.double().clone() for name, tensor in network.state_dict().items()}]
    for step in range(1, 30):
        with torch.no_grad():
            network[0].weight += torch.randn(2, 2, generator=torch.Generator().manual_seed(step))
        network.train()(torch.randn(4, 2, generator=torch.Generator().manual_seed(step)))
        averaged.update(network, step)
        kept.append({name: tensor.double().clone() for name, tensor in network.state_dict().items()})
    for name in ("0.weight", "1.running_mean", "1.running_var"):
        expected = oracle.averaged([state[name] for state in kept], decay)
        torch.testing.assert_close(averaged.state[name].double(), expected, rtol=1e-5, atol=1e-6)
    assert int(averaged.state["1.num_batches_tracked"]) == 29
    assert not torch.equal(averaged.state["0.weight"], network[0].weight)
