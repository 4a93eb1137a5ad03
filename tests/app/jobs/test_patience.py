import threading
import time

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from app.jobs import patience
from app.jobs.patience import patient

AWAY = OperationalError("SELECT 1", {"x": "hunter2"}, Exception("server closed"))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)


@pytest.fixture
def failing():
    """`failing(times, error)`: a call that fails so often, then gives 7."""

    def failing(times, error):
        left = [error] * times

        def call():
            if left:
                raise left.pop()
            return 7

        return call

    return failing


def test_waits_until_the_database_is_back(failing, caplog):
    assert patient(failing(3, AWAY), threading.Event()) == 7
    assert [(record.event, record.reason) for record in caplog.records] == [("database_away", "server closed")] * 3
    assert "hunter2" not in caplog.text


def test_pauses_grow(failing):
    started = time.monotonic()
    patient(failing(4, AWAY), threading.Event())
    assert time.monotonic() - started >= 0.01 + 0.02 + 0.04 + 0.08


def test_other_errors_are_raised_at_once(failing):
    for error in (IntegrityError("", {}, Exception()), ValueError()):
        with pytest.raises(type(error)):
            patient(failing(1, error), threading.Event())


def test_ends_when_told_to_stop(failing):
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(OperationalError):
        patient(failing(10_000, AWAY), stop)
    with pytest.raises(OperationalError):
        patient(failing(1, AWAY), stop)
