"""A run's own entry among the holders of a ledger, and what it does about the dead ones."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from omnitalk_cli.batch.holders import BEAT_SECONDS, Holder, Watch
from omnitalk_cli.batch.store import Store
from omnitalk_cli.errors import OmnitalkError

_FREE = "UPDATE jobs SET state = 'pending', holder = '' WHERE state = 'running' AND holder = ?"


class Presence:
    """Says in the ledger that this run lives, and frees the rows of runs that do not any more.

    A thread does both every ``BEAT_SECONDS`` from ``join`` to ``leave``.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._watch = Watch(clock)
        self._me = Holder.this_process()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def token(self) -> str:
        """What stands in the rows of this run."""
        return self._me.token

    def join(self) -> None:
        """Enter this run and begin to watch the others."""
        self.beat()
        self._thread = threading.Thread(target=self._keep_on, name="batch lease", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Give back all rows that this run still holds. An error is for the others to clear up."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            with suppress(OmnitalkError), self._store.writing() as database:
                database.execute(_FREE, (self.token,))
                database.execute("DELETE FROM holders WHERE token = ?", (self.token,))

    def beat(self) -> None:
        """One more sign of life, and a look at those of the others."""
        with self._store.writing() as database:
            self.renew(database)
        with self._store.reading() as database:
            holders = [_holder(row) for row in database.execute("SELECT * FROM holders")]
        for holder in holders:
            if not self._lives(holder):
                self._bury(holder)

    def renew(self, database: sqlite3.Connection) -> None:
        """The same inside a transaction; also when others took this run for dead meanwhile."""
        me = self._me
        database.execute(
            "INSERT INTO holders (token, host, name, pid, started, beat) VALUES (?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (token) DO UPDATE SET beat = beat + 1",
            (me.token, me.host, me.name, me.pid, me.started),
        )

    def living(self, tokens: Iterable[str]) -> dict[str, Holder]:
        """Those of the holders that live; the rows of the others are free when this returns."""
        found = {}
        for token in set(tokens):
            with self._store.reading() as database:
                row = database.execute("SELECT * FROM holders WHERE token = ?", (token,)).fetchone()
            holder = _holder(row) if row else None
            if holder is None:
                self._free_orphans(token)
            elif self._lives(holder):
                found[token] = holder
            else:
                self._bury(holder)
        return found

    def _lives(self, holder: Holder) -> bool:
        return holder.token == self.token or self._watch.alive(holder)

    def _bury(self, holder: Holder) -> None:
        with self._store.writing() as database:
            # Unless it gave a sign of life in the meantime.
            gone = database.execute(
                "DELETE FROM holders WHERE token = ? AND beat = ?", (holder.token, holder.beat)
            )
            if gone.rowcount:
                database.execute(_FREE, (holder.token,))
                self._watch.forget(holder.token)

    def _free_orphans(self, token: str) -> None:
        with self._store.writing() as database:
            entered = database.execute("SELECT 1 FROM holders WHERE token = ?", (token,))
            if entered.fetchone() is None:
                database.execute(_FREE, (token,))

    def _keep_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            # A full disk or a lost network may come back before the lease is over.
            with suppress(OmnitalkError):
                self.beat()


def _holder(row: sqlite3.Row) -> Holder:
    return Holder(**dict(row))
