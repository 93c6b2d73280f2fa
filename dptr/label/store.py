"""A set of labels: photographs, the words in them, and what people say of each, in one SQLite database.

Every change is one transaction that is on the disk when the call returns (WAL, ``synchronous=FULL``): a killed program
or a full disk loses nothing that was saved before. Each word has a version, which every change raises by one, and a
change names the version that it was made to. So of two people who change one word the second is told, and nothing is
overwritten unseen.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dptr.photo.page import Outline
from dptr.text.charset import normalize_label
from dptr.utils.errors import UserError

DATABASE = "label.db"
State = Literal["open", "sure", "labeled", "illegible"]
"""Of a word: waits for somebody; accepted because the recognizer was sure; labeled by somebody; nobody can read it."""

STATES: tuple[State, ...] = get_args(State)
ACCEPTED: tuple[State, ...] = ("sure", "labeled")
LONGEST = 200  # characters of a label

_APPLICATION = 0x44505452  # "DPTR" in the database's header
_SCHEMA = 1
_WAIT = 10.0  # seconds for another program's transaction
_CHUNK = 500  # rows that are fetched together

_TABLES = f"""
CREATE TABLE photo (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL, number INTEGER NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, error TEXT NOT NULL, UNIQUE (path, number));
CREATE TABLE content (photo INTEGER PRIMARY KEY REFERENCES photo, bytes BLOB NOT NULL);
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
_ITEM = (
    "SELECT item.id, photo, path, number, width, height, outline, proposed, confidence, text, state, version "
    "FROM item JOIN photo ON photo.id = item.photo"
)


@dataclass(frozen=True)
class Photo:
    """A photograph, a page, or a crop.

    Attributes:
        path: of the file; of one whose bytes are kept in the set, its name.
        number: of the page or frame in its file, from 1.
        width, height: in pixels; 0 where it could not be opened.
        error: why it could not be opened; empty if it could.
    """

    id: int
    path: str
    number: int
    width: int
    height: int
    error: str = ""


@dataclass(frozen=True)
class Proposal:
    """A word that was found.

    Attributes:
        outline: as ``dptr.photo.page.Word.polygon``; empty = the whole picture.
        text: what was read.
        confidence: 0 to 1.
        state: what becomes of it.
    """

    outline: Outline
    text: str
    confidence: float
    state: State = "open"


@dataclass(frozen=True)
class Item:
    """A word of the set.

    Attributes:
        photo: where it stands.
        outline: as of ``Proposal``.
        proposed, confidence: what the recognizer read, and how sure it was, 0 to 1.
        text: the label; of an open word what is proposed, or what somebody has begun to write.
        version: of this state of it, from 1.
    """

    id: int
    photo: Photo
    outline: Outline
    proposed: str
    confidence: float
    text: str
    state: State
    version: int


class Conflict(UserError):
    """Somebody else changed the word; ``item`` is what it is now."""

    def __init__(self, item: Item) -> None:
        super().__init__(f"word {item.id}: changed by somebody else meanwhile, to '{item.text}' ({item.state})")
        self.item = item


