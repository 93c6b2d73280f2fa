"""The routes for photographs of a label set: show a photograph with its words, add a missed word, remove a word."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from dptr.label.item import Item, Proposal
from dptr.label.pictures import encode_view, name_of
from dptr.serve.bodies import Body
from dptr.serve.labeling import Answer, Labeling, Number, ReadWord, describe, to_json
from dptr.serve.options import parse_fields

Box = Annotated[tuple[tuple[float, float], ...], Field(max_length=64, description="x and y in pixels.")]


class Again(BaseModel):
    """A removed word to restore."""

    model_config = ConfigDict(extra="forbid")

    id: int = Field(ge=1, lt=1 << 63)
    version: int = Field(ge=1, lt=1 << 62, description="That it had.")


class Drawn(BaseModel):
    """A request to add a word whose box a person has drawn."""

    model_config = ConfigDict(extra="forbid")

    outline: Box
    again: Again | None = Field(None, description="The word that is brought back.")


class Removed(BaseModel):
    """A request to remove a word."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, description="Of what is taken away.")


def show(labeling: Labeling, photo: int) -> dict[str, Any]:
    """A photograph with its words, and the ids of the previous and the next photograph, as a JSON object.

    Raises:
        UserError: there is no such photograph.
    """
    record = labeling.store.photo(photo)
    before, after = labeling.store.beside(photo)
    return {
        "id": record.id,
        "source": name_of(record),
        "width": record.width,
        "height": record.height,
        "before": before,
        "after": after,
        "words": [describe(item) for item in labeling.store.words_of(photo)],
    }


async def draw(labeling: Labeling, photo: int, read: ReadWord, body: Body) -> Response:
    """Read the box that a person has drawn, and add the word, or restore a removed one.

    Raises:
        Refusal: 400, a field is invalid.
        UserError: there is no such photograph, the box cannot be cut out, or the word to restore was not removed.
    """
    fields = parse_fields(Drawn, body.fields)
    outline, back = fields.outline, fields.again
    place = await run_in_threadpool(labeling.store.photo, photo)
    reading = await labeling.read(Item(0, place, outline, "", 0.0, "", "open", 1), outline, read)
    word = Proposal(outline, reading.text, reading.confidence)
    again = None if back is None else (back.id, back.version)
    added = await run_in_threadpool(labeling.store.add_word, photo, word, again)
    return to_json({"item": describe(added), "counts": labeling.store.counts(), "check": labeling.checked()})


async def remove(labeling: Labeling, item: int, body: Body) -> Response:
    """Remove a word.

    Raises:
        Refusal: 400, a field is invalid.
        UserError: see ``dptr.label.store.Store.remove``.
    """
    version = parse_fields(Removed, body.fields).version
    await run_in_threadpool(labeling.store.remove, item, version)
    return to_json({"counts": labeling.store.counts(), "check": labeling.checked()})


def make_photo_router(labeling: Labeling, answer: Answer, read_word: ReadWord) -> APIRouter:
    """The routes for photographs; the arguments are as for ``dptr.serve.labeling.make_router``."""
    router = APIRouter(prefix="/v1/label")

    @router.get("/photos", summary="The first photograph; null where none could be opened")
    def first_photo() -> Response:
        return to_json({"first": labeling.store.beside(0)[1]})

    @router.get("/photos/{photo}", summary="A photograph: all its words, and which one is before and behind it")
    def get_photo(photo: Number) -> Response:
        return to_json(show(labeling, photo))

    @router.get("/photos/{photo}/picture", summary="A photograph as it is shown")
    def get_picture(photo: Number) -> Response:
        whole = labeling.pictures.whole(labeling.store.photo(photo))
        return Response(encode_view(whole), media_type="image/jpeg")

    @router.post("/photos/{photo}/words", summary="Add a word that was missed: its box is read")
    async def add_word(photo: Number, request: Request) -> Response:
        return await answer(request, partial(draw, labeling, photo, read_word))

    @router.post("/items/{item}/remove", summary="Take a word away")
    async def remove_word(item: Number, request: Request) -> Response:
        return await answer(request, partial(remove, labeling, item))

    return router
