import threading
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from app.api.job_schemas import JobRequest
from app.datasets.catalog import DatasetCatalog
from app.errors import InvalidError
from app.jobs.admission import check_admission
from app.jobs.ledger import Ledger
from app.jobs.workers import Workers
from app.settings import Settings
from models.training.from_archives import build_version
from tests.fixtures.jobs import add_dataset
from tests.fixtures.new_jobs import new_job


@pytest.fixture
def ledger(database):
    ledger = Ledger(database)
    ledger.create_tables()
    return ledger


@pytest.fixture
def workers(database, ledger):
    """A, B and C are alive."""
    workers = Workers(database, dead_seconds=60)
    for executor in "ABC":
        workers.enter(executor)
    return workers


@pytest.fixture
def add(ledger):
    """`add(…)`: the id of a new job, as `new_job`."""

    def add(*args, **fields):
        return ledger.add(new_job(*args, **fields), lambda _: None)[0].id

    return add


@pytest.fixture
def begun(ledger, add, workers):
    """`begun()`: the id of a new job that worker A has."""

    def begun():
        job = add()
        assert ledger.start(job, "A")
        return job

    return begun


@pytest.fixture
def at_once():
    """`at_once(call, …)`: their results, of threads that begin together."""

    def at_once(*calls):
        barrier = threading.Barrier(len(calls))
        found = [None] * len(calls)

        def run(place, call):
            barrier.wait()
            try:
                found[place] = call()
            except Exception as error:
                found[place] = error

        threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    return at_once


@pytest.fixture(scope="session")
def clipped(tiny):
    """A version of `tiny` whose calibrator needs features."""
    recipe = replace(tiny.plan.recipe, calibrator="feature_clipping", compared=(), precisions=("float32",))
    return build_version(replace(tiny.plan, recipe=recipe), tiny.network)


@pytest.fixture
def admit(tiny_store):
    """`admit(content, **request)`: check a job on these data before it is queued; `content` may be a dataset's id."""
    settings = Settings(store=tiny_store.root)

    def admit(content, type="calibrate", model="tiny", name="outputs.csv", **params):
        dataset = content if isinstance(content, str) else add_dataset(settings, name, content)
        request = {"type": type, "model": model, "dataset": dataset, "params": params}
        checked = TypeAdapter(JobRequest).validate_python(request)
        check_admission(tiny_store, DatasetCatalog.of(settings), checked)

    return admit


@pytest.fixture
def refused(admit):
    """`refused(…)`, as `admit`: pointer and detail of the one error."""

    def refused(*args, **kwargs):
        with pytest.raises(InvalidError) as raised:
            admit(*args, **kwargs)
        (error,) = raised.value.errors
        return error["pointer"], error["detail"]

    return refused
