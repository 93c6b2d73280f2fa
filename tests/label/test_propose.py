"""Words are proposed once each, by a run that can be stopped anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers_label import SIZE, save_photo, told
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED, box, page, ring_outline
from helpers_serve import CROPS, tiny

from dptr.cli.app import run
from dptr.cli.label import list_sources
from dptr.label.pictures import Pictures
from dptr.label.propose import propose, words_of
from dptr.label.store import Store
from dptr.photo.ocr import OCR
from dptr.photo.page import Line, Outline, Page, Word
from dptr.photo.shapes import reverse
from dptr.utils.errors import UserError


class Counting:
    """Finds two words in each photograph, and counts them."""

    reader = SimpleNamespace(batch_size=2)

    def __init__(self) -> None:
        self.read: list[str] = []

    def stream(self, pictures: Any) -> Iterator[Any]:
        for source, number, image in pictures:
            if isinstance(image, UserError):
                yield image
                continue
            self.read.append(Path(source).name)
            yield page("north exit", source=source, number=number, width=SIZE[0], height=SIZE[1])


def test_an_interrupted_run_goes_on_and_reads_nothing_twice(tmp_path: Path) -> None:
    paths = [save_photo(tmp_path / f"{number}.png", number) for number in range(6)]
    store, ocr = Store(tmp_path / "set"), Counting()
    asked = iter(range(100))
    first = propose(store, paths, ocr, stopped=lambda: next(asked) >= 3)  # type: ignore[arg-type]
    assert (first.photos, first.words) == (3, 6) and ocr.read == ["0.png", "1.png", "2.png"]
    done: list[int] = []
    again = propose(store, paths, ocr, done=done.append)  # type: ignore[arg-type]
    assert (again.photos, again.known) == (3, 3) and ocr.read == [f"{number}.png" for number in range(6)]
    assert done[-1] == 6
    assert sum(store.counts().values()) == 12


@pytest.mark.parametrize(
    "outline", [(), tuple(map(tuple, ring_outline((100, 100), 60, 20, 150, True, 5).tolist()))], ids=["box", "curved"]
)
def test_words_that_run_from_right_to_left_are_found_as_others_are(outline: Outline) -> None:
    """Their boxes begin on the right; a word is cut out as one looks at it."""
    straight = Word("שלום", 0.9, box(20, 30, 80, 60), outline=outline)
    turned = replace(straight, box=reverse(straight.box), outline=reverse(outline))  # type: ignore[arg-type]
    found = [words_of(Page("a.png", 1, 200, 150, (Line((each,), each.box),)), 0.99) for each in (straight, turned)]
    assert len(found[0]) == 1 and found[0] == found[1]


def test_words_surer_than_the_threshold_are_accepted(tmp_path: Path) -> None:
    path = save_photo(tmp_path / "a.png")
    for threshold, state in ((0.9, "sure"), (0.95, "open")):
        store = Store(tmp_path / f"set-{threshold}")
        found = propose(store, [path], Counting(), threshold=threshold)  # type: ignore[arg-type]
        assert found.sure == (2 if state == "sure" else 0)
        assert told([*store.each()]) == [("north", state), ("exit", state)]
    with pytest.raises(UserError, match="threshold -1"):
        propose(store, [path], Counting(), threshold=-1)  # type: ignore[arg-type]


def test_what_cannot_be_opened_is_told_and_tried_again(tmp_path: Path) -> None:
    good, bad = save_photo(tmp_path / "a.png"), tmp_path / "b.png"
    bad.write_bytes(b"no picture")
    store = Store(tmp_path / "set")
    told_: list[UserError] = []
    found = propose(store, [good, str(bad)], Counting(), complain=told_.append)  # type: ignore[arg-type]
    assert (found.photos, found.failed, len(told_)) == (1, 1, 1) and store.photos() == (1, 1)
    save_photo(bad)
    again = propose(store, [good, str(bad)], Counting())  # type: ignore[arg-type]
    assert (again.photos, again.failed, again.known) == (1, 0, 1) and store.photos() == (2, 0)


def test_memory_does_not_grow_with_the_number_of_photographs(tmp_path: Path) -> None:
    """The pictures that are open at once are counted: of 300 no more than the reader takes ahead."""
    path = save_photo(tmp_path / "a.png")
    paths = [path]
    for number in range(299):
        paths.append(str(tmp_path / f"link-{number}.png"))
        Path(paths[-1]).symlink_to(path)
    taken, most = 0, 0

    class Ahead(Counting):
        def stream(self, pictures: Any) -> Iterator[Any]:
            nonlocal taken, most
            for each in super().stream(pictures):
                taken += 1
                most = max(most, taken - store.photos()[0])
                yield each

    store = Store(tmp_path / "set")
    assert propose(store, iter(paths), Ahead()).photos == 300  # type: ignore[arg-type]
    assert most <= 1


def test_photographs_are_read_as_dptr_ocr_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["label", str(PHOTOGRAPH), "-o", str(tmp_path / "set"), "--no-page", "-m", "dptr-en-tiny"]
    assert run(arguments) == 0
    assert "1 pictures, 6 words" in capsys.readouterr().err
    store = Store(tmp_path / "set")
    items = [*store.each()]
    assert [item.text for item in items] == PHOTOGRAPHED.split()
    pictures = Pictures(store)
    crops = [pictures.cut(item) for item in items]
    assert [reading.text for reading in tiny().read(crops)] == PHOTOGRAPHED.split()  # so the boxes hold the words
    assert run(arguments) == 0
    assert "1 files known before" in capsys.readouterr().err


def test_words_are_proposed_as_they_are_expected(tmp_path: Path) -> None:
    """Of a photograph only those that match; of crops all, and what matches none of them is not sure."""
    (tmp_path / "names.txt").write_text("bread\nsugar\n")
    expected = ["--no-page", "-m", "dptr-en-tiny", "--lexicon", str(tmp_path / "names.txt")]
    assert run(["label", str(PHOTOGRAPH), "-o", str(tmp_path / "photo"), *expected]) == 0
    assert [item.text for item in Store(tmp_path / "photo").each()] == ["bread"]
    crops = [str(CROPS / "clean.png"), str(CROPS / "digits.png")]
    expected = ["--crops", "--no-page", "-m", "dptr-en-tiny", "--pattern", "[0-9]{4,}", "--charset", "10"]
    assert run(["label", *crops, "-o", str(tmp_path / "crops"), "--threshold", "0.5", *expected]) == 0
    market, digits = Store(tmp_path / "crops").each()
    assert (digits.text, digits.state, market.state) == ("4072", "sure", "open")
    assert market.text.isdecimal() and market.confidence < 0.1


def test_what_lies_in_the_set_is_not_read(tmp_path: Path) -> None:
    mine = save_photo(tmp_path / "a.png")
    save_photo(tmp_path / "set" / "labeled" / "images" / "1.png")
    save_photo(tmp_path / "set-of-others" / "b.png")
    found = list_sources([str(tmp_path)], True, tmp_path / "set")
    assert found == [mine, str(tmp_path / "set-of-others" / "b.png")]


def test_an_empty_set_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path / "set").close()
    for arguments, said in (
        (["--export", "labels.tsv"], "no word to export"),
        (["--export", "label-studio"], "no word in it"),
        (["--export", "lmdb", "--to", "x"], "ends in .lmdb"),
    ):
        assert run(["label", "-o", str(tmp_path / "set"), *arguments]) == 2
        assert said in capsys.readouterr().err


def test_crops_are_read_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "set")
    ocr = OCR(reader=tiny(), detector=lambda image: pytest.fail("searched"))
    paths = [str(CROPS / "clean.png"), str(CROPS / "digits.png"), str(tmp_path / "missing.png")]
    found = propose(store, paths, ocr, crops=True, threshold=2)
    assert (found.photos, found.failed, found.sure) == (2, 1, 0)
    items = [*store.each()]
    readings = tiny().read(paths[:2])
    assert [(item.text, item.confidence) for item in items] == [(each.text, each.confidence) for each in readings]
    assert items[0].outline == () and Pictures(store).cut(items[0]).size == (
        items[0].photo.width,
        items[0].photo.height,
    )


def test_a_photograph_that_has_changed_is_not_cut(tmp_path: Path) -> None:
    path = save_photo(tmp_path / "a.png")
    store = Store(tmp_path / "set")
    propose(store, [path], Counting())  # type: ignore[arg-type]
    item = next(store.each())
    assert np.array(Pictures(store).cut(item)).shape[0] > 20
    from PIL import Image

    Image.new("RGB", (30, 30)).save(path)
    with pytest.raises(UserError, match="30x30 pixels now, 200x100"):
        Pictures(store).cut(item)
    Path(path).unlink()
    with pytest.raises(UserError, match=r"a\.png"):
        Pictures(store).cut(item)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing-*.png"], "no file matches"),
        (["-"], "save the picture as a file"),
        (["--to", "x"], "--to without --export"),
        (["a.png", "--export", "lmdb"], "--export with photographs"),
        (["--no-page"], "--no-page without photographs"),
        (["--export", "labels.tsv"], "no set of labels; make one first"),
        (["--import", "nothing.json"], "No such file"),
        (["--import", "nothing"], "no such folder"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["label", *arguments, "-o", "set"]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