class Store:
    """A set of labels in a folder; several threads may use it, and several programs the same folder.

    Args:
        folder: new, empty, or one that this class made.

    Raises:
        UserError: a folder with other things in it, or a database that is damaged, of a later version, or cannot be
            written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.path = self.folder / DATABASE
        _check_folder(self.folder)
        self._lock = threading.RLock()
        with self._explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, _WAIT, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        self._prepare()

    def close(self) -> None:
        """Close the database; the set can be opened again."""
        with self._lock:
            self._connection.close()

    # --- what is found ------------------------------------------------------------------------------------------------

    def add(
        self,
        path: str,
        number: int,
        size: tuple[int, int],
        proposals: Sequence[Proposal] = (),
        content: bytes | None = None,
        error: str = "",
    ) -> bool:
        """Add a photograph with its words, all or nothing.

        Args:
            size: width and height in pixels.
            content: its file, if the set is to keep it.
            error: why it could not be opened.

        Returns:
            Whether it is new, or could not be opened before; one that is there stays as it is, with its words.
        """
        now = time.time()
        with self._change() as connection:
            added = connection.execute(
                "INSERT INTO photo (path, number, width, height, error) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET width = excluded.width, height = excluded.height, error = excluded.error "
                "WHERE error <> '' RETURNING id",
                (os.fsencode(path), number, *size, _storable(error)),
            ).fetchone()
            if added is None:
                return False
            (photo,) = added
            if content is not None:
                connection.execute("INSERT INTO content VALUES (?, ?)", (photo, content))
            connection.executemany(
                "INSERT INTO item (photo, outline, proposed, confidence, text, state, version, changed) "
                "VALUES (?, ?, ?, ?, ?, ?, 1, ?)",
                [
                    (photo, _dump(each.outline), text, each.confidence, text, each.state, now)
                    for each in proposals
                    for text in (_storable(each.text),)
                ],
            )
        return True

    def finish(self, path: str) -> None:
        """Note that all pages of a file are in the set."""
        with self._change() as connection:
            connection.execute("INSERT OR IGNORE INTO finished VALUES (?)", (os.fsencode(path),))

    def is_finished(self, path: str) -> bool:
        """Whether all pages of a file are in the set."""
        return bool(self._all("SELECT 1 FROM finished WHERE path = ?", os.fsencode(path)))

    def content(self, photo: Photo) -> bytes | None:
        """The file of a picture that the set keeps; None for one that lies elsewhere."""
        rows = self._all("SELECT bytes FROM content WHERE photo = ?", photo.id)
        return rows[0][0] if rows else None

    # --- what people say ----------------------------------------------------------------------------------------------

    def change(
        self,
        item: int,
        version: int,
        text: str | None = None,
        state: State | None = None,
        outline: Outline | None = None,
        reading: tuple[str, float] | None = None,
    ) -> Item:
        """Change a word; it is on the disk when this returns.

        Args:
            item: its id.
            version: of what the change was made to.
            text, state, outline: the new values; None = as before.
            reading: what the recognizer reads now, and its confidence.

        Raises:
            Conflict: the word has another version by now.
            UserError: there is no such word, the label cannot be kept (``check_text``), or the disk is full; nothing is
                changed then.
        """
        with self._change() as connection:
            found = connection.execute(f"{_ITEM} WHERE item.id = ?", (item,)).fetchone()
            if found is None:
                raise UserError(f"word {item}: not in {self.folder}; load the page again")
            before = _item(found)
            if before.version != version:
                raise Conflict(before)
            state = before.state if state is None else state
            text = before.text if text is None else check_text(text, empty=state not in ACCEPTED)
            if state in ACCEPTED and not text:
                raise UserError(f"word {item}: an empty label; write what is to be read, or mark it illegible")
            outline = before.outline if outline is None else outline
            proposed, confidence = reading or (before.proposed, before.confidence)
            connection.execute(
                "UPDATE item SET text = ?, state = ?, outline = ?, proposed = ?, confidence = ?, version = ?, "
                "changed = ? WHERE id = ?",
                (
                    text, state, _dump(outline), _storable(proposed), confidence, version + 1, time.time(), item,
                ),
            )  # fmt: skip
            return _item(connection.execute(f"{_ITEM} WHERE item.id = ?", (item,)).fetchone())

    def get(self, item: int) -> Item:
        """A word.

        Raises:
            UserError: there is none of this id.
        """
        rows = self._all(f"{_ITEM} WHERE item.id = ?", item)
        if not rows:
            raise UserError(f"word {item}: not in {self.folder}; load the page again")
        return _item(rows[0])

    def items(self, state: State, after: tuple[float, int] = (-1.0, 0), limit: int = 20) -> list[Item]:
        """Words of a state, the least sure first.

        Args:
            after: confidence and id of the last one that is known.
        """
        rows = self._all(
            f"{_ITEM} WHERE state = ? AND (confidence, item.id) > (?, ?) ORDER BY confidence, item.id LIMIT ?",
            state, *after, limit,
        )  # fmt: skip
        return [_item(row) for row in rows]

    def each(self, states: Sequence[State] = STATES) -> Iterator[Item]:
        """All words of some states, photograph by photograph; they are fetched piece by piece."""
        marks = ", ".join("?" * len(states))
        last = 0
        while rows := self._all(
            f"{_ITEM} WHERE item.id > ? AND state IN ({marks}) ORDER BY item.id LIMIT {_CHUNK}", last, *states
        ):
            for row in rows:
                yield _item(row)
            last = rows[-1][0]

    def counts(self) -> dict[str, int]:
        """How many words have each state."""
        return dict(self._all("SELECT state, items FROM count"))

    def photos(self) -> tuple[int, int]:
        """How many photographs were read, and how many could not be."""
        rows = dict(self._all("SELECT error <> '', count(*) FROM photo GROUP BY 1"))
        return rows.get(0, 0), rows.get(1, 0)

    # --- notes --------------------------------------------------------------------------------------------------------

    def note(self, key: str) -> Any:
        """What was noted under a key, as JSON holds it; None if nothing was."""
        rows = self._all("SELECT value FROM note WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def write_note(self, key: str, value: Any) -> None:
        """Note something about the set."""
        with self._change() as connection:
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, json.dumps(value)))

    # --- SQLite -------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        with self._change() as connection:
            application, version = (
                connection.execute(f"PRAGMA {key}").fetchone()[0] for key in ("application_id", "user_version")
            )
            if application == _APPLICATION and version == _SCHEMA:
                return
            if application or version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise UserError(f"{self.path}: no set of labels of this version of dptr; pass another folder")
            for statement in _statements(_TABLES):
                connection.execute(statement)
            connection.executemany("INSERT INTO count VALUES (?, 0)", [(state,) for state in STATES])
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk at the end, or nothing."""
        with self._lock, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite rolls back by itself where the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def _all(self, query: str, *values: Any) -> list[Any]:
        with self._lock, self._explained():
            return self._connection.execute(query, values).fetchall()

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
            raise UserError(f"{self.path}: {error}; {remedy}") from error


