"""The API of drawing words that were missed, of taking words away, and of checking a sample."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from helpers_label import make_set, proposal, upright
from helpers_serve import CROPS, make_app, make_client
from PIL import Image

from dptr.label.finder import Finder
from dptr.label.store import Store
from dptr.serve.labeling import Labeling

SIDE = 3000  # of a photograph that is shown smaller than it is
PLACE = 2000, 1500  # of the word in it


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    photo = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
    photo.paste(Image.open(CROPS / "clean.png").convert("RGB"), PLACE)
    photo.save(tmp_path / "photo.png")
    made = Store(tmp_path / "set")
    made.add(str(tmp_path / "photo.png"), 1, photo.size)
    yield made
    made.close()


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    with make_client(make_app(labeling=Labeling(Finder(store), 10_000_000))) as made:
        yield made


def word_box() -> Any:
    width, height = Image.open(CROPS / "clean.png").size
    return upright(PLACE[0], PLACE[1], PLACE[0] + width, PLACE[1] + height)


def test_a_word_that_was_missed_is_drawn_and_read(client: TestClient, store: Store) -> None:
    assert client.get("/v1/label/photos").json() == {"first": 1}
    assert client.get("/v1/label/photos/1").json()["words"] == []
    drawn = client.post("/v1/label/photos/1/words", json={"outline": word_box()}).json()
    item = drawn["item"]
    assert (item["text"], item["proposed"], item["state"], item["photo"]) == ("Market", "Market", "open", 1)
    assert drawn["counts"]["open"] == 1 and store.get(item["id"]).text == "Market"  # saved at once
    told = client.get("/v1/label/photos/1").json()
    assert told["words"] == [item] and (told["width"], told["height"]) == (SIDE, SIDE)
    assert (told["before"], told["after"], told["source"]) == (None, None, "photo.png")
    crop = Image.open(io.BytesIO(client.get(f"/v1/label/items/{item['id']}/crop").content))
    assert crop.size == Image.open(CROPS / "clean.png").size
    shown = Image.open(io.BytesIO(client.get("/v1/label/photos/1/picture").content))
    assert shown.format == "JPEG" and max(shown.size) < SIDE


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"outline": [[0, 0], [1, 1]]},
        {"outline": [[0, 0], [0, 50], [50, 50], [50, 0]]},
        {"outline": [[9000, 0], [9050, 0], [9050, 50], [9000, 50]]},
        {"outline": [["NaN", 0], [50, 0], [50, 50], [0, 50]]},
        {"outline": [[0, 0]] * 70},
        {"outline": [[0, 0], [50, 0], [50, 50], [0, 50]], "text": "x"},
    ],
    ids=str,
)
def test_a_box_that_is_none_adds_nothing(client: TestClient, store: Store, body: Any) -> None:
    answer = client.post("/v1/label/photos/1/words", json=body)
    assert answer.status_code == 400 and len(answer.json()["error"].splitlines()) == 1
    assert store.words_of(1) == []


def test_photographs_that_are_not_there_are_told(client: TestClient, store: Store) -> None:
    for path in ("photos/7", "photos/7/picture"):
        assert client.get(f"/v1/label/{path}").status_code == 400
    assert client.post("/v1/label/photos/7/words", json={"outline": word_box()}).status_code == 400
    assert client.get("/v1/label/photos/0").status_code == 422
    Path(store.photo(1).path).unlink()
    assert client.post("/v1/label/photos/1/words", json={"outline": word_box()}).status_code == 400
    assert store.words_of(1) == []


def test_a_word_is_taken_away_unless_somebody_changed_it(client: TestClient, store: Store) -> None:
    item = client.post("/v1/label/photos/1/words", json={"outline": word_box()}).json()["item"]
    store.change(item["id"], 1, "mine", "labeled")
    path = f"/v1/label/items/{item['id']}/remove"
    refused = client.post(path, json={"version": 1})
    assert refused.status_code == 409 and refused.json()["item"]["text"] == "mine"
    assert client.post(path, json={"version": 2}).json()["counts"]["labeled"] == 0
    assert client.post(path, json={"version": 2}).status_code == 400 and store.words_of(1) == []
    again = {"outline": word_box(), "again": {"id": item["id"], "version": 2}}
    back = client.post("/v1/label/photos/1/words", json=again).json()["item"]
    assert (back["id"], back["version"]) == (item["id"], 3)
    assert client.post("/v1/label/photos/1/words", json=again).status_code == 400


def test_a_sample_is_drawn_looked_at_and_told(tmp_path: Path) -> None:
    store = make_set(tmp_path)
    store.add("/b.png", 1, (200, 100), [proposal(str(number), 0.995, "sure") for number in range(30)])
    with make_client(make_app(labeling=Labeling(Finder(store), 10_000_000))) as client:
        assert client.get("/v1/label/check").json() is None and client.get("/v1/label").json()["check"] is None
        assert client.get("/v1/label/check/items").json() == {"items": [], "more": False}
        assert client.post("/v1/label/check", json={"words": 0}).status_code == 400
        assert client.post("/v1/label/check", json={"words": 12, "seed": 3}).json()["drawn"] == 12
        first = client.get("/v1/label/check/items?limit=2&person=a").json()
        other = client.get("/v1/label/check/items?limit=2&person=b").json()
        assert len({item["id"] for item in (*first["items"], *other["items"])}) == 4 and first["more"]
        for item, text in zip(first["items"], (first["items"][0]["text"], "other"), strict=True):
            change = {"version": 1, "text": text, "state": "labeled"}
            told = client.post(f"/v1/label/items/{item['id']}", json=change).json()["check"]
        assert (told["right"], told["wrong"], told["drawn"], told["population"], told["share"]) == (1, 1, 12, 30, 0.5)
        assert client.get("/v1/label").json()["check"] == told == client.get("/v1/label/check").json()
        client.post("/v1/label/check", json={"words": 99})
        assert client.get("/v1/label/check").json()["drawn"] == 30
        assert client.post("/v1/label/check", json={}).status_code == 400
