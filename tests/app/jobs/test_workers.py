"""Who is alive, on SQLite and on Postgres, by the database's clock."""

import sqlalchemy as sa

from app.jobs import tables
from app.jobs.workers import Workers


def be_silent(workers, executor, seconds):
    quiet = sa.update(tables.workers).where(tables.workers.c.executor == executor)
    with workers.engine.begin() as connection:
        connection.execute(quiet.values(seen_at=tables.workers.c.seen_at - seconds))


def test_enter_renew_leave(workers):
    assert sorted(workers.present()) == ["A", "B", "C"]
    assert workers.alive() == 3
    assert workers.renew("A")
    workers.leave("A")
    workers.leave("A")
    assert not workers.renew("A"), "given up"
    assert sorted(workers.present()) == ["B", "C"]


def test_the_silent_are_removed_once(workers, at_once):
    be_silent(workers, "A", 61)
    be_silent(workers, "B", 30)
    assert workers.alive() == 2
    assert len(workers.present()) == 3
    found = at_once(workers.remove_silent, workers.remove_silent)
    assert ["A"] in found
    assert sorted(workers.present()) == ["B", "C"]
    assert workers.remove_silent() == []


def test_one_who_renews_is_not_silent_any_more(workers):
    be_silent(workers, "A", 61)
    assert workers.renew("A")
    assert workers.remove_silent() == []


def test_a_renewal_against_the_removal(workers, at_once):
    """Either it was in time and the worker stays, or it is told that it has been given up."""
    for _ in range(10):
        be_silent(workers, "A", 61)
        renewed, _ = at_once(lambda: workers.renew("A"), workers.remove_silent)
        assert renewed == ("A" in workers.present())
        if not renewed:
            workers.enter("A")


def test_two_that_share_a_database_see_each_other(database, workers):
    other = Workers(database, dead_seconds=60)
    assert sorted(other.present()) == ["A", "B", "C"]
    assert other.renew("B")
