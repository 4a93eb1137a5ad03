import pytest
import torch

from models.metrics.reduced_features import reduced_features

FEATURES = torch.randn(80, 30, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 3, 30)


@pytest.mark.parametrize("unit", [1.0, 1e3])
def test_rows_lie_about_one_apart_whatever_the_unit(unit):
    reduced = reduced_features(FEATURES * unit, dimensions=5)
    assert reduced.shape == (80, 5)
    distances = torch.cdist(reduced, reduced, p=1)[*torch.triu_indices(80, 80, offset=1)]
    assert 0.8 < float(distances.mean()) < 1.4
    assert torch.allclose(reduced.abs(), reduced_features(FEATURES, dimensions=5).abs(), atol=1e-6)


def test_all_dimensions_keep_the_shape_of_the_cloud():
    reduced = reduced_features(FEATURES[:, :4], dimensions=4)
    given, kept = torch.pdist(FEATURES[:, :4].double()), torch.pdist(reduced)
    assert torch.allclose(kept / kept.mean(), given / given.mean(), atol=1e-9)


def test_repeatable():
    assert torch.equal(reduced_features(FEATURES, seed=3), reduced_features(FEATURES, seed=3))


def test_fewer_rows_or_columns_than_dimensions():
    assert reduced_features(FEATURES[:6]).shape == (6, 6)
    assert reduced_features(FEATURES[:, :3]).shape == (80, 3)


def test_constant_features_give_zeros():
    assert torch.equal(reduced_features(torch.ones(5, 3)), torch.zeros(5, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("features", "message"), [(torch.ones(3), r"\(N, D\)"), (torch.full((2, 2), torch.inf), "infinity")]
)
def test_refuses_bad_input(features, message):
    with pytest.raises(ValueError, match=message):
        reduced_features(features)
