"""Cached views are live views; they come out of memory maps by slices, in training order."""

import resource
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.core.errors import DataError
from models.feature_cache.views import CachedViews, LiveViews

FIELDS = ("features", "losses", "labels", "images")


def assert_equal_rows(one, other, **tolerance):
    for name in FIELDS:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), **tolerance)


@pytest.mark.parametrize(("start", "stop"), [(0, 360), (0, 1), (63, 65), (100, 300), (359, 360)])
def test_cached_views_are_live_views(viewed, start, stop):
    cached = CachedViews(viewed.filled()[0])
    live = LiveViews(viewed.passes(), threads=2)
    assert cached.total == live.total == 360
    found = cached.read(start, stop)
    assert_equal_rows(found, live.read(start, stop), rtol=1e-4, atol=1e-4)
    assert found.features.shape == (stop - start, viewed.network.dimensions.features)
    assert [getattr(found, name).dtype for name in FIELDS] == [torch.float32] * 2 + [torch.int64] * 2
    assert found.labels.tolist() == viewed.rows.labels[found.images.numpy()].tolist()


def test_views_of_an_image_differ_and_are_far_from_the_image(viewed):
    found = CachedViews(viewed.filled()[0]).read(0, 360)
    of_first = found.features[found.images == 0]
    assert len(of_first) == 3
    assert min(float((of_first[i] - of_first[j]).abs().max()) for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3


def test_slices_are_parts_of_the_whole(viewed):
    views = CachedViews(viewed.filled()[0])
    whole = views.read(0, 360)
    for start in range(0, 360, 50):
        stop = min(start + 50, 360)
        part = views.read(start, stop)
        for name in FIELDS:
            assert torch.equal(getattr(part, name), getattr(whole, name)[start:stop])


def test_unreadable_images_are_left_out_of_every_pass(viewed, with_files):
    subject = viewed.having(rows=with_files({viewed.rows.names[4]: b"torn", viewed.rows.names[70]: None}))
    cached, live = CachedViews(subject.filled()[0]), LiveViews(subject.passes(), threads=2)
    found = cached.read(0, 360)
    assert cached.total == 360
    assert len(found.losses) == 360 - 3 * 2
    assert not set(found.images.tolist()) & {4, 70}
    assert_equal_rows(found, live.read(0, 360), rtol=1e-4, atol=1e-4)
    first = int(np.flatnonzero(subject.passes().order.positions(0, 120) == 4)[0])
    assert len(cached.read(first, first + 1).losses) == 0


def test_reading_loads_only_the_rows_that_are_asked_for(viewed):
    cache, _ = viewed.filled()
    views = CachedViews(cache)
    views.read(10, 20)
    columns = cache.shard(0).columns
    assert columns.keys() == {"features", "labels", "losses", "logits"}
    assert all(isinstance(column, np.memmap) and column.mode == "r" for column in columns.values())
    assert list(cache._mapped) == [0]


def test_maps_leave_files_for_others(viewed, monkeypatch):
    cache, _ = viewed.filled()
    whole = CachedViews(cache).read(0, 360)
    assert len(cache._mapped) == 6
    monkeypatch.setattr(resource, "getrlimit", lambda _: (48, 48))
    cache, _ = viewed.filled()
    views = CachedViews(cache)
    for start in range(0, 360, 40):
        assert torch.equal(views.read(start, start + 40).features, whole.features[start : start + 40])
        assert 4 * len(cache._mapped) <= 48 / 4, "four columns, and a quarter of the files that may be open"


def test_half_the_bytes(viewed):
    whole = CachedViews(viewed.filled()[0])
    cache, _ = viewed.filled(floats="float16", logits=False)
    features = viewed.network.dimensions.features
    assert cache.layout.row_bytes == 2 * features + 8 + 4
    assert whole.cache.layout.row_bytes == 4 * features + 8 + 4 + 4 * 10
    stored = sum(path.stat().st_size for path in cache.shards.rglob("*.npy"))
    headers = 128 * 3 * len(cache.starts)
    assert stored == 360 * cache.layout.row_bytes + headers
    found = CachedViews(cache).read(0, 360)
    assert found.features.dtype == torch.float32
    torch.testing.assert_close(found.features, whole.read(0, 360).features, rtol=1e-3, atol=1e-3)
    assert torch.equal(found.losses, whole.read(0, 360).losses)


def test_features_too_large_for_float16(viewed):
    class Large(torch.nn.Module):
        def __init__(self, trunk):
            super().__init__()
            self.trunk = trunk

        def forward(self, images):
            return 1e9 * self.trunk(images)

    network = replace(viewed.network, trunk=Large(viewed.network.trunk))
    with pytest.raises(DataError, match="store float32"):
        viewed.having(network=network).filled(floats="float16")


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (0, 361), (5, 5), (9, 3)])
def test_views_that_are_not_there(viewed, start, stop):
    for source in (CachedViews(viewed.filled()[0]), LiveViews(viewed.passes(), threads=1)):
        with pytest.raises(ValueError, match="there are 360"):
            source.read(start, stop)


def test_images_as_they_are_served_are_no_views(plain):
    with pytest.raises(ValueError, match="view plan"):
        CachedViews(plain.filled()[0])
    with pytest.raises(ValueError, match="view plan"):
        LiveViews(plain.passes(), threads=1)
