"""``auto`` as the language of a request, and of a server: the recognizer of a crop's script reads it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers_docs import ROOT
from helpers_serve import encode, find_all, make_app, make_client
from PIL import Image

from dptr import OCR, AutoReader, UserError
from dptr.cli.app import run
from dptr.inference.prediction import OF_NO_RECOGNIZER
from dptr.inference.reader import PLAIN
from dptr.serve.recognizers import open_models
from dptr.weights import AUTO, DEFAULT_MODEL

CROPS = ROOT / "tests" / "golden" / "recognizers"
NAMES = ("cyrillic-3", "chinese-1", "cyrillic-0")


def form(*names: str) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{name}.png", (CROPS / f"{name}.png").read_bytes())) for name in names]


def told(answer: Any) -> list[tuple[str, str, str]]:
    assert answer.status_code == 200, answer.text
    return [(each["text"], each["script"], each["recognizer"]) for each in answer.json()["readings"]]


def test_crops_and_pages_of_a_request_are_read_by_their_script(installed: list[str]) -> None:
    own = AutoReader().read([CROPS / f"{name}.png" for name in NAMES])
    expected = [(each.text, each.script, each.recognizer) for each in own]
    assert {each[2] for each in expected} >= {"cyrillic", "chinese"}
    with make_client(make_app()) as client:
        ask = {"files": form(*NAMES), "data": {"language": "auto"}}
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda _: client.post("/v1/read", **ask), range(3)))
        assert [told(answer) for answer in answers] == [expected] * 3
        (page,) = client.post("/v1/ocr", files=form("cyrillic-3"), data={"language": "auto"}).json()["pages"]
        word = OCR(AUTO, detector=find_all)(CROPS / "cyrillic-3.png").words[0]
        held = page["lines"][0]["words"][0]
        assert (held["text"], held["script"], held["recognizer"]) == (word.text, "Cyrillic", "cyrillic")
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["tiny"]


def test_what_is_of_one_language_needs_one() -> None:
    with make_client(make_app()) as client:
        for field in ("charset", "pattern", "lexicon"):
            value = {"charset": "10", "pattern": "date", "lexicon": "Market"}[field]
            answer = client.post("/v1/read", files=form("cyrillic-3"), data={"language": "auto", field: value})
            assert answer.status_code == 400 and "is of one language; name that one" in answer.json()["error"]


def test_a_server_reads_by_the_script_unless_it_is_told_another(installed: list[str]) -> None:
    (reader,) = open_models([AUTO], PLAIN).values()
    with make_client(make_app(reader=reader)) as client:
        (model,) = client.get("/v1/models").json()["models"]
        assert (model["name"], model["default"], model["scripts"]["Cyrillic"]) == (AUTO, True, "cyrillic")
        assert told(client.post("/v1/read", files=form("cyrillic-3"))) == [("ВОСЬМОМУ", "Cyrillic", "cyrillic")]
        (alone,) = client.post("/v1/read", files=form("cyrillic-3"), data={"language": "ru"}).json()["readings"]
        assert alone["text"] == "ВОСЬМОМУ" and "recognizer" not in alone


def test_a_missing_script_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.inference.zoo.find_packages", dict)
    with make_client(make_app()) as client:
        ask = {"files": form("cyrillic-0"), "data": {"language": "auto", "min_confidence": "0.2"}}
        (reading,) = client.post("/v1/read", **ask).json()["readings"]
        assert reading["text"] == "" and reading["rejected"] and reading["recognizer"] == DEFAULT_MODEL
        (note,) = reading["notes"]
        assert "pip install ./recognizers/cyrillic" in note and note.endswith(OF_NO_RECOGNIZER)
        (page,) = client.post("/v1/ocr", **ask).json()["pages"]
        assert page["notes"] == [note] and page["text"] == ""


def test_digits_of_a_picture_go_to_the_default() -> None:
    with make_client(make_app()) as client:
        blank = ("files", ("blank.png", encode(Image.new("RGB", (90, 32), "white"))))
        (found,) = told(client.post("/v1/read", files=[blank], data={"language": "auto"}))
        assert found[1:] == ("none", DEFAULT_MODEL)


@pytest.mark.parametrize(
    ("options", "served"),
    [
        ([], [DEFAULT_MODEL]),
        (["--lang", "auto"], [AUTO]),
        (["--lang", "ru"], ["cyrillic"]),
        (["-m", "dptr-en", "-m", "auto"], ["dptr-en", AUTO]),
    ],
)
def test_the_options_say_what_is_served(
    options: list[str], served: list[str], installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def stop(models: Any, reader_options: Any) -> None:
        asked.extend(models)
        raise UserError("far enough")

    monkeypatch.setattr("dptr.serve.recognizers.open_models", stop)
    assert run(["serve", "--port", "0", *options]) == 2 and asked == served


def test_a_language_and_a_model_contradict(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "-m", "dptr-en", "--lang", "auto"]) == 2
    assert "--model and --lang" in capsys.readouterr().err
