"""The routes of labeling: the words of a set, and what people say of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from dptr.inference.prediction import Prediction
from dptr.label import check
from dptr.label.claims import Claims
from dptr.label.database import NotSaved
from dptr.label.finder import Finder
from dptr.label.item import LONGEST, Conflict, Item, State, storable
from dptr.label.pictures import Pictures, check_outline, encode_crop, encode_view, frame_around, name_of
from dptr.label.propose import crop_of, missing_of, words_of
from dptr.label.store import Store
from dptr.photo.page import Outline, Page
from dptr.serve.answers import Failed
from dptr.serve.bodies import Body
from dptr.serve.options import parse_fields
from dptr.serve.pages import page_file
from dptr.serve.recognizers import Sheet, Upload
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json

Answer = Callable[[Request, Callable[[Body], Awaitable[Response]]], Awaitable[Response]]
ReadWord = Callable[[Image.Image], Awaitable[Prediction]]
ReadPages = Callable[[Sequence[Upload]], Awaitable[list[tuple[Sheet, Page] | Failed]]]

Number = Annotated[int, Path(ge=1, lt=1 << 63)]
"""The id of a word."""

_MOST = 50  # words of one answer
_AT_ONCE = 2 * _MOST  # words that are fetched together


class Change(BaseModel):
    """A change of a word."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, description="Of what the change was made to.")
    text: str | None = Field(None, max_length=4 * LONGEST)
    state: State | None = None
    outline: tuple[tuple[float, float], ...] | None = Field(None, max_length=64, description="x and y in pixels.")


class Pages(BaseModel):
    """What comes with pictures."""

    model_config = ConfigDict(extra="forbid")

    crops: bool = Field(False, description="Each is one word.")


class Labeling:
    """A set of labels, as a server shows it.

    Args:
        finder: of the set that is served; what is uploaded is found as it finds.
        most_pixels: of a photograph.
    """

    def __init__(self, finder: Finder, most_pixels: int) -> None:
        self.store: Store = finder.store
        self.finder = finder
        self.pictures = Pictures(self.store, most_pixels)
        self.claims = Claims()

    def close(self) -> None:
        """Stop finding words."""
        self.finder.stop()

    def summarize(self) -> dict[str, Any]:
        """How far the set is."""
        photos, failed = self.store.photos()
        return {
            "set": self.store.folder.name,
            "photos": photos,
            "failed": failed,
            "counts": self.store.counts(),
            "crops": self.finder.crops,
            "threshold": self.finder.threshold,
            "finding": asdict(self.finder.progress),
            "check": self.checked(),
        }

    def checked(self) -> dict[str, Any] | None:
        """What the sample of the words that were accepted unseen tells; None where none was drawn."""
        checked = check.summarize(self.store)
        return None if checked is None else checked.to_dict()

    def choose(self, state: State, after: tuple[float, int], limit: int, person: str) -> dict[str, Any]:
        """Words of a state, the least sure first; open ones that nobody else looks at. ``more``: whether there are
        others behind, or between them."""
        taken: list[Item] = []
        seen, rest = 0, True
        while rest and len(taken) < limit:
            found = self.store.items(state, after, _AT_ONCE)
            wanted = limit - len(taken)
            taken += self.claims.take(found, person, wanted) if state == "open" else found[:wanted]
            seen, rest = seen + len(found), len(found) == _AT_ONCE
            after = (found[-1].confidence, found[-1].id) if found else after
        return {"items": [describe(item) for item in taken], "more": rest or seen > len(taken)}

    async def change(self, item: int, read: ReadWord, body: Body) -> Response:
        """Change a word; where its box is new, it is read again."""
        wanted = parse_fields(Change, body.fields)
        reading = None
        text = wanted.text
        if wanted.outline is not None:
            before = await run_in_threadpool(self.store.get, item)
            found = await self.read(before, wanted.outline, read)
            reading = found.text, found.confidence
            if text is None and before.state == "open" and before.text == before.proposed:
                text = found.text
        changed = await run_in_threadpool(
            self.store.change, item, wanted.version, text, wanted.state, wanted.outline, reading
        )
        return to_json({"item": describe(changed), "counts": self.store.counts(), "check": self.checked()})

    async def read(self, item: Item, outline: Outline, read: ReadWord) -> Prediction:
        """What is to be read where a word stands now.

        Raises:
            UserError: the outline is no area of the photograph, or that cannot be opened any more.
        """
        check_outline(outline, (item.photo.width, item.photo.height))
        return await read(await run_in_threadpool(self.pictures.cut, replace(item, outline=outline)))

    async def add(self, read_word: ReadWord, read_pages: ReadPages, body: Body) -> Response:
        """Add pictures, which the set keeps."""
        crops = parse_fields(Pages, body.fields).crops
        added, errors = 0, []
        missing: dict[str, None] = {}
        for outcome in await read_pages(body.uploads):
            if isinstance(outcome, Failed):
                errors.append(outcome.to_dict())
                continue
            sheet, page = outcome
            size = page.width, page.height
            words, notes = words_of(page, self.finder.threshold), page.notes
            if crops:
                reading = await read_word(await run_in_threadpool(sheet.open))
                words, notes = [crop_of(reading, self.finder.threshold)], reading.notes
            missing |= dict.fromkeys(missing_of(notes))
            name = _uploaded(sheet.upload)
            new = await run_in_threadpool(self.store.add, name, sheet.number, size, words, sheet.upload.content)
            added += len(words) if new else 0
        return to_json({"words": added, "errors": errors, "missing": [*missing], **self.summarize()})


