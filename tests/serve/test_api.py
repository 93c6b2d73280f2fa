"""The API answers as the command line does, and refuses what is too much, broken, or not allowed."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import shutil
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from helpers_photo import make_pdf, show
from helpers_serve import CROPS, encode, find_all, make_app, make_client, tiny
from PIL import Image
from starlette.requests import Request

from dptr.inference.reader import PLAIN, Reader
from dptr.photo.detect import Detection
from dptr.photo.ocr import OCR
from dptr.photo.outputs import FORMATS
from dptr.photo.pdf import Pdf
from dptr.serve.app import create_app
from dptr.serve.bodies import LONGEST_NAME, Body, Intake
from dptr.serve.guard import HEADERS, check_address, parse_tokens
from dptr.serve.limits import Limits, Refusal
from dptr.serve.options import MEDIA_TYPES, STYLES
from dptr.serve.recognizers import Recognizers, open_charsets, open_models
from dptr.utils.errors import UserError
from dptr.utils.isolation import call_here
from dptr.weights import model_file

CLEAN = (CROPS / "clean.png").read_bytes()
DIGITS = (CROPS / "digits.png").read_bytes()
TOKEN = "a-secret-of-the-tests"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with make_client(make_app(pictures=8, megabytes=6, pixels=1)) as made:
        yield made


@pytest.mark.parametrize("fields", [{"format": "pdf"}, {"pictures": "true"}], ids=str)
def test_pictures_of_answers_are_decoded_where_others_are(fields: dict[str, str]) -> None:
    """In another process: these were opened in the server's own, whatever ``--isolate`` said."""
    opened = []

    def call(function: Any, content: bytes, name: str, **settings: Any) -> Any:
        opened.append(function.__name__)
        return call_here(function, content, name, **settings)

    app = create_app(Recognizers({"tiny": tiny()}, find_all, call), Limits())
    with make_client(app) as made:
        assert made.post("/v1/ocr", files=form(CLEAN), data=fields).status_code == 200
    assert opened == ["list_numbers", "open_number", "open_number"]


def form(*contents: bytes, name: str = "crop.png") -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (name, content)) for content in contents]


def ocr(style: str, *contents: bytes) -> bytes:
    """What ``dptr ocr`` writes of pictures that are all called ``crop.png``."""
    reader = OCR(reader=tiny(), detector=find_all)
    pictures = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
    pages = reader.stream(("crop.png", 1, picture) for picture in pictures)
    file = io.BytesIO()
    FORMATS[style].write(zip(pages, pictures, strict=True), file)  # type: ignore[arg-type]
    return file.getvalue()


# --- what is read -----------------------------------------------------------------------------------------------------


def test_photographs_are_read_as_by_the_command_line(client: TestClient) -> None:
    answer = client.post("/v1/ocr", files=form(CLEAN, DIGITS), data={"min_confidence": "0"})
    assert answer.status_code == 200
    pages = answer.json()["pages"]
    assert [page.pop("left_out") for page in pages] == [0, 0]
    assert pages == [json.loads(line) for line in ocr("json", CLEAN, DIGITS).splitlines()]
    assert answer.json()["errors"] == []
    (page,) = client.post("/v1/ocr", files=form(CLEAN), data={"min_confidence": "1"}).json()["pages"]
    assert page["left_out"] == 1 and page["lines"] == []


def test_json_with_base64_is_read_as_a_form_is(client: TestClient) -> None:
    encoded = base64.b64encode(CLEAN).decode()
    files = [{"name": "crop.png", "data": encoded}, {"name": "crop.png", "data": "data:image/png;base64," + encoded}]
    answer = client.post("/v1/ocr", json={"files": files, "min_confidence": 0})
    assert answer.json() == client.post("/v1/ocr", files=form(CLEAN, CLEAN), data={"min_confidence": "0"}).json()
    assert client.post("/v1/read", json={"files": [encoded]}).json()["readings"][0]["path"] == "file-1"


def test_crops_are_read_as_by_the_library_and_failures_stand_beside_them(client: TestClient) -> None:
    answer = client.post("/v1/read", files=form(CLEAN, b"no picture", DIGITS, CLEAN[:300]))
    assert answer.status_code == 200
    readings = [{"path": "crop.png", **tiny().read(content).to_dict()} for content in (CLEAN, DIGITS)]
    assert answer.json()["readings"] == json.loads(json.dumps(readings))
    assert [error["status"] for error in answer.json()["errors"]] == [415, 422]


