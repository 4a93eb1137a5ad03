"""The catalog: content-addressed, whole or not at all, honest about what changed or is damaged."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.datasets.incoming import root_locked
from app.datasets.watch import Watch
from app.errors import InternalError, InvalidError, NotFoundError, TimedOutError
from models.core.errors import DataError
from tests.fixtures import labelled_data as made
from tests.fixtures.catalogs import ZIP, add, csv_of, left
from tests.fixtures.questions import jsonl, lettered_rows


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
    with pytest.raises(NotFoundError):
        catalog.delete("ds_" + "0" * 20)
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


def test_of_two_deletes_at_once_one_finds_nothing(catalog):
    record, _ = add(catalog)
    with ThreadPoolExecutor(2) as pool:
        with root_locked(catalog.root):
            deletes = [pool.submit(catalog.delete, record.id) for _ in range(2)]
            time.sleep(0.2)
        errors = [delete.exception() for delete in deletes]
    assert {type(error) for error in errors} == {type(None), NotFoundError}
    assert left(catalog) == []


@pytest.mark.parametrize(
    "name", ["..", "../datasets", "", "/etc", ".lock", "ds_", "ds_" + "G" * 20, "ds_" + "0" * 20 + "/.."]
)
def test_what_is_no_id_is_not_found(catalog, name):
    add(catalog)
    for call in (catalog.get, catalog.delete):
        with pytest.raises(NotFoundError):
            call(name)
    assert len(catalog.list(10)[0]) == 1


def test_a_few_bad_rows_are_left_out(catalog):
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
    left_alone, late = Watch(60), Watch(0)
    left_alone()
    left_alone.stop()
    late()
    for watch in (left_alone, late):
        watch.start()
        with pytest.raises(TimedOutError, match="HOWSURE_DATASET_CHECK_SECONDS"):
            add(catalog, watch=watch)
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


def test_questions_tell_their_tasks_and_records_from_before_them_are_still_read(catalog):
    record, _ = add(catalog, jsonl(lettered_rows(5)), "q.jsonl")
    assert (record.kind, record.good, record.classes, record.columns) == ("questions", 5, 4, None)
    assert record.tasks == {"the sand": 2, "the sea": 3}
    assert catalog.open(record.id).questions(("row 2",))[0].task == "the sand"
    path = catalog.root / record.id / "dataset.json"
    older = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "tasks"}
    path.write_text(json.dumps(older))
    assert catalog.get(record.id).tasks is None
