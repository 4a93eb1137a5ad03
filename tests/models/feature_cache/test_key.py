"""Keys: equal for equal origins, different for anything that changes a stored byte; a folder of another is refused."""

import json
from dataclasses import replace
from importlib.metadata import version

import pytest

from models.core.errors import StaleCacheError
from models.core.gradient_plan import GradientPlan
from models.core.manifest import WeightsOrigin
from models.feature_cache.cache import FeatureCache
from models.feature_cache.key import KEY, CacheKey
from models.feature_cache.views import CachedViews


def test_equal_origins_have_one_folder(viewed):
    assert viewed.key() == viewed.key()
    assert viewed.key().digest == viewed.key().digest
    origin = WeightsOrigin("package", "file", "0" * 64)
    moved = viewed.having(backbone=replace(viewed.backbone, origin=origin)).key()
    assert moved.digest == viewed.key().digest, "where weights came from does not change them"


def test_whatever_changes_a_byte_changes_the_folder(viewed):
    key, rows = viewed.key(), viewed.rows
    relabelled = replace(rows, labels=(rows.labels + 1) % 10)
    turned = replace(rows, names=rows.names[::-1], labels=rows.labels[::-1].copy())
    others = [
        replace(key, backbone=replace(key.backbone, sha256="0" * 64)),
        replace(key, backbone=replace(key.backbone, arguments={})),
        replace(key, precision="bfloat16"),
        replace(key, input_spec=replace(key.input_spec, draft=False)),
        replace(key, gradients=GradientPlan(2, 1)),
        replace(key, data="0" * 64),
        viewed.having(rows=relabelled).key(),
        viewed.having(rows=turned).key(),
        viewed.having(plan=None).key(),
        viewed.having(plan=replace(viewed.plan, seed=6)).key(),
        viewed.having(plan=replace(viewed.plan, scale=(0.1, 1.0))).key(),
        viewed.key(floats="float16"),
        viewed.key(logits=False),
        replace(key, maker="another processor"),
        replace(key, format=2),
    ]
    assert len({each.digest for each in [key, *others]}) == 1 + len(others)


def test_the_release_of_the_networks_library_counts(viewed):
    assert f"timm {version('timm')}" in viewed.key().maker


def test_arguments_that_json_knows_otherwise_are_the_same(viewed):
    subject = viewed.having(backbone=replace(viewed.backbone, arguments={"img_size": (32, 32)}))
    for _ in range(2):
        FeatureCache(viewed.root, subject.key())


@pytest.mark.parametrize(
    ("field", "value"), [("precision", "bfloat16"), ("data", "0" * 64), ("maker", "elsewhere"), ("format", 0)]
)
def test_a_stale_key_is_refused_by_name(viewed, field, value):
    cache, _ = viewed.filled()
    path = cache.folder / KEY
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(StaleCacheError, match=rf"\({field} differ: {field} is .*remove it"):
        FeatureCache(viewed.root, viewed.key())


def test_a_folder_of_another_network_is_refused(viewed):
    cache, _ = viewed.filled()
    other = replace(viewed.key(), backbone=replace(viewed.backbone, sha256="0" * 64))
    cache.folder.rename(viewed.root / other.digest)
    with pytest.raises(StaleCacheError, match="backbone differ"):
        FeatureCache(viewed.root, other)


@pytest.mark.parametrize("content", ["", "[1]", "{}", "{"])
def test_a_damaged_key_is_refused(viewed, content):
    cache, _ = viewed.filled()
    (cache.folder / KEY).write_text(content)
    with pytest.raises(StaleCacheError, match="remove"):
        FeatureCache(viewed.root, viewed.key())


def test_a_cache_that_is_not_filled(viewed):
    with pytest.raises(StaleCacheError, match="fill the cache first"):
        CachedViews(FeatureCache(viewed.root, viewed.key()))


def test_the_key_is_written_whole(viewed):
    cache, _ = viewed.filled()
    found = json.loads((cache.folder / KEY).read_bytes())
    fields = {field for field in CacheKey.__dataclass_fields__}
    assert found.keys() == fields
    assert found["views"]["seed"] == viewed.plan.seed
