import threading
from dataclasses import replace

import pytest

from app.jobs.ledger import Ledger
from app.jobs.workers import Workers
from models.training.from_archives import build_version


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
