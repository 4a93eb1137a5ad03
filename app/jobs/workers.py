"""Which workers are alive, by a row that each renews; silence longer than the limit means dead."""

import socket
from collections.abc import Sequence

import sqlalchemy as sa

from app.jobs.tables import now, workers


class Workers:
    """The heartbeat table. All times are the database's."""

    def __init__(self, engine: sa.Engine, dead_seconds: float) -> None:
        self.engine = engine
        self.dead_seconds = dead_seconds
        self._now = now(engine)

    def enter(self, executor: str) -> None:
        with self.engine.begin() as connection:
            row = {"executor": executor, "host": socket.gethostname(), "started_at": self._now, "seen_at": self._now}
            connection.execute(sa.insert(workers).values(**row))

    def renew(self, executor: str) -> bool:
        """False when the others have given this worker up: its jobs are theirs now."""
        change = sa.update(workers).where(workers.c.executor == executor).values(seen_at=self._now)
        with self.engine.begin() as connection:
            return connection.execute(change).rowcount == 1

    def leave(self, executor: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.delete(workers).where(workers.c.executor == executor))

    def remove_silent(self) -> Sequence[str]:
        """Strike out who was not heard of for longer than the limit; returns them."""
        silent = workers.c.seen_at < self._now - self.dead_seconds
        with self.engine.begin() as connection:
            found = connection.execute(sa.select(workers.c.executor).where(silent)).scalars().all()
            # By the same condition again: one who has renewed its row in between is alive.
            connection.execute(sa.delete(workers).where(workers.c.executor.in_(found), silent))
        return list(found)

    def alive(self) -> int:
        """How many were heard of within the limit."""
        heard = workers.c.seen_at >= self._now - self.dead_seconds
        with self.engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).where(heard)).scalar_one())

    def present(self) -> Sequence[str]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(workers.c.executor)).scalars())
