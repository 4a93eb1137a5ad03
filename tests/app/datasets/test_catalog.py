"""The catalog: content-addressed, whole or not at all, swept after a crash, honest about changed sources."""

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.datasets.catalog import DatasetCatalog
from app.datasets.incoming import PREFIX, Incoming
from app.datasets.watch import Watch
from app.errors import InsufficientStorageError, InternalError, InvalidError, NotFoundError, TimedOutError
from models.core.errors import DataError
from models.data.limits import DataLimits
from tests.fixtures import labelled_data as made
from tests.fixtures.questions import jsonl, lettered_rows

ZIP = made.SAMPLES["images"]["indexed.zip"]


def nothing():
    pass


@pytest.fixture
def catalog(tmp_path):
    return DatasetCatalog(tmp_path / "datasets", tmp_path / "data", DataLimits(), 0.05)


def add(catalog, content=ZIP, filename="set.zip", watch=nothing):
    incoming = catalog.begin()
    try:
        incoming.open(filename)
        incoming.write(content)
        return catalog.add(incoming, filename.partition(".")[0], watch)
    finally:
        incoming.discard()


def csv_of(number, rows=3):
    return b"label,logit_0,logit_1\n" + b"".join(b"%d,%d,2\n" % (row % 2, number) for row in range(rows))


def left(catalog):
    """What is in the root besides datasets and the lock."""
    return [path.name for path in catalog.root.iterdir() if not path.name.startswith("ds_") and path.name != ".lock"]


def test_an_upload_is_kept_as_it_came_and_can_be_opened(catalog):
    record, created = add(catalog)
    assert created
    assert (record.kind, record.format, record.rows, record.bytes) == ("images", "zip", 6, len(ZIP))
    assert record.id == f"ds_{record.sha256[:20]}"
    assert catalog.path(record.id).read_bytes() == ZIP
    assert catalog.get(record.id) == record
    dataset = catalog.open(record.id)
    assert dataset.name == "set"
    assert len(list(dataset.read(dataset.names))) == 6
    assert left(catalog) == []


def test_outputs_tell_their_widths(catalog):
    record, _ = add(catalog, made.outputs_csv(), "o.csv")
    assert (record.kind, record.columns, record.features, record.classes) == ("outputs", 3, 2, 3)
    assert catalog.open(record.id).outputs(("row 1",))[0].shape == (1, 3)


def test_the_same_bytes_are_the_same_dataset(catalog):
    first, _ = add(catalog)
    second, created = add(catalog, filename="other.zip")
    assert not created
    assert second == first
    assert len(list(catalog.root.glob("ds_*"))) == 1
    assert left(catalog) == []


def test_the_same_bytes_from_many_at_once(catalog):
    barrier = threading.Barrier(8)

    def simple(_):
        barrier.wait(10)
        return add(catalog)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(simple, range(8)))
    assert sum(created for _, created in answers) == 1
    assert len({record.created_at for record, _ in answers}) == 1
    assert left(catalog) == []


def test_lists_are_newest_first_in_pages(catalog):
    ids = [add(catalog, csv_of(number), f"{number}.csv")[0].id for number in range(5)][::-1]
    records, more = catalog.list(3)
    assert ([record.id for record in records], more) == (ids[:3], True)
    records, more = catalog.list(3, after=ids[2])
    assert ([record.id for record in records], more) == (ids[3:], False)
    with pytest.raises(NotFoundError):
        catalog.list(3, after="ds_" + "0" * 20)


def test_an_empty_catalog_makes_no_folder(catalog):
    assert catalog.list(10) == ((), False)
    catalog.sweep()
    assert not catalog.root.exists()


def test_delete(catalog):
    record, _ = add(catalog)
    catalog.delete(record.id)
    assert list(catalog.root.iterdir()) == [catalog.root / ".lock"]
    for call in (catalog.delete, catalog.get, catalog.open, catalog.path):
        with pytest.raises(NotFoundError):
            call(record.id)
    assert add(catalog)[1]


@pytest.mark.parametrize(
    "name", ["..", "../datasets", "", "/etc", ".lock", "ds_", "ds_" + "G" * 20, "ds_" + "0" * 20 + "/.."]
)
def test_what_is_no_id_is_not_found(catalog, name):
    add(catalog)
    for call in (catalog.get, catalog.delete):
        with pytest.raises(NotFoundError):
            call(name)
    assert len(catalog.list(10)[0]) == 1


def test_a_few_bad_rows_are_left_out(tmp_path, catalog):
    images = {f"{number}.png": (0, made.IMAGES["0.png"][1]) for number in range(19)}
    record, _ = add(catalog, made.zipped(made.indexed(images | {"torn.png": (1, b"torn")})))
    assert (record.rows, record.good, record.bad_count, record.labels) == (20, 19, 1, {"0": 19})
    assert record.bad[0][0] == "torn.png"
    assert "torn.png" not in catalog.open(record.id).names
    assert len(catalog.open(record.id).names) == 19


