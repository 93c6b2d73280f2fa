"""The database of a set of labels: its tables, and transactions that are on the disk when they end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dptr.label.item import STATES
from dptr.utils.errors import UserError

_APPLICATION = 0x44505452  # "DPTR" in the database's header
_SCHEMA = 1
_MARKS = "application_id", "user_version"
_WAIT = 10.0  # seconds for another program's transaction

_TABLES = f"""
CREATE TABLE photo (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL, number INTEGER NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, error TEXT NOT NULL, UNIQUE (path, number));
CREATE TABLE content (path BLOB PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE finished (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE count (state TEXT PRIMARY KEY, items INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE item (
    id INTEGER PRIMARY KEY, photo INTEGER NOT NULL REFERENCES photo, outline TEXT NOT NULL, proposed TEXT NOT NULL,
    confidence REAL NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN {STATES!r}),
    version INTEGER NOT NULL, changed REAL NOT NULL);
CREATE INDEX by_use ON item (state, confidence, id);
CREATE TRIGGER added AFTER INSERT ON item BEGIN
    UPDATE count SET items = items + 1 WHERE state = new.state; END;
CREATE TRIGGER moved AFTER UPDATE OF state ON item WHEN new.state <> old.state BEGIN
    UPDATE count SET items = items - 1 WHERE state = old.state;
    UPDATE count SET items = items + 1 WHERE state = new.state; END;
"""


class NotSaved(UserError):
    """The database refused: a full disk, another program that holds it, damage."""


class Database:
    """An open database; several threads may use it, and several programs the same file.

    Raises:
        UserError: it is damaged, of a later version, another program's, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, _WAIT, isolation_level=None, check_same_thread=False)
            new = self._is_new()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        if new:
            self._create()

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk at the end, or nothing.

        Raises:
            NotSaved: the disk is full, or another program holds the database.
        """
        with self._lock, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite rolls back by itself where the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def fetch(self, query: str, *values: Any) -> list[Any]:
        """All rows of a query."""
        with self._lock, self._explained():
            return self._connection.execute(query, values).fetchall()

    def _is_new(self) -> bool:
        held, version = (self._connection.execute(f"PRAGMA {key}").fetchone()[0] for key in _MARKS)
        if (held, version) == (_APPLICATION, _SCHEMA):
            return False
        if held or version or self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise UserError(f"{self.path}: no set of labels of this version of dptr; pass another folder")
        return True

    def _create(self) -> None:
        with self.change() as connection:
            if not self._is_new():  # another program was quicker
                return
            for statement in _statements(_TABLES):
                connection.execute(statement)
            connection.executemany("INSERT INTO count VALUES (?, 0)", [(state,) for state in STATES])
            for key, value in zip(_MARKS, (_APPLICATION, _SCHEMA), strict=True):
                connection.execute(f"PRAGMA {key} = {value}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            remedy = "check the folder and its disk"
            if "full" in str(error):
                remedy = "free space and save again; what was saved before is safe"
            elif "locked" in str(error):
                remedy = "another program writes in it; try again"
            raise NotSaved(f"{self.path}: {error}; {remedy}") from error


def _statements(script: str) -> Iterator[str]:
    held = ""
    for line in script.splitlines():
        held += line + "\n"
        if sqlite3.complete_statement(held):
            yield held
            held = ""
