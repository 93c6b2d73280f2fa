"""The API of labeling: words in order of use, changes at once, conflicts, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from helpers_label import SIZE, make_set, proposal, save_photo, upright
from helpers_photo import make_pdf, show
from helpers_serve import CROPS, find_all, make_app, make_client, tiny
from helpers_signal import start
from PIL import Image

from dptr.label.claims import Claims
from dptr.label.finder import Finder
from dptr.label.item import Proposal
from dptr.label.store import Store
from dptr.photo.ocr import OCR
from dptr.serve.labeling import Labeling

HOSTILE = "<img src=x onerror=alert(1)>"
TOKEN = "a-secret-of-the-tests"


def serve(store: Store, **options: Any) -> TestClient:
    return make_client(make_app(labeling=Labeling(Finder(store), 10_000_000), **options))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = make_set(
        tmp_path, ("later", 0.9, "open"), (HOSTILE, 0.2, "open"), ("sure", 0.995, "sure"), ("x", 0.1, "illegible")
    )
    yield made
    made.close()


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    with serve(store, megabytes=1) as made:
        yield made


def test_the_least_sure_word_is_asked_about_first(client: TestClient) -> None:
    told = client.get("/v1/label").json()
    assert told["counts"] == {"open": 2, "sure": 1, "labeled": 0, "illegible": 1} and told["photos"] == 1
    assert not told["finding"]["running"]
    first = client.get("/v1/label/items?limit=1").json()["items"]
    assert [item["text"] for item in first] == [HOSTILE]
    after = f"{first[0]['confidence']},{first[0]['id']}"
    assert [item["text"] for item in client.get(f"/v1/label/items?after={after}").json()["items"]] == ["later"]
    assert client.get("/v1/label/items?state=illegible").json()["items"][0]["text"] == "x"
    assert client.get("/v1/models").json()["label"] is True


def test_a_word_is_changed_and_the_second_who_does_is_told(client: TestClient, store: Store) -> None:
    (item,) = client.get("/v1/label/items?limit=1").json()["items"]
    path = f"/v1/label/items/{item['id']}"
    answer = client.post(path, json={"version": 1, "text": " right ", "state": "labeled"})
    assert answer.status_code == 200
    assert answer.json()["item"]["text"] == "right" and answer.json()["counts"]["labeled"] == 1
    assert store.get(item["id"]).text == "right"
    second = client.post(path, json={"version": 1, "text": "wrong", "state": "labeled"})
    assert second.status_code == 409
    assert second.json()["item"]["text"] == "right" and "somebody else" in second.json()["error"]
    assert store.get(item["id"]).text == "right"
    assert client.get(path).json() == second.json()["item"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 400),
        ({"version": 0}, 400),
        ({"version": 1, "state": "done"}, 400),
        ({"version": 1, "text": "x" * 300}, 400),
        ({"version": 1, "text": "", "state": "labeled"}, 400),
        ({"version": 1, "other": 1}, 400),
        ({"version": 1, "outline": [[0, 0], [1, 1]]}, 400),
        ({"version": 1, "outline": [[0, 0], [0, 50], [50, 50], [50, 0]]}, 400),  # mirrored
        ({"version": 1, "outline": [[900, 0], [950, 0], [950, 50], [900, 50]]}, 400),
        ({"version": 1, "outline": [["NaN", 0], [50, 0], [50, 50], [0, 50]]}, 400),
        ({"version": 1, "text": "x" * 2_000_000}, 413),
    ],
    ids=str,
)
def test_what_cannot_be_changes_nothing(client: TestClient, store: Store, change: Any, status: int) -> None:
    answer = client.post("/v1/label/items/1", json=change)
    assert answer.status_code == status and answer.json()["error"]
    assert store.get(1).version == 1


def test_a_change_is_sent_as_json_by_a_page_of_this_server(client: TestClient, store: Store) -> None:
    text = '{"version": 1, "text": "x"}'
    assert client.post("/v1/label/items/1", content=text, headers={"Content-Type": "text/plain"}).status_code == 415
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert client.post("/v1/label/items/1", json={"version": 1, "text": "x"}, headers=headers).status_code == 403
    assert store.get(1).version == 1
    for path in ("/v1/label/items/99", "/v1/label/items/99/crop", "/v1/label/items/99/around"):
        assert client.get(path).status_code == 400
    assert client.get("/v1/label/items?after=;drop").status_code == 422
    for wrong in ("1.2.3,5", "e,0", "-,0", ".,1"):
        answer = client.get("/v1/label/items", params={"after": wrong})
        assert answer.status_code == 400 and f"after '{wrong}'" in answer.json()["error"]


def test_without_a_token_only_the_page_is_shown(store: Store) -> None:
    with serve(store, tokens=(TOKEN,)) as client:
        assert client.get("/label").status_code == 200
        for path in ("/v1/label", "/v1/label/items", "/v1/label/items/1/crop"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_pictures_of_a_word_and_of_what_is_around_it(client: TestClient) -> None:
    crop = Image.open(io.BytesIO(client.get("/v1/label/items/1/crop").content))
    assert crop.size == (60, 30)
    item = client.get("/v1/label/items/1").json()
    left, top, right, bottom = item["frame"]
    around = Image.open(io.BytesIO(client.get("/v1/label/items/1/around").content))
    assert around.size == (right - left, bottom - top) and around.format == "JPEG"


def test_a_box_that_is_moved_is_read_again(tmp_path: Path) -> None:
    photo = Image.new("RGB", (400, 200), (90, 90, 90))
    crop = Image.open(CROPS / "clean.png").convert("RGB")
    photo.paste(crop, (100, 60))
    photo.save(tmp_path / "photo.png")
    store = Store(tmp_path / "set")
    store.add(str(tmp_path / "photo.png"), 1, photo.size, [Proposal(upright(0, 0, 40, 20), "", 0.1, "open")])
    outline = upright(100, 60, 100 + crop.width, 60 + crop.height)
    with serve(store) as client:
        moved = client.post("/v1/label/items/1", json={"version": 1, "outline": outline}).json()["item"]
        assert (moved["text"], moved["proposed"], moved["state"]) == ("Market", "Market", "open")
        assert moved["outline"] == [list(point) for point in outline] and moved["confidence"] > 0.5
        typed = client.post("/v1/label/items/1", json={"version": 2, "text": "mine"}).json()["item"]
        again = client.post("/v1/label/items/1", json={"version": 3, "outline": outline}).json()["item"]
        assert typed["text"] == again["text"] == "mine"  # what somebody wrote stays


def test_two_people_are_not_asked_about_one_word(client: TestClient) -> None:
    one = client.get("/v1/label/items?limit=1&person=a").json()["items"]
    two = client.get("/v1/label/items?limit=1&person=b").json()["items"]
    assert (one[0]["text"], two[0]["text"]) == (HOSTILE, "later")
    assert client.get("/v1/label/items?person=c").json()["items"] == []
    assert client.get("/v1/label/items?limit=1&person=a").json()["items"] == one


def test_many_people_get_words_of_their_own(tmp_path: Path) -> None:
    """Also the fifth one, who found nothing among the first words, which the others had."""
    store = Store(tmp_path / "set")
    store.add("/a.png", 1, SIZE, [proposal(str(number), number / 1000) for number in range(300)])
    with make_client(make_app(labeling=Labeling(Finder(store), 10_000_000))) as client:
        seen = [client.get(f"/v1/label/items?limit=50&person={person}").json() for person in "abcdefg"]
    assert [[item["text"] for item in each["items"]] for each in seen] == [
        [str(number) for number in range(first, min(first + 50, 300))] for first in range(0, 350, 50)
    ]
    assert all(each["more"] for each in seen)


def test_more_says_whether_words_of_a_state_follow(tmp_path: Path) -> None:
    store = Store(tmp_path / "set")
    store.add("/a.png", 1, SIZE, [proposal(str(number), 0.995, "sure") for number in range(5)])
    with make_client(make_app(labeling=Labeling(Finder(store), 10_000_000))) as client:
        asked = [client.get(f"/v1/label/items?state=sure&limit={limit}").json() for limit in (4, 5, 6)]
    assert [(len(each["items"]), each["more"]) for each in asked] == [(4, True), (5, False), (5, False)]


def test_a_claim_ends(store: Store) -> None:
    claims = Claims(seconds=0)
    items = store.items("open")
    assert claims.take(items, "a", 9) == claims.take(items, "b", 9) == items


def test_pictures_that_are_sent_are_kept_and_words_in_them_found(client: TestClient, store: Store) -> None:
    pdf = make_pdf([show("one", 20, 12), show("two", 20, 12)], box="0 0 80 40")
    files = [("files", ("a/../clean.png", (CROPS / "clean.png").read_bytes())), ("files", ("two.pdf", pdf)),
             ("files", ("bad.png", b"no picture"))]  # fmt: skip
    answer = client.post("/v1/label/pictures", files=files).json()
    assert answer["words"] == 3 and [each["source"] for each in answer["errors"]] == ["bad.png"]
    texts = [item.text for item in store.each()][-3:]
    assert texts == ["Market", "one", "two"]
    last = [*store.each()][-1]
    assert last.photo.number == 2 and client.get(f"/v1/label/items/{last.id}/crop").status_code == 200
    assert client.post("/v1/label/pictures", files=files[:1]).json()["words"] == 0  # it is there
    crops = client.post("/v1/label/pictures", files=[("files", ("d.png", (CROPS / "digits.png").read_bytes()))],
                        data={"crops": "true"}).json()  # fmt: skip
    assert crops["words"] == 1 and [*store.each()][-1].outline == ()
    assert client.post("/v1/label/pictures", files=[]).status_code in (400, 415)


def test_a_name_that_is_no_text_is_kept_as_one(client: TestClient, store: Store) -> None:
    content = base64.b64encode((CROPS / "clean.png").read_bytes()).decode()
    body = json.dumps({"files": [{"name": "a\ud800.png", "data": content}]})
    answer = client.post("/v1/label/pictures", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200 and answer.json()["words"] == 1
    last = [*store.each()][-1]
    assert os.path.basename(last.photo.path) == "a?.png"
    assert client.get(f"/v1/label/items/{last.id}/crop").status_code == 200


def test_a_full_disk_is_told_and_the_word_can_be_saved_again(client: TestClient, store: Store) -> None:
    connection = store._database._connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    files = [("files", ("clean.png", (CROPS / "clean.png").read_bytes()))]
    answer = client.post("/v1/label/pictures", files=files)
    assert answer.status_code == 507 and "free space" in answer.json()["error"]
    connection.execute("PRAGMA max_page_count = 1000000")
    assert client.post("/v1/label/pictures", files=files).json()["words"] == 1


def test_words_are_found_while_the_page_is_served(tmp_path: Path) -> None:
    paths = [save_photo(tmp_path / f"{number}.png", number) for number in range(4)] + [str(tmp_path / "none.png")]
    finder = Finder(Store(tmp_path / "set"))
    finder.start(paths, OCR(reader=tiny(), detector=find_all))
    assert finder.progress.total == 5
    finder._thread.join(60)  # type: ignore[union-attr]
    assert finder.progress.done == 5 and not finder.progress.running and finder.store.photos() == (4, 1)
    finder.stop()


def test_a_killed_server_has_lost_no_correction(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    store = Store(folder)
    store.add(save_photo(tmp_path / "a.png"), 1, (200, 100), [proposal(str(number)) for number in range(40)])
    store.close()
    command = [sys.executable, "-m", "dptr", "label", "-o", str(folder), "--port", "0", "-m", "dptr-en-tiny"]
    saved = []
    with start(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", running.stderr.readline())
        assert found
        with httpx.Client(base_url=found[0]) as client:
            for item in client.get("/v1/label/items?limit=40").json()["items"]:
                change = {"version": item["version"], "text": f"label {item['id']}", "state": "labeled"}
                if client.post(f"/v1/label/items/{item['id']}", json=change).status_code == 200:
                    saved.append(item["id"])
        running.kill()
    again = Store(folder)
    assert len(saved) == 40 and again.counts()["labeled"] == 40
    assert all(again.get(item).text == f"label {item}" for item in saved)
    again.close()