class StoppedClock(datetime):
    """A clock that stands still: PAGE XML contains the time of its creation."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> StoppedClock:
        return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)


@pytest.mark.parametrize("style", STYLES)
def test_every_format_is_written_as_by_the_command_line(
    client: TestClient, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dptr.photo.outputs.page_xml.datetime", StoppedClock)
    answer = client.post("/v1/ocr", files=form(CLEAN), data={"format": style})
    assert answer.status_code == 200 and answer.headers["content-type"] == MEDIA_TYPES[style]
    if style == "pdf":
        with Pdf(answer.content, "answer") as pdf:
            page = pdf.read(1, 200)
            assert len(pdf) == 1 and page is not None and page.text == "Market"
    elif style != "json":
        assert answer.content == ocr(style, CLEAN)


def test_pages_of_a_pdf_are_drawn_and_chosen(client: TestClient) -> None:
    pdf = make_pdf([show("one", 20, 100), show("two", 20, 100), show("three", 20, 100)], box="0 0 90 40")
    answer = client.post("/v1/ocr", files=form(pdf), data={"pages": "2-3", "dpi": "72", "pictures": "true"})
    pages = answer.json()["pages"]
    assert [(page["page"], page["width"], page["height"]) for page in pages] == [(2, 90, 40), (3, 90, 40)]
    shown = Image.open(io.BytesIO(base64.b64decode(pages[0]["picture"].removeprefix("data:image/jpeg;base64,"))))
    assert shown.size == (90, 40)
    assert client.post("/v1/ocr", files=form(pdf), data={"pages": "4"}).status_code == 422


def test_what_is_expected_is_read(client: TestClient) -> None:
    def text(**fields: Any) -> str:
        return client.post("/v1/read", files=form(CLEAN), data=fields).json()["readings"][0]["text"]

    assert text() == "Market"
    assert text(lexicon="Basket\nMarker\n") == "Marker"
    assert text(pattern="[A-Z]+") == "MARKET"
    assert text(charset="36") == "market"
    assert text(min_confidence="1") == ""


def test_a_charset_of_the_operator_is_named_and_no_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("small.txt", "other.txt"):
        (tmp_path / name).write_text("MARKET")
    charsets = open_charsets(["small.txt"])
    (tmp_path / "small.txt").unlink()  # read once, when the server starts
    with make_client(make_app(charsets=charsets)) as made:
        assert "small" in made.get("/v1/models").json()["charsets"]
        read = made.post("/v1/read", files=form(CLEAN), data={"charset": "small"})
        assert read.json()["readings"][0]["text"] == "MARKET"
        page = made.post("/v1/ocr", files=form(CLEAN), data={"charset": "small", "min_confidence": "0"})
        assert page.json()["pages"][0]["text"] == "MARKET"
        for name in ("other.txt", str(tmp_path / "other.txt"), "other", "small.txt"):
            refused = made.post("/v1/read", files=form(CLEAN), data={"charset": name})
            assert refused.status_code == 400 and "unknown; pass one of small, 10" in refused.json()["error"]


def test_charset_files_that_cannot_be_named_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("de.txt", "a.txt", "a.chars"):
        (tmp_path / name).write_text("abc")
    for files, said in ((["de"], "as it is"), (["de.txt"], "another one is called 'de'"), (["nosuch"], "nor a file"),
                        (["a.txt", "a.chars"], "another one is called 'a'")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            open_charsets(files)


@pytest.fixture
def fresh() -> Iterator[TestClient]:
    with make_client(make_app()) as made:
        yield made


def test_a_language_is_read_by_the_installed_recognizer_that_reads_it(
    fresh: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"dptr-en": ("en", "de", "fr"), "dptr-en-tiny": ("en", "cy")}
    for where in ("dptr.serve.recognizers", "dptr.inference.zoo"):
        monkeypatch.setattr(f"{where}.read_languages", lambda: held)
    told = fresh.get("/v1/models").json()
    assert [(each["code"], each["model"]) for each in told["languages"]] == [
        ("en", "dptr-en-tiny"), ("fr", "dptr-en"), ("de", "dptr-en"), ("cy", "dptr-en-tiny")
    ]  # fmt: skip

    def ask(**fields: str) -> Any:
        return fresh.post("/v1/read", files=form(CLEAN), data=fields)

    reading = Reader("dptr-en").read(CLEAN).to_dict()
    for _ in range(2):
        assert ask(language="de").json()["readings"][0]["confidence"] == reading["confidence"]
    assert ask(language="de", pattern="[A-Z]+").json()["readings"][0]["text"] == "MARKET"
    assert ask(language="cy").json() == ask().json()
    assert [model["name"] for model in fresh.get("/v1/models").json()["models"]] == ["tiny"]
    for fields, said in (
        ({"language": "ko"}, "no recognizer that reads Korean is installed"),
        ({"language": "deutsch"}, "not one of the"),
        ({"language": "de", "model": "tiny"}, "send one of them"),
        ({"model": "dptr-en"}, "not served"),
    ):
        refused = ask(**fields)
        assert refused.status_code == 400 and said in refused.json()["error"]


@pytest.mark.parametrize("pattern", [".*a.{12}", "(a|b)*a(a|b){20}", "(" * 249 + "a" + ")" * 249])
def test_a_pattern_that_would_take_the_machine_is_refused(client: TestClient, pattern: str) -> None:
    others: list[int] = []

    def ask() -> None:
        others.append(client.post("/v1/read", files=form(CLEAN)).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    answer = client.post("/v1/read", files=form(CLEAN), data={"pattern": pattern})
    thread.join()
    assert answer.status_code == 400 and answer.json()["error"].startswith("pattern ") and others == [200]


def test_models_and_limits_are_told(client: TestClient) -> None:
    told = client.get("/v1/models").json()
    assert [model["name"] for model in told["models"]] == ["tiny"] and told["models"][0]["default"]
    assert told["limits"]["megabytes"] == 6 and "iban" in told["patterns"]
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/ocr", "/v1/read", "/v1/models", "/health", "/ready", "/metrics"} <= set(paths)
    assert client.get("/health").json()["status"] == "ok" and client.get("/ready").status_code == 200
    assert 'dptr_requests_total{route="/v1/models",status="200"} 1.0' in client.get("/metrics").text


# --- what is refused --------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


LARGE = encode(Image.new("L", (1001, 1000)))
FRAMES = [Image.new("L", (20, 20)), Image.new("L", (1001, 1000))]
GROWING = encode(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:])


@pytest.mark.parametrize("route", ["/v1/ocr", "/v1/read"])
@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 422, "zero bytes"),
        (b"<svg onload=alert(1)>", 415, "not a picture"),
        (b"%!PS-Adobe-3.0\n", 415, "not a picture"),
        (CLEAN[: len(CLEAN) // 2], 422, "damaged"),
        (bomb(), 413, "exceeds limit"),
        (LARGE, 413, "1001x1000 pixels, more than the 1,000,000"),
        (bytes(6_000_001), 413, "more than 6 MB"),
    ],
    ids=["empty", "svg", "postscript", "truncated", "bomb", "pixels", "bytes"],
)
def test_pictures_that_cannot_be_read(client: TestClient, route: str, content: bytes, status: int, said: str) -> None:
    answer = client.post(route, files=form(content))
    assert answer.status_code == status and said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_limits_hold_for_later_frames_and_for_pages(client: TestClient) -> None:
    answer = client.post("/v1/ocr", files=form(GROWING)).json()
    assert [page["page"] for page in answer["pages"]] == [1]
    assert [(error["page"], error["status"]) for error in answer["errors"]] == [(2, 413)]
    assert client.post("/v1/ocr", files=form(GROWING), data={"format": "tsv"}).status_code == 413  # nothing is lost
    pdf = make_pdf([show("one", 20, 100)], box="0 0 900 900")
    assert client.post("/v1/ocr", files=form(pdf)).status_code == 413
    many = make_pdf([show("x", 20, 100)] * 9, box="0 0 9 9")
    assert client.post("/v1/ocr", files=form(many)).status_code == 413
    assert client.post("/v1/read", files=form(*[CLEAN] * 9)).status_code == 413


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "/etc/passwd"}, "not served"),
        ({"charset": "/etc/passwd"}, "unknown"),
        ({"pattern": "(?=x)"}, "lookahead"),
        ({"pattern": "x" * 501}, "501 characters"),
        ({"lexicon": "\n".join(map(str, range(10_001)))}, "10001 words"),
        ({"lexicon": "ünknöwn"}, "not among"),
        ({"lexicon": " \n\t"}, "no words"),
        ({"min_confidence": "2"}, "less than or equal to 1"),
        ({"device": "cuda"}, "there are model, language, charset"),
    ],
)
def test_fields_that_cannot_be_used(client: TestClient, fields: dict[str, str], said: str) -> None:
    answer = client.post("/v1/read", files=form(CLEAN), data=fields)
    assert answer.status_code == 400 and said in answer.json()["error"]


@pytest.mark.parametrize("pages", ["x", "3-1", "0", "1,,2"])
def test_pages_that_are_none_are_a_broken_field(client: TestClient, pages: str) -> None:
    answer = client.post("/v1/ocr", files=form(CLEAN), data={"pages": pages})
    assert answer.status_code == 400 and "is no page and no range" in answer.json()["error"]


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b"[]", 400),
        ("application/json", b'{"files": [7]}', 400),
        ("application/json", b'{"files": ["!"]}', 400),
        ("application/json", b'{"files": []}', 400),
        ("application/json", b'{"files": ["YQ=="], "lexicon": [[]]}', 400),
        ("application/json", b'{"files": ["YQ=="], "lexicon": ["  "]}', 400),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=x", b"--y\r\n", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nab',
            400,
        ),
        ("text/plain", b"x", 415),
        ("", b"", 415),
    ],
)
def test_bodies_that_are_broken(client: TestClient, kind: str, content: bytes, status: int) -> None:
    answer = client.post("/v1/read", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status and answer.json()["error"]


def test_a_file_that_is_lost_on_the_way_is_told(client: TestClient) -> None:
    """Without a file name a part of a form is text; a key of another API would be passed over."""
    text = b"--x\r\nContent-Disposition: form-data; name=\"files\"; filename*=UTF-8''a.png\r\n\r\na\r\n--x--"
    answer = client.post("/v1/read", content=text, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 400 and "send the file with its name" in answer.json()["error"]
    answer = client.post("/v1/read", json={"files": [{"data": "YQ==", "filename": "a.png"}]})
    assert answer.status_code == 400 and "'filename' is unknown; there are name, data" in answer.json()["error"]


def test_pictures_are_not_dropped_by_a_format_without_them(client: TestClient) -> None:
    fields = {"pictures": "true", "format": "text", "min_confidence": "0"}
    answer = client.post("/v1/ocr", files=form(CLEAN), data=fields)
    assert answer.status_code == 400 and "'text' has no place for them" in answer.json()["error"]
    assert client.post("/v1/ocr", files=form(CLEAN), data={**fields, "pictures": "false"}).status_code == 200


def test_the_wrong_address_or_method_says_where_to_look(client: TestClient) -> None:
    missing, wrong = client.post("/v1/nothing"), client.get("/v1/read")
    assert (missing.status_code, missing.json()["error"]) == (404, "nothing at /v1/nothing; see /docs")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "GET /v1/read: send POST; see /docs")
    assert wrong.headers["Allow"] == "POST"


def test_openapi_says_what_is_taken_and_answered(client: TestClient) -> None:
    """Clients that are made from it send a lexicon as it is read, and know each format that answers."""
    route = client.get("/openapi.json").json()["paths"]["/v1/ocr"]["post"]
    kinds = {kind: body["schema"]["properties"] for kind, body in route["requestBody"]["content"].items()}
    assert {kind: body["lexicon"]["type"] for kind, body in kinds.items()} == {
        "multipart/form-data": "string", "application/json": "array",
    }  # fmt: skip
    for style in STYLES:
        answer = client.post("/v1/ocr", files=form(CLEAN), data={"format": style})
        assert answer.headers["Content-Type"].partition(";")[0] in route["responses"]["200"]["content"]
    assert {"400", "401", "403", "408", "413", "415", "421", "422", "503", "504"} <= set(route["responses"])


def test_files_of_hostile_names_come_back_as_they_were(client: TestClient) -> None:
    for name in ("<img src=x onerror=alert(1)>.png", "../../etc/passwd", "\u202egnp.exe", "n" * LONGEST_NAME):
        (reading,) = client.post("/v1/read", files=form(CLEAN, name=name)).json()["readings"]
        assert reading["path"] == name


@pytest.mark.parametrize("route", ["/v1/ocr", "/v1/read"])
def test_a_file_name_is_never_cut_and_one_that_is_too_long_is_refused(client: TestClient, route: str) -> None:
    name = "n" * (LONGEST_NAME + 1)
    encoded = {"name": name, "data": base64.b64encode(CLEAN).decode()}
    for answer in (client.post(route, files=form(CLEAN, name=name)), client.post(route, json={"files": [encoded]})):
        assert answer.status_code == 400
        assert answer.json()["error"] == (
            f"a file name of {LONGEST_NAME + 1} characters; at most {LONGEST_NAME} are allowed, send a shorter name"
        )
    assert client.post(route, files=form(CLEAN, name=100 * name)).status_code == 400


def run_app(
    app: Any, chunks: Iterator[bytes], delay: float = 0, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> tuple[int, int]:
    """Send a body piece by piece; the status of the answer, and how many pieces were taken."""
    taken, status = 0, 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        await asyncio.sleep(delay)
        piece = next(chunks, None)
        taken += piece is not None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    head = [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/read", "headers": head, "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return status, taken


def test_a_body_is_refused_before_all_of_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.serve.bodies._LINGER", 0.0)
    pieces = [bytes(100_000)] * 50
    assert run_app(make_app(megabytes=1), iter(pieces)) == (413, 11)
    declared = ((b"content-length", b"5000000"),)
    assert run_app(make_app(megabytes=1), iter(pieces), headers=declared) == (413, 0)


def test_bodies_of_all_requests_are_bounded_together_and_one_alone_is_taken() -> None:
    intake = Intake(Limits(megabytes=2, held=1))
    body = [b'{"files": []', *[b" " * 100_000] * 15, b"}"]

    async def take(count: Any) -> Body:
        chunks = iter(body)

        async def receive() -> dict[str, Any]:
            chunk = next(chunks, None)
            return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"application/json")]}
        return await intake.receive(Request(scope, receive), count)

    async def main() -> None:
        with intake.hold() as first:
            assert (await take(first)).uploads == []
            with pytest.raises(Refusal) as refused, intake.hold() as second:
                await take(second)
            assert refused.value.status == 503 and second.received < 1_000_000
        with intake.hold() as third:
            await take(third)

    asyncio.run(main())


def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    status, taken = run_app(make_app(upload=0.05), iter([b"x"] * 1000), delay=0.01)
    assert status == 408 and taken < 50


class Gate:
    """A detector that waits."""

    def __init__(self) -> None:
        self.open, self.begun = threading.Event(), threading.Event()

    def __call__(self, image: Image.Image) -> Detection:
        self.begun.set()
        assert self.open.wait(30)
        return find_all(image)


def test_a_full_queue_and_a_long_wait_are_told_while_others_are_served() -> None:
    gate = Gate()
    with make_client(make_app(gate, queue=4, pictures=4, seconds=1)) as client:
        late: list[int] = []
        threads = [
            threading.Thread(target=lambda: late.append(client.post("/v1/ocr", files=form(*[CLEAN] * 4)).status_code))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        assert gate.begun.wait(10)
        crops = client.post("/v1/read", files=form(CLEAN))
        for thread in threads:
            thread.join(10)
        gate.open.set()
        assert crops.status_code == 200 and crops.json()["readings"][0]["text"] == "Market"
        assert set(late) == {503, 504} and len(late) == 6
        assert client.post("/v1/ocr", files=form(CLEAN)).status_code == 200  # what was given up is gone


def test_503_says_when_to_try_again() -> None:
    gate = Gate()
    with make_client(make_app(gate, queue=2, pictures=2, seconds=5)) as client:
        statuses: dict[int, str | None] = {}

        def post() -> None:
            answer = client.post("/v1/ocr", files=form(CLEAN, CLEAN))
            statuses[answer.status_code] = answer.headers.get("retry-after")
            gate.open.set()

        threads = [threading.Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert set(statuses) == {200, 503}
        assert 1 <= int(statuses[503] or 0) <= 60 and statuses[200] is None


def test_nothing_is_written_to_the_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    noise = encode(Image.effect_noise((900, 900), 99), "TIFF")
    assert len(noise) > 600_000
    answer = client.post("/v1/read", files=form(*[noise] * 6))
    assert answer.status_code == 200 and len(answer.json()["readings"]) == 6


# --- who may ask ------------------------------------------------------------------------------------------------------


def test_tokens() -> None:
    with make_client(make_app(tokens=(TOKEN, TOKEN + "-2"))) as client:
        for path in ("/", "/docs", "/health", "/ready", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.get("/v1/models", headers={"Host": "ocr.example"}).status_code == 401
        for given in ("", f"Basic {TOKEN}", "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN}\xe4"):
            answer = client.post("/v1/read", files=form(CLEAN), headers={"Authorization": given.encode("latin-1")})  # type: ignore[dict-item]
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics").status_code == 401
        for token in (TOKEN, TOKEN + "-2"):
            assert (
                client.post("/v1/read", files=form(CLEAN), headers={"Authorization": f"Bearer {token}"}).status_code
                == 200
            )


def test_openapi_says_which_routes_need_a_token() -> None:
    secret = "s" * 32
    with make_client(make_app(tokens=(secret,))) as guarded:
        schema = guarded.get("/openapi.json").json()
        assert schema["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
        for path, methods in schema["paths"].items():
            for method, route in methods.items():
                needs = bool(route.get("security", schema["security"]))
                assert (guarded.request(method, path).status_code == 401) == needs, path
    with make_client(make_app()) as open_to_all:
        assert "security" not in open_to_all.get("/openapi.json").json()


def test_others_are_let_in_with_a_token_only() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org", ""):
        with pytest.raises(UserError, match="others can reach it"):
            check_address(host, ())
        check_address(host, (TOKEN,))
    for host in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        check_address(host, ())
    assert parse_tokens(" \n") == () and parse_tokens(f"{TOKEN},\n{TOKEN}2 ") == (TOKEN, TOKEN + "2")
    for weak in ("short", "ä" * 20):
        with pytest.raises(UserError, match="token 1"):
            parse_tokens(weak)


def test_other_sites_are_refused(client: TestClient) -> None:
    assert client.get("/health", headers={"Host": "rebound.example:8000"}).status_code == 421
    assert client.get("/health", headers={"Host": "[::1]:8000"}).status_code == 200
    for site in ("cross-site", "same-site"):
        answer = client.post("/v1/read", files=form(CLEAN), headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/metrics", headers=link).status_code == 403
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (client.options("/v1/read", headers=origin), client.get("/v1/models", headers=origin)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/models", "/nothing", "/static/nothing", "/static/../app.py"])
def test_every_answer_has_the_headers_of_safety(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert {key: answer.headers[key] for key in HEADERS} == HEADERS
    assert answer.status_code in (200, 404)
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy and "http:" not in policy and "*" not in policy


def test_an_error_of_ours_is_told_and_the_next_request_is_served(caplog: pytest.LogCaptureFixture) -> None:
    def detect(image: Image.Image) -> Detection:
        if image.size == (7, 7):
            raise ValueError("of the detector")
        return find_all(image)

    with make_client(make_app(detect)) as client:
        broken = client.post("/v1/ocr", files=form(encode(Image.new("RGB", (7, 7))), name="secret.png"))
        assert broken.status_code == 500 and "log" in broken.json()["error"]
        assert {key: broken.headers[key] for key in HEADERS} == HEADERS
        assert "of the detector" in caplog.text and "secret" not in caplog.text
        assert client.post("/v1/ocr", files=form(CLEAN)).status_code == 200


def test_models_are_called_by_the_last_part_of_their_path(tmp_path: Path) -> None:
    shutil.copytree(model_file("dptr-en-tiny", "model.onnx").parent, tmp_path / "mine" / "model")
    shutil.copy(model_file("dptr-en-tiny", "model.onnx"), tmp_path / "other.onnx")
    paths = [str(tmp_path / "mine" / "model"), "dptr-en-tiny", str(tmp_path / "other.onnx")]
    assert [*open_models(paths, PLAIN)] == ["mine", "dptr-en-tiny", "other"]
    with pytest.raises(UserError, match="called 'mine' too"):
        open_models([paths[0], paths[0]], PLAIN)


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"megabytes": 0},
        {"seconds": -1},
        {"seconds": math.nan},
        {"pixels": math.inf},
        {"queue": 3, "pictures": 4},
    ):
        with pytest.raises(UserError, match="limit"):
            Limits(**wrong)  # type: ignore[arg-type]
