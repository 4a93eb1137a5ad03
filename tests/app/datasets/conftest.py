"""A catalog of datasets with a data root."""

import pytest

from app.datasets.catalog import DatasetCatalog
from models.data.limits import DataLimits


@pytest.fixture
def catalog(tmp_path):
    return DatasetCatalog(tmp_path / "datasets", tmp_path / "data", DataLimits(), 0.05)
