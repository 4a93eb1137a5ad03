import pytest
import torch
from torch import nn

from models.backbones.fold import fold_batch_norm

IMAGES = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def conv():
    return nn.Conv2d(3, 3, 3, padding=1)


def norm(**options):
    layer = nn.BatchNorm2d(3, **options)
    with torch.no_grad():
        for value in layer.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 2)
    return layer


class Branches(nn.Module):
    """`join` says how one convolution, one batch norm and a second use of either come together."""

    def __init__(self, join):
        super().__init__()
        self.first, self.second, self.norm, self.join = conv(), conv(), norm(), join

    def forward(self, images):
        return self.join(self, images)


FOLDED = {
    "chain": nn.Sequential(conv(), norm(), nn.ReLU(), conv(), norm()),
    "no bias": nn.Sequential(nn.Conv2d(3, 3, 3, bias=False), norm()),
    "groups and stride": nn.Sequential(nn.Conv2d(3, 3, 3, stride=2, groups=3), norm()),
    "no learnt scale": nn.Sequential(conv(), norm(affine=False)),
    "nested": nn.Sequential(nn.Sequential(conv(), nn.Sequential(norm())), nn.ReLU()),
    "skip around": Branches(lambda net, x: x + net.norm(net.first(x)) + net.second(x)),
    "names in another order than calls": Branches(lambda net, x: net.first(net.norm(net.second(x)))),
}
KEPT = {
    "norm first": nn.Sequential(norm(), nn.ReLU(), conv()),
    "something between": nn.Sequential(conv(), nn.ReLU(), norm()),
    "convolution used twice": Branches(lambda net, x: net.norm(net.first(x)) + net.first(x + 1)),
    "norm used twice": Branches(lambda net, x: net.norm(net.first(x)) + net.norm(net.second(x))),
    "no running statistics": nn.Sequential(conv(), norm(track_running_stats=False)),
    "convolution read elsewhere too": Branches(lambda net, x: net.norm(y := net.first(x)) + y),
}


@torch.no_grad()
@pytest.mark.parametrize("case", FOLDED)
def test_folds_and_computes_the_same(case):
    network = FOLDED[case].eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network, IMAGES)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize("case", KEPT)
def test_leaves_what_cannot_be_folded(case):
    network = KEPT[case].eval()
    expected = network(IMAGES)
    folded = fold_batch_norm(network, IMAGES)
    assert any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(IMAGES), expected, rtol=1e-5, atol=1e-6)
