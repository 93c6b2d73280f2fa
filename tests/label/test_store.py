"""The store of labels: least sure first, nothing overwritten unseen, nothing lost by a kill or a full disk."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers_label import SIZE, make_set, proposal, save_photo, told

from dptr.label.item import LONGEST, STATES, Conflict, check_text
from dptr.label.store import Store
from dptr.utils.errors import UserError


def test_the_least_sure_word_comes_first_and_pages_follow_each_other(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("a", 0.9, "open"), ("b", 0.2, "open"), ("c", 0.995, "sure"), ("d", 0.2, "open"))
    first = store.items("open", limit=2)
    assert told(first) == [("b", "open"), ("d", "open")]
    assert told(store.items("open", (first[-1].confidence, first[-1].id))) == [("a", "open")]
    assert store.counts() == {"open": 3, "sure": 1, "labeled": 0, "illegible": 0}
    assert store.photos() == (1, 0)


def test_a_change_is_there_for_other_programs_and_after_opening_again(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("Strase", 0.4, "open"))
    (item,) = store.items("open")
    changed = store.change(item.id, item.version, "  Stra\u00dfe\n", "labeled")
    assert (changed.text, changed.state, changed.proposed, changed.version) == ("Straße", "labeled", "Strase", 2)
    other = Store(tmp_path / "set")
    assert other.get(item.id) == changed
    store.close()
    other.close()
    again = Store(tmp_path / "set")
    assert again.get(item.id) == changed and again.counts()["labeled"] == 1
    again.close()


def test_of_two_people_the_second_is_told_what_the_first_wrote(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.4, "open"))
    (item,) = store.items("open")
    store.change(item.id, item.version, "first", "labeled")
    with pytest.raises(Conflict, match="'first'") as told_to:
        store.change(item.id, item.version, "second", "labeled")
    assert told_to.value.item == store.get(item.id) and store.get(item.id).text == "first"
    store.change(item.id, told_to.value.item.version, "second", "labeled")
    assert store.get(item.id).text == "second"


def test_of_many_writers_at_once_one_wins_each_version(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.4, "open"))
    (item,) = store.items("open")
    others = [Store(tmp_path / "set") for _ in range(4)]
    won: list[str] = []

    def write(own: Store, name: str) -> None:
        for turn in range(20):
            try:
                own.change(item.id, turn + 1, f"{name}-{turn}", "labeled")
            except Conflict:
                continue
            won.append(f"{name}-{turn}")

    threads = [threading.Thread(target=write, args=(own, str(place))) for place, own in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = store.get(item.id)
    assert last.version == len(won) + 1 and last.text in won
    assert len({name.partition("-")[2] for name in won}) == len(won)  # no version was won twice


def label_for_ever(folder: Path, said: multiprocessing.connection.Connection) -> None:
    store = Store(folder)
    while True:
        for item in store.items("open", limit=1):
            store.change(item.id, item.version, f"label {item.id}", "labeled")
            said.send(item.id)


def test_what_was_saved_before_a_kill_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "set")
    path = save_photo(tmp_path / "a.png")
    store.add(path, 1, SIZE, [proposal(str(number)) for number in range(3000)])
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=label_for_ever, args=(tmp_path / "set", there))
    process.start()
    there.close()
    heard = [here.recv() for _ in range(20)]
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    while here.poll():
        try:
            heard.append(here.recv())
        except EOFError:
            break
    store.close()
    again = Store(tmp_path / "set")
    for item in heard:
        assert (again.get(item).text, again.get(item).state) == (f"label {item}", "labeled")
    counts = again.counts()
    assert counts["labeled"] in (len(heard), len(heard) + 1)  # one may have been saved and not been said
    assert counts["labeled"] + counts["open"] == 3000
    assert sqlite3.connect(again.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_is_told_and_what_was_saved_stays(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom dptr.label.store import Store\nfrom dptr.utils.errors import UserError\n"
        "store = Store(sys.argv[1])\n"
        "item = store.change(1, 1, 'kept', 'labeled')\n"
        "pages = store._database._connection.execute('PRAGMA page_count').fetchone()[0]\n"
        "store._database._connection.execute(f'PRAGMA max_page_count = {pages}')\n"
        "try:\n    store.add('/b.png', 1, (9, 9), [], content=bytes(100_000))\n"
        "except UserError as error:\n    print(error)\n"
        "print(store.get(1).text, store.photos())\n"
        "print(store.change(1, 2, 'after', 'labeled').text)\n"
    )
    make_set(tmp_path, ("one", 0.4, "open")).close()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "set")], capture_output=True, text=True, check=True
    )
    told_, *others = done.stdout.splitlines()
    assert "full" in told_ and "free space and save again" in told_
    assert others == ["kept (1, 0)", "after"]


@pytest.mark.parametrize(
    ("text", "said"), [("a\x00b", "control"), ("x" * (LONGEST + 1), "201 characters"), (" \n", "an empty label")]
)
def test_labels_that_cannot_be_kept_change_nothing(tmp_path: Path, text: str, said: str) -> None:
    store = make_set(tmp_path, ("one", 0.4, "open"))
    with pytest.raises(UserError, match=said):
        store.change(1, 1, text, "labeled")
    assert store.get(1).version == 1
    store.change(1, 1, "", "illegible")  # which needs no text
    assert store.get(1).state == "illegible"
    with pytest.raises(UserError, match="an empty label"):
        store.change(1, 2, state="labeled")


def test_a_word_that_is_not_there_is_told(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.4, "open"))
    with pytest.raises(UserError, match="word 7: not in"):
        store.change(7, 1, "x")
    with pytest.raises(UserError, match="word 7: not in"):
        store.get(7)


def test_labels_are_spelled_one_way() -> None:
    assert check_text(" Cafe\u0301  au\tlait \u200b") == "Café au lait"


def test_a_folder_of_others_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="no set of labels"):
        Store(tmp_path)
    with pytest.raises(UserError, match="a file"):
        Store(tmp_path / "notes.txt")
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(other / "label.db") as connection:
        connection.execute("CREATE TABLE theirs (id)")
    before = (other / "label.db").read_bytes()
    with pytest.raises(UserError, match="no set of labels of this version"):
        Store(other)
    assert (other / "label.db").read_bytes() == before
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "label.db").write_bytes(b"x" * 5000)
    with pytest.raises(UserError, match="not a database"):
        Store(tmp_path / "damaged")


def test_pictures_that_the_set_keeps_and_names_that_are_no_text(tmp_path: Path) -> None:
    store = make_set(tmp_path)
    name = os.fsdecode(b"/photos/\xff\xfe.png")
    assert store.add(name, 1, SIZE, [proposal("x\ud800")], content=b"bytes")
    (item,) = store.each()
    assert (item.photo.path, item.text, store.content(item.photo)) == (name, "x?", b"bytes")
    assert not store.add(name, 1, SIZE, [proposal("again")])
    store.finish(name)
    assert store.is_finished(name) and not store.is_finished("/photos/a.png")


def test_words_are_fetched_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.label.store._CHUNK", 3)
    store = make_set(tmp_path)
    words = [proposal(str(number), state=STATES[number % 4]) for number in range(20)]
    store.add("/b.png", 1, SIZE, words)
    assert [item.text for item in store.each()] == [word.text for word in words]
    assert [item.text for item in store.each(["labeled"])] == [word.text for word in words if word.state == "labeled"]


def test_notes_are_kept(tmp_path: Path) -> None:
    store = make_set(tmp_path)
    assert store.note("model") is None
    store.write_note("model", {"run": 3})
    store.write_note("model", {"run": 4})
    assert store.note("model") == {"run": 4}


def test_a_word_is_added_and_taken_away(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.4, "open"), ("two", 0.4, "sure"))
    drawn = store.add_word(1, proposal("drawn\ud800", 0.7))
    assert (drawn.text, drawn.state, drawn.version, drawn.photo.path) == ("drawn?", "open", 1, store.get(1).photo.path)
    assert store.words_of(1)[-1] == drawn == store.get(drawn.id) and store.counts()["open"] == 2
    store.change(drawn.id, 1, "mine", "labeled")
    with pytest.raises(Conflict, match="'mine'"):
        store.remove(drawn.id, 1)
    gone = store.remove(drawn.id, 2)
    assert (gone.text, gone.state) == ("mine", "labeled")
    assert store.counts() == {"open": 1, "sure": 1, "labeled": 0, "illegible": 0}
    for call in (
        lambda: store.get(drawn.id),
        lambda: store.remove(drawn.id, 2),
        lambda: store.add_word(9, proposal("x")),
    ):
        with pytest.raises(UserError, match="load the page again"):
            call()
    assert [item.id for item in store.some([2, drawn.id, 1])] == [2, 1] and store.ids("sure") == [2]


def test_the_id_of_a_word_that_was_taken_away_is_not_used_again(tmp_path: Path) -> None:
    """Somebody may still look at the former word, of the same version, and would change the new one unseen."""
    store = make_set(tmp_path, ("one", 0.4, "open"), ("two", 0.4, "open"))
    store.remove(2, 1)
    assert store.add_word(1, proposal("new")).id == 3
    store.remove(3, 1)
    store.remove(1, 1)
    store.close()
    again = Store(tmp_path / "set")
    again.add("/b.png", 1, SIZE, [proposal("x"), proposal("y")])
    assert [item.id for item in again.each()] == [4, 5]
    with pytest.raises(UserError, match="word 3: not in"):
        again.change(3, 1, "of the former word", "labeled")


def test_photographs_follow_each_other_and_those_that_could_not_be_opened_are_left_out(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.4, "open"))
    store.add("/bad.png", 1, (0, 0), error="broken")
    store.add("/c.png", 1, SIZE)
    assert store.beside(1) == (None, 3) and store.beside(3) == (1, None) and store.beside(0) == (None, 1)
    assert store.photo(3).path == "/c.png" and store.words_of(3) == []
    with pytest.raises(UserError, match="photograph 2: not in"):
        store.photo(2)


def test_a_note_that_depends_on_what_it_was_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    make_set(tmp_path).close()
    stores = [Store(tmp_path / "set") for _ in range(4)]

    def count(store: Store) -> None:
        for _ in range(10):
            store.update_note("count", lambda held: (held or 0) + 1)

    threads = [threading.Thread(target=count, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[0].note("count") == 40
