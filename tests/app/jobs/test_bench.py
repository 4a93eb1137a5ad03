"""What jobs share: outputs that one job has collected are there for the next, as long as there is room."""

import shutil

import pytest

from app.jobs.bench import Bench
from models.core.errors import DataError, StaleCacheError
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.key import KEY
from models.feature_cache.view_plan import ViewPlan
from tests.fixtures.tables import outputs_table

COMMON = {"method": "temperature", "promote": False}
THERE = "outputs of 120 rows were there already"


@pytest.fixture
def job_on(staged_job, digit_archive):
    """`job_on(type, **params)`: a job on the digits."""

    def job_on(type="calibrate", **params):
        return staged_job(digit_archive.path.read_bytes(), type, name="digits.zip", **params)

    return job_on


def no_forward_pass(monkeypatch):
    def refuse(*_):
        raise AssertionError("these outputs were there already")

    monkeypatch.setattr(ForwardPasses, "compute", refuse)


def test_a_second_job_needs_no_forward_pass(job_on, store, monkeypatch):
    first = job_on(**COMMON)
    first.run("outputs", "fit", "publish")
    assert THERE not in first.log
    no_forward_pass(monkeypatch)
    second = job_on(**COMMON, seed=1)
    second.run("outputs", "fit", "publish")
    assert THERE in second.log
    judged = job_on("evaluate")
    judged.run()
    assert THERE in judged.log
    assert any(message.get("message") == "120 of 120 images, float32" for message in judged.said)


def test_outputs_that_were_removed_between_two_stages_are_made_anew(job_on, job_settings):
    job = job_on(**COMMON)
    job.run("outputs")
    before = job.run("fit")
    shutil.rmtree(job_settings.feature_cache)
    assert job.run("fit") == before


def test_views_of_some_rows(job_on, digit_archive, monkeypatch):
    bench, names, plan = Bench(job_on(**COMMON).context), digit_archive.names[:70], ViewPlan(count=2, seed=3)
    bench.collect_views("float32", names, plan, 0.25, 0.5)
    views = bench.views("float32", names, plan)
    rows = views.read(0, views.total)
    assert views.total == 140
    assert [bench.labels[names[image]] for image in rows.images.tolist()] == rows.labels.tolist()
    said = [message["progress"] for message in bench.context.say.__self__ if "progress" in message]
    assert 0.25 < said[0] < said[-1] == 0.75
    assert not any(THERE in message.get("log", "") for message in bench.context.say.__self__)
    no_forward_pass(monkeypatch)
    again = bench.views("float32", names, plan).read(0, 140)
    assert again.features.equal(rows.features)
    assert views.cache.layout.classes is None, "logits of views are not stored"


def test_a_stale_cache_is_refused(job_on, job_settings):
    job = job_on(**COMMON)
    job.run("outputs")
    (path,) = job_settings.feature_cache.glob(f"*/{KEY}")
    path.write_text(path.read_text().replace('"float32"', '"bfloat16"'))
    with pytest.raises(StaleCacheError, match="differ"):
        job.run("fit")


def test_old_outputs_make_room_and_what_never_fits_is_refused(job_on, job_settings, digit_archive, monkeypatch):
    monkeypatch.setenv("HOWSURE_FEATURE_CACHE_BYTES", str(2**20))
    count = 2**20 // (120 * (4 * 256 + 8 + 4)) - 1
    job = job_on(**COMMON)
    for seed in range(2):
        small = Bench(job.context)
        small.collect_views("float32", digit_archive.names, ViewPlan(count, seed), 0, 1)
    assert len(list(job_settings.feature_cache.glob(f"*/{KEY}"))) == 1
    assert any("used longest ago, to make room" in message.get("log", "") for message in small.context.say.__self__)
    with pytest.raises(DataError, match="more than HOWSURE_FEATURE_CACHE_BYTES"):
        small.collect_views("float32", digit_archive.names, ViewPlan(count + 2, 0), 0, 1)


def test_two_that_fit_only_singly_do_not_take_each_others_room(job_on, job_settings, monkeypatch):
    monkeypatch.setenv("HOWSURE_FEATURE_CACHE_BYTES", str(2**20))  # 960 views take 995 kB
    job = job_on("loss_rank", views=16, passes=1, width=4, depth=1, promote=False)
    job.run("outputs")
    assert len(list(job_settings.feature_cache.glob(f"*/{KEY}"))) == 2
    no_forward_pass(monkeypatch)
    job.run("fit")


def test_a_table_has_no_views(staged_job):
    bench = Bench(staged_job(outputs_table(40), **COMMON).context)
    with pytest.raises(DataError, match="send the images themselves"):
        bench.collect_views("float32", bench.data.names, ViewPlan(1, 0), 0, 1)


def test_too_many_images_that_cannot_be_read(job_on, monkeypatch):
    bench = Bench(job_on(**COMMON).context)
    contents = bench.images.contents

    def damaged(names):
        pairs = zip(names, contents(names), strict=True)
        return [None if int(name.partition(".")[0]) < 7 else content for name, content in pairs]

    monkeypatch.setattr(bench.images, "contents", damaged)
    with pytest.raises(DataError, match=r"7 of 120 images cannot be read, the first is 0.png: damaged in the archive"):
        bench.collect(until=1)