def check_text(text: str, empty: bool = False) -> str:
    """A label as it is kept: Unicode NFC, each run of white space inside one space, and none at its ends.

    Args:
        empty: whether it may be empty.

    Raises:
        UserError: it holds controls, is too long, or is empty.
    """
    text = normalize_label(text, spaces=True)
    if any(ord(each) < 32 or each == "\x7f" for each in text) or _storable(text) != text:
        raise UserError(f"label {text[:40]!r}: holds a control or half a character; write what is to be read")
    if len(text) > LONGEST:
        raise UserError(f"label of {len(text)} characters: {LONGEST} are kept at most; cut the box into words")
    if not text and not empty:
        raise UserError("an empty label; write what is to be read, or mark it illegible")
    return text


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"cannot write {folder}: a file; pass the name of a folder")
    try:
        names = sorted(os.listdir(folder)) if folder.exists() else []
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; pass another folder") from error
    if names and DATABASE not in names:
        raise UserError(
            f"{folder}: not empty ({', '.join(names[:3])}) and no set of labels that dptr made; pass another folder"
        )


def _item(row: Sequence[Any]) -> Item:
    id, photo, path, number, width, height, outline, proposed, confidence, text, state, version = row
    place = Photo(photo, os.fsdecode(path), number, width, height)
    return Item(id, place, _load(outline), proposed, confidence, text, state, version)


def _dump(outline: Outline) -> str:
    return json.dumps([[round(x, 1), round(y, 1)] for x, y in outline]) if outline else ""


def _load(outline: str) -> Outline:
    return tuple((x, y) for x, y in json.loads(outline)) if outline else ()


def _storable(text: str) -> str:
    """Text that is Unicode: halves of characters are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _statements(script: str) -> Iterator[str]:
    held = ""
    for line in script.splitlines():
        held += line + "\n"
        if sqlite3.complete_statement(held):
            yield held
            held = ""
