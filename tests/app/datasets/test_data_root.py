"""Data registered where they lie, below the data root and nowhere else."""

import pytest

from app.datasets.catalog import DatasetCatalog
from app.errors import InvalidError, NotFoundError
from models.core.errors import DataError
from models.data.limits import DataLimits
from tests.fixtures import labelled_data as made
from tests.fixtures.catalogs import ZIP, add, left, nothing


class TestDataRoot:
    @pytest.fixture
    def photos(self, catalog):
        for name, content in made.in_class_folders().items():
            (catalog.data_root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            (catalog.data_root / "photos" / name).write_bytes(content)
        return catalog.data_root / "photos"

    def test_a_folder_is_registered_where_it_lies(self, catalog, photos):
        record, created = catalog.register("photos", None, nothing)
        assert created
        assert (record.path, record.name, record.format, record.rows) == ("photos", "photos", "folder", 6)
        assert record.bytes == sum(len(content) for _, content in made.IMAGES.values())
        assert [path.name for path in (catalog.root / record.id).iterdir()] == ["dataset.json"]
        assert catalog.path(record.id) == photos
        assert len(list(catalog.open(record.id).read(("cat/0.png",)))) == 1
        again, created = catalog.register("photos", "other", nothing)
        assert (again, created) == (record, False)
        catalog.delete(record.id)
        assert (photos / "cat/0.png").exists()
        assert left(catalog) == []

    def test_a_file_is_the_same_data_as_its_upload(self, catalog, photos):
        (photos / "set.zip").write_bytes(ZIP)
        record, _ = catalog.register("photos/set.zip", "mine", nothing)
        assert record.name == "mine"
        assert add(catalog) == (record, False)

    def test_a_source_that_changes_is_refused(self, catalog, photos):
        record, _ = catalog.register("photos", None, nothing)
        (photos / "cat/0.png").write_bytes(made.IMAGES["1.png"][1])
        with pytest.raises(DataError, match="photos has changed since it was registered"):
            catalog.open(record.id)
        second, created = catalog.register("photos", None, nothing)
        assert created
        assert second.id != record.id

    @pytest.mark.parametrize(
        "path", ["..", "photos/../..", "/etc", "", ".", "photos//cat", "photos\\cat", "a\0b", "photos/"]
    )
    def test_ways_out(self, catalog, photos, path):
        with pytest.raises(InvalidError, match="no plain path"):
            catalog.register(path, None, nothing)

    @pytest.mark.parametrize("path", ["link", "link/cat", "photos/cat/link.zip"])
    def test_links(self, catalog, photos, path):
        (catalog.data_root / "link").symlink_to(photos)
        (photos / "cat/link.zip").symlink_to("/etc/passwd")
        with pytest.raises(InvalidError, match="goes through a link"):
            catalog.register(path, None, nothing)

    @pytest.mark.parametrize("path", ["absent", "photos/absent", "x" * 900])
    def test_nothing_there(self, catalog, photos, path):
        with pytest.raises(NotFoundError, match="below the data root"):
            catalog.register(path, None, nothing)

    def test_off_unless_set(self, tmp_path):
        with pytest.raises(InvalidError, match="HOWSURE_DATA_ROOT"):
            DatasetCatalog(tmp_path / "d", None, DataLimits(), 0.05).register("photos", None, nothing)