def describe(item: Item) -> dict[str, Any]:
    """A word as JSON holds it."""
    return {
        "id": item.id,
        "photo": item.photo.id,
        "source": name_of(item.photo),
        "width": item.photo.width,
        "height": item.photo.height,
        "outline": item.outline,
        "frame": frame_around(item),
        "proposed": item.proposed,
        "confidence": item.confidence,
        "text": item.text,
        "state": item.state,
        "version": item.version,
    }


def make_router(labeling: Labeling, answer: Answer, read_word: ReadWord, read_pages: ReadPages) -> APIRouter:
    """The routes of a set.

    Args:
        answer: takes the body of a request, and answers with what is made of it.
        read_word: reads a crop with the recognizer that is in use.
        read_pages: finds and reads words in pictures.
    """
    router = APIRouter()

    @router.get("/label", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(page_file("label.html"))

    @router.get("/v1/label", summary="How far the set of labels is")
    def summary() -> Response:
        return to_json(labeling.summarize())

    @router.get("/v1/label/items", summary="Words of a state, the least sure first")
    def items(
        state: State = "open",
        after: Annotated[str, Query(pattern=r"^-?[0-9.e-]{1,24},[0-9]{1,18}$")] = "-1,0",
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 10,
        person: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        return to_json(labeling.choose(state, _parse_after(after), limit, person))

    @router.get("/v1/label/items/{item}", summary="A word")
    def one(item: Number) -> Response:
        return to_json(describe(labeling.store.get(item)))

    @router.post("/v1/label/items/{item}", summary="Change a word: its text, its state, its box")
    async def change(item: Number, request: Request) -> Response:
        return await answer(request, partial(labeling.change, item, read_word))

    @router.get("/v1/label/items/{item}/crop", summary="A word, cut out")
    def crop(item: Number) -> Response:
        return Response(encode_crop(labeling.pictures.cut(labeling.store.get(item))), media_type="image/png")

    @router.get("/v1/label/items/{item}/around", summary="A word where it stands: the part 'frame' of its photograph")
    def around(item: Number) -> Response:
        found = labeling.pictures.surroundings(labeling.store.get(item))
        return Response(encode_view(found.image), media_type="image/jpeg")

    @router.post("/v1/label/pictures", summary="Add pictures")
    async def add(request: Request) -> Response:
        return await answer(request, partial(labeling.add, read_word, read_pages))

    return router


def answer_problem(error: UserError) -> Response:
    """What is answered where a set refuses: 409 with the word as it is, 507 for a database that cannot save, 400."""
    told = {"error": " ".join(str(error).split())}
    if isinstance(error, Conflict):
        return to_json({**told, "item": describe(error.item)}, 409)
    return to_json(told, 507 if isinstance(error, NotSaved) else 400)


def _uploaded(upload: Upload) -> str:
    """The path of a file that was sent: one for each content."""
    name = storable(os.path.basename(upload.name))
    return os.path.join("uploaded", hashlib.sha256(upload.content).hexdigest()[:16], name)


def _parse_after(after: str) -> tuple[float, int]:
    """The confidence and the id of the last word that is known.

    Raises:
        UserError: the first is no number.
    """
    confidence, item = after.split(",")
    try:
        return float(confidence), int(item)
    except ValueError as error:
        raise UserError(f"after '{after}': '{confidence}' is no number; send a confidence and an id: 0.5,12") from error


def to_json(value: Any, status: int = 200) -> Response:
    """A value as an answer."""
    return Response(dump_json(value), status, media_type="application/json")
