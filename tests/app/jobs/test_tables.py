"""The database: where it is made, its clock, its locks, and what its errors say."""

import threading
import time

import pytest
import sqlalchemy as sa

from app.jobs.tables import AWAY, events, jobs, now, open_database, why_away
from tests.fixtures.new_jobs import new_job


def test_the_clock_is_that_of_the_day(database):
    with database.connect() as connection:
        first = connection.execute(sa.select(now(database))).scalar_one()
        time.sleep(0.02)
        second = connection.execute(sa.select(now(database))).scalar_one()
    assert abs(first - time.time()) < 5
    assert 0.01 < second - first < 5, "also within a transaction"


def test_events_go_with_their_job(ledger):
    job = ledger.add(new_job(), lambda _: None)[0].id
    with ledger.engine.begin() as connection:
        connection.execute(sa.delete(jobs).where(jobs.c.id == job))
        assert connection.execute(sa.select(events)).all() == []
    with pytest.raises(sa.exc.IntegrityError), ledger.engine.begin() as connection:
        connection.execute(sa.insert(events).values(job="job_0", kind="log", at=0, data={}))


def test_numbers_are_not_used_again(ledger):
    """A follower that goes on after a number would miss an event that got a smaller one."""
    first = ledger.add(new_job(), lambda _: None)[0].id
    number = ledger.events(first)[0].number
    ledger.forget(first)
    second = ledger.add(new_job(), lambda _: None)[0].id
    assert ledger.events(second)[0].number > number


def test_sqlite_makes_its_folder_and_writers_wait(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/a/b/jobs.db")
    table = sa.Table("t", sa.MetaData(), sa.Column("x", sa.Integer))
    table.create(engine)
    written = []

    def write():
        with engine.begin() as connection:
            connection.execute(sa.insert(table).values(x=1))
            written.append(time.monotonic())
            time.sleep(0.3)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written[1] - written[0] >= 0.25
    engine.dispose()


def test_an_absent_postgres_is_away_and_the_password_stays_secret():
    engine = open_database("postgresql://someone:hunter2@127.0.0.1:1/howsure")
    with pytest.raises(AWAY) as raised:
        engine.connect()
    assert "refused" in why_away(raised.value)
    assert "hunter2" not in why_away(raised.value) + str(raised.value) + repr(engine)


def test_a_pool_without_a_free_connection_is_away():
    assert issubclass(sa.exc.TimeoutError, AWAY)
    assert why_away(sa.exc.TimeoutError("all in use")) == "all in use"


def test_a_reason_leaves_out_statement_and_values(database):
    with pytest.raises(sa.exc.DBAPIError) as raised, database.connect() as connection:
        connection.execute(sa.text("SELECT 1 FROM nowhere WHERE 'a' = :secret"), {"secret": "hunter2"})
    assert "nowhere" in why_away(raised.value)
    assert "hunter2" not in why_away(raised.value)
