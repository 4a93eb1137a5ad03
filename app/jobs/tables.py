"""The tables beside the engine's own, in the same database: SQLite on one machine, Postgres for many."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import InterfaceError, OperationalError

tables = sa.MetaData()

# What a call raises while the database is away; the last one when all connections wait for it.
AWAY = (OperationalError, InterfaceError, sa.exc.TimeoutError)

jobs = sa.Table(
    "howsure_jobs",
    tables,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, index=True),
    sa.Column("dataset", sa.Text, nullable=False, index=True),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("error", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("executor", sa.Text, index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
)

events = sa.Table(
    "howsure_job_events",
    tables,
    # A number of the database's own: it grows within each job, whoever writes.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("job", sa.Text, sa.ForeignKey("howsure_jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

workers = sa.Table(
    "howsure_workers",
    tables,
    sa.Column("executor", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
)


def open_database(url: str) -> sa.Engine:
    """An engine for a `sqlite:///` or `postgresql://` address. Every process opens its own.

    A connection that the server closed meanwhile is replaced before use.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    # Without TCP's own patience: a database that is gone must show within seconds, not minutes.
    patience: dict[str, Any] = {
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,  # milliseconds; keepalives do not run while something sent is unanswered
    }
    return sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_size=5, connect_args=patience
    )


def why_away(error: Exception) -> str:
    """The driver's own words. Those of the whole error would add the statement and its values."""
    return str(getattr(error, "orig", None) or error).strip()


def now(engine: sa.Engine) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the database's clock, the only one that all workers share."""
    if engine.dialect.name == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Double)
    return sa.literal_column("extract(epoch from clock_timestamp())::double precision", sa.Double)


def _prepare_sqlite(connection: Any, _: object) -> None:
    # As the engine does it: writers take their lock when they begin, and wait for each other rather than fail.
    connection.isolation_level = "IMMEDIATE"
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA foreign_keys=ON")
