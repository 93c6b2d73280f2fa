"""A label set in one SQLite database: photographs, the words in them, and the label of each word.

Every change is one transaction, which is on the disk when the call returns (WAL, ``synchronous=FULL``). A killed
program or a full disk therefore loses nothing that was saved before.

Each word has a version. A change names the version that it applies to, and increases it by 1. If two people change the
same version of a word, the second change raises ``Conflict``, so nobody overwrites a label that they have not seen.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from dptr.label.database import Database
from dptr.label.item import ACCEPTED, STATES, Conflict, Item, Photo, Proposal, State, as_label, check_text, storable
from dptr.label.rows import ADD, HIGHEST, ITEM, dump_outline, make_item, new_row, next_id
from dptr.photo.page import Outline
from dptr.utils.errors import UserError

DATABASE = "label.db"
_CHUNK = 500  # rows fetched in one query


class Store:
    """A label set in a folder. Threads may share it, and several programs may open the same folder.

    Every method may raise ``dptr.label.database.NotSaved``, a ``UserError``, if the database cannot be read or written.

    Args:
        folder: a folder that does not exist, is empty, or was made by this class.

    Raises:
        UserError: the folder holds something else; or the database is damaged, is of another version, or cannot be
            written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.path = self.folder / DATABASE
        _check_folder(self.folder)
        self._database = Database(self.path)

    def close(self) -> None:
        """Close the database; the set can be opened again."""
        self._database.close()

    # --- photographs and new words ------------------------------------------------------------------------------------

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
            path: the path of the file; a name if ``content`` is given.
            number: the page or frame in the file, from 1.
            size: the width and the height in pixels.
            proposals: the words in the photograph.
            content: the bytes of the file, if the database is to store them. Pages of one file share one copy.
            error: why the photograph could not be opened; empty if it could.

        Returns:
            True if the photograph was added, or if it replaces one that could not be opened. False if the photograph is
            already in the set; it and its words stay unchanged.
        """
        now = time.time()
        with self._database.change() as connection:
            added = connection.execute(
                "INSERT INTO photo (path, number, width, height, error) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET width = excluded.width, height = excluded.height, error = excluded.error "
                "WHERE error <> '' RETURNING id",
                (os.fsencode(path), number, *size, storable(error)),
            ).fetchone()
            if added is None:
                return False
            (photo,) = added
            if content is not None:
                connection.execute("INSERT OR IGNORE INTO content VALUES (?, ?)", (os.fsencode(path), content))
            first = next_id(connection)
            connection.executemany(ADD, [new_row(id, photo, each, now) for id, each in enumerate(proposals, first)])
        return True

    def finish(self, path: str) -> None:
        """Record that all pages of a file are in the set."""
        with self._database.change() as connection:
            connection.execute("INSERT OR IGNORE INTO finished VALUES (?)", (os.fsencode(path),))

    def is_finished(self, path: str) -> bool:
        """Whether all pages of a file are in the set."""
        return bool(self._database.fetch("SELECT 1 FROM finished WHERE path = ?", os.fsencode(path)))

    def content(self, photo: Photo) -> bytes | None:
        """The stored bytes of a photograph's file; None if the database does not store them."""
        rows = self._database.fetch("SELECT bytes FROM content WHERE path = ?", os.fsencode(photo.path))
        return rows[0][0] if rows else None

    def add_word(self, photo: int, word: Proposal, again: tuple[int, int] | None = None) -> Item:
        """Add a word that the detector missed to a photograph, or restore a word that was removed.

        Args:
            photo: the id of the photograph.
            word: the word.
            again: to restore a word: the id and the version that it had. It gets the same id and the next version.

        Raises:
            UserError: there is no such photograph, or the word to restore was not removed; nothing is added then.
        """
        place = self.photo(photo)
        with self._database.change() as connection:
            id, version = again or (next_id(connection), 0)
            exists = connection.execute("SELECT 1 FROM item WHERE id = ?", (id,)).fetchone()
            if exists or (again and id >= next_id(connection)):
                raise UserError(f"word {id}: was not taken away from {self.folder}; load the page again")
            connection.execute(ADD, new_row(id, place.id, word, time.time()))
            connection.execute("UPDATE item SET version = ? WHERE id = ?", (version + 1, id))
            return make_item(connection.execute(f"{ITEM} WHERE item.id = ?", (id,)).fetchone())

    # --- changes of words ---------------------------------------------------------------------------------------------

    def change(
        self,
        item: int,
        version: int,
        text: str | None = None,
        state: State | None = None,
        outline: Outline | None = None,
        reading: tuple[str, float] | None = None,
    ) -> Item:
        """Change a word. The change is on the disk when the call returns.

        Args:
            item: the id of the word.
            version: the version of the word that the change applies to.
            text, state, outline: the new values; None = unchanged.
            reading: the text that the recognizer reads in the new outline, and its confidence, 0 to 1; None =
                unchanged.

        Returns:
            The changed word.

        Raises:
            Conflict: the word now has another version.
            UserError: there is no such word, or the label is invalid (``check_text``); nothing is changed then.
        """
        with self._database.change() as connection:
            before = self._check_version(connection, item, version)
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
                    text, state, dump_outline(outline), as_label(proposed), confidence, version + 1, time.time(), item,
                ),
            )  # fmt: skip
            return make_item(connection.execute(f"{ITEM} WHERE item.id = ?", (item,)).fetchone())

    def remove(self, item: int, version: int) -> Item:
        """Remove a word, for example one that was drawn by mistake.

        Args:
            item, version: as for ``change``.

        Returns:
            The removed word; ``add_word`` can restore it.

        Raises:
            Conflict: the word now has another version.
            UserError: there is no such word.
        """
        with self._database.change() as connection:
            before = self._check_version(connection, item, version)
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (HIGHEST, next_id(connection) - 1))
            connection.execute("DELETE FROM item WHERE id = ?", (item,))
            connection.execute("UPDATE count SET items = items - 1 WHERE state = ?", (before.state,))
            return before

    def propose_again(self, readings: Sequence[tuple[Item, str, float]]) -> int:
        """Replace the proposed texts of open words by what another recognizer reads, all or nothing.

        Words that were changed meanwhile, or that have a draft, stay unchanged. The versions stay the same: a person
        who has a word on screen sends the text shown there, so the new proposal does not conflict with that change.

        Args:
            readings: for each word: the word, the new text, and its confidence, 0 to 1.

        Returns:
            How many words have a new proposal.
        """
        changed = 0
        with self._database.change() as connection:
            for item, text, confidence in readings:
                changed += connection.execute(
                    "UPDATE item SET proposed = ?1, text = ?1, confidence = ?2 "
                    "WHERE id = ?3 AND version = ?4 AND state = 'open' AND text = proposed",
                    (as_label(text), confidence, item.id, item.version),
                ).rowcount
        return changed

    def get(self, item: int) -> Item:
        """The word with an id.

        Raises:
            UserError: there is no such word.
        """
        rows = self._database.fetch(f"{ITEM} WHERE item.id = ?", item)
        if not rows:
            raise UserError(f"word {item}: not in {self.folder}; load the page again")
        return make_item(rows[0])

    def some(self, items: Sequence[int]) -> list[Item]:
        """The words with these ids, in the same order, without those that were removed."""
        words: dict[int, Item] = {}
        for first in range(0, len(items), _CHUNK):
            chunk = items[first : first + _CHUNK]
            rows = self._database.fetch(f"{ITEM} WHERE item.id IN ({', '.join('?' * len(chunk))})", *chunk)
            words |= {row[0]: make_item(row) for row in rows}
        return [words[item] for item in items if item in words]

    def ids(self, state: State, after: int = 0) -> list[int]:
        """The ids of all words in a state, above the id ``after``, in ascending order."""
        query = "SELECT id FROM item WHERE state = ? AND id > ? ORDER BY id"
        return [item for (item,) in self._database.fetch(query, state, after)]

    def items(self, state: State, after: tuple[float, int] = (-1.0, 0), limit: int = 20) -> list[Item]:
        """Words in a state, by ascending confidence and then id.

        Args:
            state: the state.
            after: the confidence and the id of the last word of the previous page of results.
            limit: how many words to return at most.
        """
        rows = self._database.fetch(
            f"{ITEM} WHERE state = ? AND (confidence, item.id) > (?, ?) ORDER BY confidence, item.id LIMIT ?",
            state, *after, limit,
        )  # fmt: skip
        return [make_item(row) for row in rows]

    def each(self, states: Sequence[State] = STATES) -> Iterator[Item]:
        """All words in some states, by photograph, and within a photograph in the order of ``words_of``.

        The words are fetched in chunks during the iteration. A word that is removed, or leaves these states, before its
        chunk is fetched is left out. A word that is added after the iteration began is left out too.
        """
        marks = ", ".join("?" * len(states))
        query = f"SELECT id FROM item WHERE state IN ({marks}) ORDER BY photo, id"
        ids = [item for (item,) in self._database.fetch(query, *states)]
        for first in range(0, len(ids), _CHUNK):
            yield from (item for item in self.some(ids[first : first + _CHUNK]) if item.state in states)

    def photo(self, photo: int) -> Photo:
        """The photograph with an id, if it could be opened.

        Raises:
            UserError: there is no such photograph, or it could not be opened.
        """
        rows = self._database.fetch(
            "SELECT id, path, number, width, height FROM photo WHERE id = ? AND error = ''", photo
        )
        if not rows:
            raise UserError(f"photograph {photo}: not in {self.folder}; load the page again")
        id, path, number, width, height = rows[0]
        return Photo(id, os.fsdecode(path), number, width, height)

    def beside(self, photo: int) -> tuple[int | None, int | None]:
        """The ids of the previous and the next photograph that could be opened; None where there is none."""
        ((previous, following),) = self._database.fetch(
            "SELECT (SELECT max(id) FROM photo WHERE id < ?1 AND error = ''), "
            "(SELECT min(id) FROM photo WHERE id > ?1 AND error = '')",
            photo,
        )
        return previous, following

    def words_of(self, photo: int) -> list[Item]:
        """All words of a photograph, by id: the order in which they were added."""
        return [make_item(row) for row in self._database.fetch(f"{ITEM} WHERE photo = ? ORDER BY item.id", photo)]

    def counts(self) -> dict[str, int]:
        """The number of words in each state."""
        return dict(self._database.fetch("SELECT state, items FROM count"))

    def photos(self) -> tuple[int, int]:
        """The number of photographs that could be opened, and of those that could not."""
        rows = dict(self._database.fetch("SELECT error <> '', count(*) FROM photo GROUP BY 1"))
        return rows.get(0, 0), rows.get(1, 0)

    # --- notes --------------------------------------------------------------------------------------------------------

    def note(self, key: str) -> Any:
        """The JSON value of a note; None if there is no such note."""
        rows = self._database.fetch("SELECT value FROM note WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def write_note(self, key: str, value: Any) -> None:
        """Set a note: a JSON value under a key."""
        with self._database.change() as connection:
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, json.dumps(value)))

    def update_note(self, key: str, update: Callable[[Any], Any]) -> Any:
        """Compute a note from its present value in one transaction, and return the new value.

        Args:
            key: the key of the note.
            update: maps the present value (None = no such note) to the new one. An exception in it leaves the note as
                it is.
        """
        with self._database.change() as connection:
            value = update(self.note(key))
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, json.dumps(value)))
            return value

    def _check_version(self, connection: Connection, item: int, version: int) -> Item:
        """The word with an id, if it has this version; nobody else changes it until the transaction ends.

        Raises:
            Conflict: the word has another version.
            UserError: there is no such word.
        """
        row = connection.execute(f"{ITEM} WHERE item.id = ?", (item,)).fetchone()
        if row is None:
            raise UserError(f"word {item}: not in {self.folder}; load the page again")
        if (word := make_item(row)).version != version:
            raise Conflict(word)
        return word


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
