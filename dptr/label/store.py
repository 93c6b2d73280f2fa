"""A set of labels: photographs, the words in them, and what people say of each, in one SQLite database.

Every change is one transaction that is on the disk when the call returns (WAL, ``synchronous=FULL``): a killed program
or a full disk loses nothing that was saved before. Each word has a version, which every change raises by one, and a
change names the version that it was made to. So of two people who change one word the second is told, and nothing is
overwritten unseen.
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
_CHUNK = 500  # rows that are fetched together


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
        self._database = Database(self.path)

    def close(self) -> None:
        """Close the database; the set can be opened again."""
        self._database.close()

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
            content: its file, if the set is to keep it; once for all its pages.
            error: why it could not be opened.

        Returns:
            Whether it is new, or could not be opened before; one that is there stays as it is, with its words.
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
        """Note that all pages of a file are in the set."""
        with self._database.change() as connection:
            connection.execute("INSERT OR IGNORE INTO finished VALUES (?)", (os.fsencode(path),))

    def is_finished(self, path: str) -> bool:
        """Whether all pages of a file are in the set."""
        return bool(self._database.fetch("SELECT 1 FROM finished WHERE path = ?", os.fsencode(path)))

    def content(self, photo: Photo) -> bytes | None:
        """The file of a picture that the set keeps; None for one that lies elsewhere."""
        rows = self._database.fetch("SELECT bytes FROM content WHERE path = ?", os.fsencode(photo.path))
        return rows[0][0] if rows else None

    def add_word(self, photo: int, word: Proposal, again: tuple[int, int] | None = None) -> Item:
        """Add a word that the detector missed to a photograph of the set, or bring one back that was taken away.

        Args:
            again: the id and the version of the word that is brought back: it has that id, and the version after.

        Raises:
            UserError: there is no such photograph, the word to bring back is there or never was, or the disk is full;
                nothing is added then.
        """
        held = self.photo(photo)
        with self._database.change() as connection:
            number, version = again or (next_id(connection), 0)
            taken = connection.execute("SELECT 1 FROM item WHERE id = ?", (number,)).fetchone()
            if taken or (again and number >= next_id(connection)):
                raise UserError(f"word {number}: was not taken away from {self.folder}; load the page again")
            connection.execute(ADD, new_row(number, held.id, word, time.time()))
            connection.execute("UPDATE item SET version = ? WHERE id = ?", (version + 1, number))
            return make_item(connection.execute(f"{ITEM} WHERE item.id = ?", (number,)).fetchone())

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
        with self._database.change() as connection:
            before = self._hold(connection, item, version)
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
        """Take a word away, such as one that was drawn by mistake.

        Args:
            item, version: as for ``change``.

        Returns:
            The word as it was; ``add_word`` brings it back.

        Raises:
            Conflict: the word has another version by now.
            UserError: there is no such word, or the disk is full.
        """
        with self._database.change() as connection:
            before = self._hold(connection, item, version)
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (HIGHEST, next_id(connection) - 1))
            connection.execute("DELETE FROM item WHERE id = ?", (item,))
            connection.execute("UPDATE count SET items = items - 1 WHERE state = ?", (before.state,))
            return before

    def propose_again(self, readings: Sequence[tuple[Item, str, float]]) -> int:
        """Note what another recognizer reads of open words, all or nothing.

        Words that somebody has changed meanwhile, or begun to write, stay as they are. Versions do not rise: whoever
        looks at a word sends the text that is shown, so nothing is lost by it.

        Args:
            readings: a word, what is read now, and its confidence, 0 to 1.

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
        """A word.

        Raises:
            UserError: there is none of this id.
        """
        rows = self._database.fetch(f"{ITEM} WHERE item.id = ?", item)
        if not rows:
            raise UserError(f"word {item}: not in {self.folder}; load the page again")
        return make_item(rows[0])

    def some(self, items: Sequence[int]) -> list[Item]:
        """The words of these ids, in their order; those that are not there any more are missing."""
        found: dict[int, Item] = {}
        for first in range(0, len(items), _CHUNK):
            asked = items[first : first + _CHUNK]
            rows = self._database.fetch(f"{ITEM} WHERE item.id IN ({', '.join('?' * len(asked))})", *asked)
            found |= {row[0]: make_item(row) for row in rows}
        return [found[item] for item in items if item in found]

    def ids(self, state: State, after: int = 0) -> list[int]:
        """The ids of all words of a state behind one, in their order."""
        query = "SELECT id FROM item WHERE state = ? AND id > ? ORDER BY id"
        return [item for (item,) in self._database.fetch(query, state, after)]

    def items(self, state: State, after: tuple[float, int] = (-1.0, 0), limit: int = 20) -> list[Item]:
        """Words of a state, the least sure first.

        Args:
            after: confidence and id of the last one that is known.
        """
        rows = self._database.fetch(
            f"{ITEM} WHERE state = ? AND (confidence, item.id) > (?, ?) ORDER BY confidence, item.id LIMIT ?",
            state, *after, limit,
        )  # fmt: skip
        return [make_item(row) for row in rows]

    def each(self, states: Sequence[State] = STATES) -> Iterator[Item]:
        """All words of some states, photograph by photograph, as ``words_of`` orders those of each.

        They are fetched piece by piece: a word that is taken away or gets another state meanwhile is left out, one that
        is added is not seen.
        """
        marks = ", ".join("?" * len(states))
        query = f"SELECT id FROM item WHERE state IN ({marks}) ORDER BY photo, id"
        ids = [item for (item,) in self._database.fetch(query, *states)]
        for first in range(0, len(ids), _CHUNK):
            yield from (item for item in self.some(ids[first : first + _CHUNK]) if item.state in states)

    def photo(self, photo: int) -> Photo:
        """A photograph that could be opened.

        Raises:
            UserError: there is none of this id.
        """
        rows = self._database.fetch(
            "SELECT id, path, number, width, height FROM photo WHERE id = ? AND error = ''", photo
        )
        if not rows:
            raise UserError(f"photograph {photo}: not in {self.folder}; load the page again")
        id, path, number, width, height = rows[0]
        return Photo(id, os.fsdecode(path), number, width, height)

    def beside(self, photo: int) -> tuple[int | None, int | None]:
        """The ids of the photographs before and behind one, among those that could be opened."""
        ((before, behind),) = self._database.fetch(
            "SELECT (SELECT max(id) FROM photo WHERE id < ?1 AND error = ''), "
            "(SELECT min(id) FROM photo WHERE id > ?1 AND error = '')",
            photo,
        )
        return before, behind

    def words_of(self, photo: int) -> list[Item]:
        """All words of a photograph, in the order in which they were found."""
        return [make_item(row) for row in self._database.fetch(f"{ITEM} WHERE photo = ? ORDER BY item.id", photo)]

    def counts(self) -> dict[str, int]:
        """How many words have each state."""
        return dict(self._database.fetch("SELECT state, items FROM count"))

    def photos(self) -> tuple[int, int]:
        """How many photographs were read, and how many could not be."""
        rows = dict(self._database.fetch("SELECT error <> '', count(*) FROM photo GROUP BY 1"))
        return rows.get(0, 0), rows.get(1, 0)

    # --- notes --------------------------------------------------------------------------------------------------------

    def note(self, key: str) -> Any:
        """What was noted under a key, as JSON holds it; None if nothing was."""
        rows = self._database.fetch("SELECT value FROM note WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def write_note(self, key: str, value: Any) -> None:
        """Note something about the set."""
        with self._database.change() as connection:
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, json.dumps(value)))

    def update_note(self, key: str, update: Callable[[Any], Any]) -> Any:
        """Write a note that depends on what it was (None = nothing), while nobody else writes; returns the new one."""
        with self._database.change() as connection:
            value = update(self.note(key))
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, json.dumps(value)))
            return value

    def _hold(self, connection: Connection, item: int, version: int) -> Item:
        """A word of this version, which nobody else changes until the transaction ends."""
        found = connection.execute(f"{ITEM} WHERE item.id = ?", (item,)).fetchone()
        if found is None:
            raise UserError(f"word {item}: not in {self.folder}; load the page again")
        if (held := make_item(found)).version != version:
            raise Conflict(held)
        return held


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
