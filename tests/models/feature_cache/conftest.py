"""A small network, labelled digits, and the parts of a cache made of both."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.backbones.prepared import PreparedNetwork, prepare
from models.core.gradient_plan import GradientPlan
from models.core.manifest import BackboneRecord
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.key import CacheKey
from models.feature_cache.view_plan import ViewPlan

CPU = torch.device("cpu")
VIEWS = ViewPlan(count=3, seed=5)


@dataclass(frozen=True)
class Subject:
    """What a cache is made of; `told` are the rows that filling said were there."""

    network: PreparedNetwork
    backbone: BackboneRecord
    rows: ImageRows
    root: Path
    plan: ViewPlan | None = None

    def key(self, **changed):
        found = self.network.gradients
        network = (self.network.input_spec, self.network.precision, None if found is None else found.plan, CPU)
        return CacheKey.of(self.backbone, *network, self.rows, views=self.plan, **changed)

    def passes(self):
        return ForwardPasses(self.network, self.rows, self.plan, at_once=2)

    def filled(self, told=None, threads=2, **changed):
        """A filled cache, and how many rows were made for it."""
        cache = FeatureCache(self.root, self.key(**changed))
        return cache, fill(cache, self.passes(), (lambda _: None) if told is None else told.append, threads=threads)

    def having(self, **changed):
        return replace(self, **changed)


@pytest.fixture(scope="session")
def plain_network(tiny):
    return prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")


@pytest.fixture(scope="session")
def gradient_network(tiny):
    plan = GradientPlan(depth=3, directions=1)
    return prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32", plan=plan)


@pytest.fixture(scope="session")
def digit_rows(digit_archive):
    """All 120 digits."""
    files = {row.name: row.content for row in digit_archive.read(digit_archive.names)}
    labels = np.array([digit_archive.labels[name] for name in files], np.int64)
    return ImageRows(tuple(files), labels, lambda names: [files[name] for name in names], digit_archive.sha256)


@pytest.fixture
def with_files(digit_rows):
    """`with_files({name: content})`: the digits, some of them with other contents."""

    def with_files(changed):
        def contents(names):
            given = dict(zip(digit_rows.names, digit_rows.contents(digit_rows.names), strict=True)) | changed
            return [given[name] for name in names]

        return replace(digit_rows, contents=contents)

    return with_files


@pytest.fixture
def plain(plain_network, digit_rows, tiny, tmp_path):
    """The digits as they are served."""
    return Subject(plain_network, tiny.plan.recipe.backbone, digit_rows, tmp_path / "features")


@pytest.fixture
def viewed(plain):
    """Three augmented views of each digit: 360 rows in 6 shards."""
    return plain.having(plan=VIEWS)


@pytest.fixture
def bytes_of():
    """`bytes_of(cache)`: the content of every file of its shards."""

    def bytes_of(cache):
        files = sorted(path for path in cache.shards.rglob("*") if path.is_file())
        return {str(path.relative_to(cache.shards)): path.read_bytes() for path in files}

    return bytes_of
