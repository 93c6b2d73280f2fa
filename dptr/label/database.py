"""The SQLite database of a label set: its tables, and transactions that are on the disk when they end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dptr.label.item import STATES
from dptr.utils.errors import UserError

_APPLICATION = 0x44505452  # "DPTR" in ASCII, as SQLite's application_id
_SCHEMA = 1
_PRAGMAS = "application_id", "user_version"
_WAIT = 10.0  # seconds to wait for another program's transaction

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
    """The database could not be read or written: a full disk, a lock of another program, or a damaged file."""


class Database:
    """An open database. Threads may share it, and several programs may open the same file.

    Args:
        path: the file; it and its folder are created if they are missing.

    Raises:
        NotSaved: the file is damaged or cannot be written.
        UserError: the file belongs to another program, or to another version of the schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._explain_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, _WAIT, isolation_level=None, check_same_thread=False)
            new = self._is_new()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        if new:
            self._create()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction: at the end all of it is on the disk, or nothing.

        Raises:
            NotSaved: the disk is full, or another program locks the database.
        """
        with self._lock, self._explain_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite rolls back by itself on a full disk
                    self._connection.execute("ROLLBACK")
                raise

    def fetch(self, query: str, *values: Any) -> list[Any]:
        """All rows of a query.

        Raises:
            NotSaved: the database cannot be read.
        """
        with self._lock, self._explain_errors():
            return self._connection.execute(query, values).fetchall()

    def _is_new(self) -> bool:
        application, version = (self._connection.execute(f"PRAGMA {key}").fetchone()[0] for key in _PRAGMAS)
        if (application, version) == (_APPLICATION, _SCHEMA):
            return False
        if application or version or self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise UserError(f"{self.path}: no set of labels of this version of dptr; pass another folder")
        return True

    def _create(self) -> None:
        with self.change() as connection:
            if not self._is_new():  # another program has created it meanwhile
                return
            for statement in _split_statements(_TABLES):
                connection.execute(statement)
            connection.executemany("INSERT INTO count VALUES (?, 0)", [(state,) for state in STATES])
            for key, value in zip(_PRAGMAS, (_APPLICATION, _SCHEMA), strict=True):
                connection.execute(f"PRAGMA {key} = {value}")

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Raise errors of SQLite and of the file system as ``NotSaved``, with a remedy."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            remedy = "check the folder and its disk"
            if "full" in str(error):
                remedy = "free space and save again; what was saved before is safe"
            elif "locked" in str(error):
                remedy = "another program writes in it; try again"
            raise NotSaved(f"{self.path}: {error}; {remedy}") from error


def _split_statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
