"""Room: what was used longest ago goes, what is in use stays, and a reader never notices."""

import gc
import os

import pytest
import torch

from models.feature_cache.cache import IN_USE, FeatureCache
from models.feature_cache.room import make_room, size_of
from models.feature_cache.views import CachedViews


@pytest.fixture
def three(viewed):
    """Keys of three caches, in the order of their last use; none is open."""
    kinds = [{}, {"logits": False}, {"floats": "float16"}]
    keys = [viewed.key(**kind) for kind in kinds]
    for age, kind in enumerate(kinds):
        cache, _ = viewed.filled(**kind)
        os.utime(cache.folder / IN_USE, (age, age))
        del cache
    gc.collect()
    return keys


def sizes(root, keys):
    return [size_of(root / key.digest) for key in keys]


def test_nothing_goes_while_there_is_room(viewed, three):
    assert make_room(viewed.root, 1000, sum(sizes(viewed.root, three)) + 1000) == ()


def test_the_one_used_longest_ago_goes_first(viewed, three):
    total = sum(sizes(viewed.root, three))
    assert make_room(viewed.root, 1, total) == (three[0].digest,)
    assert sorted(path.name for path in viewed.root.iterdir()) == sorted([".lock", *(key.digest for key in three[1:])])


def test_as_many_go_as_must(viewed, three):
    _, _, last = sizes(viewed.root, three)
    assert make_room(viewed.root, 0, last) == (three[0].digest, three[1].digest)
    assert make_room(viewed.root, last, last) == (three[2].digest,)


def test_opening_counts_as_use(viewed, three):
    FeatureCache(viewed.root, three[0])
    gc.collect()
    assert make_room(viewed.root, 1, sum(sizes(viewed.root, three))) == (three[1].digest,)


def test_what_is_in_use_stays(viewed, three):
    views = CachedViews(FeatureCache(viewed.root, three[0]))
    before = views.read(0, 360)
    assert make_room(viewed.root, 10**12, 0) == (three[1].digest, three[2].digest)
    assert torch.equal(views.read(0, 360).features, before.features)
    del views
    gc.collect()
    assert make_room(viewed.root, 10**12, 0) == (three[0].digest,)


def test_a_removed_cache_is_filled_anew(viewed, three):
    make_room(viewed.root, 10**12, 0)
    assert viewed.filled()[1] == 360


def test_what_a_killed_remover_left_is_removed(viewed, three):
    left = viewed.root / ".removed-0123"
    (viewed.root / three[0].digest).rename(left)
    assert make_room(viewed.root, 0, 10**12) == ()
    assert not left.exists()