def test_too_many_bad_rows_are_refused_and_listed(catalog):
    with pytest.raises(InvalidError, match="1 of 6 rows are bad, more than 5%") as refused:
        add(catalog, made.zipped(made.indexed(made.IMAGES | {"3.png": (1, b"torn")})))
    assert [error["row"] for error in refused.value.errors] == ["3.png"]
    assert left(catalog) == []


def test_data_that_cannot_be_read_leaves_nothing(catalog):
    with pytest.raises(DataError, match="not a readable zip"):
        add(catalog, ZIP[:500])
    with pytest.raises(DataError, match="no known format"):
        add(catalog, ZIP, "set.exe")
    assert left(catalog) == []


def test_a_check_ends_when_its_time_is_up_or_nobody_waits(catalog):
    watch = Watch(60)
    watch()
    watch.stop()
    for late in (Watch(0), watch):
        with pytest.raises(TimedOutError, match="HOWSURE_DATASET_CHECK_SECONDS"):
            add(catalog, watch=late)
    assert left(catalog) == []


def test_content_that_changed_on_disk_is_refused(catalog):
    record, _ = add(catalog)
    catalog.path(record.id).write_bytes(made.SAMPLES["images"]["beside.zip"])
    with pytest.raises(DataError, match="has changed"):
        catalog.open(record.id)


def test_a_damaged_record_can_be_deleted(catalog):
    record, _ = add(catalog)
    for content in ("{", "[]", '{"id": 1}', json.dumps(record.to_dict() | {"more": 1})):
        (catalog.root / record.id / "dataset.json").write_text(content)
        assert catalog.list(10) == ((), False)
        with pytest.raises(InternalError, match="damaged: delete it"):
            catalog.get(record.id)
    catalog.delete(record.id)
    assert add(catalog)[1]


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


def die_in_the_middle(root, stage):
    if stage == "upload":
        incoming = Incoming(root)
        incoming.open("set.zip")
        incoming.write(ZIP[:1000])
    elif stage == "publish":
        Incoming.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        add(DatasetCatalog(root, None, DataLimits(), 0.05))
    else:
        catalog = DatasetCatalog(root, None, DataLimits(), 0.05)
        record, _ = add(catalog)
        import shutil

        shutil.rmtree = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        catalog.delete(record.id)
    os.kill(os.getpid(), signal.SIGKILL)


class TestCrash:
    @pytest.mark.parametrize("stage", ["upload", "publish", "delete"])
    def test_what_a_killed_process_left_is_swept(self, catalog, stage):
        process = multiprocessing.get_context("fork").Process(target=die_in_the_middle, args=(catalog.root, stage))
        process.start()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        assert len(left(catalog)) == 1
        assert catalog.list(10) == ((), False)
        catalog.sweep()
        assert left(catalog) == []
        assert add(catalog)[1]

    def test_an_upload_of_a_living_process_is_left_alone_for_a_day(self, catalog):
        incoming = catalog.begin()
        catalog.sweep()
        assert left(catalog) == [incoming.folder.name]
        yesterday = time.time() - 90_000
        os.utime(incoming.folder, (yesterday, yesterday))
        catalog.sweep()
        assert left(catalog) == []
        incoming.discard()

    def test_other_folders_are_not_touched(self, catalog):
        (catalog.root / "mine").mkdir(parents=True)
        (catalog.root / f"{PREFIX}old").mkdir()
        catalog.sweep()
        assert left(catalog) == ["mine"]


class TestFullDisk:
    def test_a_limit_of_the_process(self, catalog):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(InsufficientStorageError, match="no room left") as refused:
                add(catalog)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert refused.value.__cause__.errno == errno.EFBIG
        assert left(catalog) == []

    def test_a_small_file_system(self, tmp_path):
        """Every amount of room between nothing and enough: refused with nothing left, or kept whole."""
        root = tmp_path / "full"
        root.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", root], capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        try:
            catalog = DatasetCatalog(root, None, DataLimits(), 0.05)
            content = csv_of(1, rows=5000)  # 30 kB
            kept = []
            for room in range(0, 120_000, 8192):
                (root / "filler").write_bytes(bytes(240_000 - room))
                try:
                    record, _ = add(catalog, content, "o.csv")
                except InsufficientStorageError:
                    assert left(catalog) == ["filler"]
                else:
                    kept.append(room)
                    assert catalog.open(record.id).rows == 5000
                    catalog.delete(record.id)
            assert kept
            assert kept[0] > len(content) - 20_480
        finally:
            subprocess.run(["umount", root], check=True)


def test_questions_tell_their_tasks_and_records_from_before_them_are_still_read(catalog):
    record, _ = add(catalog, jsonl(lettered_rows(5)), "q.jsonl")
    assert (record.kind, record.good, record.classes, record.columns) == ("questions", 5, 4, None)
    assert record.tasks == {"the sand": 2, "the sea": 3}
    assert catalog.open(record.id).questions(("row 2",))[0].task == "the sand"
    path = catalog.root / record.id / "dataset.json"
    older = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "tasks"}
    path.write_text(json.dumps(older))
    assert catalog.get(record.id).tasks is None
