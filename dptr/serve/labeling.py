"""The routes for labeling: list the words of a label set, change them, and add pictures."""

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

_MOST_ITEMS = 50  # words in one response
_FETCHED_ITEMS = 2 * _MOST_ITEMS  # words fetched from the database in one query


class Change(BaseModel):
    """A request to change a word; fields that are None stay unchanged."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, description="Of what the change was made to.")
    text: str | None = Field(None, max_length=4 * LONGEST)
    state: State | None = None
    outline: tuple[tuple[float, float], ...] | None = Field(None, max_length=64, description="x and y in pixels.")


class Pages(BaseModel):
    """The fields of a request to add pictures."""

    model_config = ConfigDict(extra="forbid")

    crops: bool = Field(False, description="Each is one word.")


class Labeling:
    """A label set, and the operations that the server offers on it.

    Args:
        finder: the finder of the label set. Its threshold also applies to uploaded pictures.
        most_pixels: the largest photograph to open, in pixels.
    """

    def __init__(self, finder: Finder, most_pixels: int) -> None:
        self.store: Store = finder.store
        self.finder = finder
        self.pictures = Pictures(self.store, most_pixels)
        self.claims = Claims()

    def close(self) -> None:
        """Stop the finder."""
        self.finder.stop()

    def summarize(self) -> dict[str, Any]:
        """The progress of the label set, as a JSON object."""
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
        """The result of the sample of words accepted unseen, as a JSON object; None if no sample was drawn."""
        checked = check.summarize(self.store)
        return None if checked is None else checked.to_dict()

    def choose(self, state: State, after: tuple[float, int], limit: int, person: str) -> dict[str, Any]:
        """Choose words in a state, by ascending confidence. Open words that another person has claimed are skipped.

        Args:
            state: the state.
            after: the confidence and the id of the last word of the previous response.
            limit: how many words to return at most.
            person: who asks; this person claims the open words that are returned.

        Returns:
            A JSON object with ``items``, and ``more``: whether there are other words after or between these.
        """
        chosen: list[Item] = []
        seen, has_more = 0, True
        while has_more and len(chosen) < limit:
            items = self.store.items(state, after, _FETCHED_ITEMS)
            wanted = limit - len(chosen)
            chosen += self.claims.take(items, person, wanted) if state == "open" else items[:wanted]
            seen, has_more = seen + len(items), len(items) == _FETCHED_ITEMS
            after = (items[-1].confidence, items[-1].id) if items else after
        return {"items": [describe(item) for item in chosen], "more": has_more or seen > len(chosen)}

    async def change(self, item: int, read: ReadWord, body: Body) -> Response:
        """Change a word. If its box changes, the new box is read; the text of an open word without a draft follows it.

        Args:
            item: the id of the word.
            read: reads a crop.
            body: has the fields of ``Change``.

        Raises:
            Refusal: 400, a field is invalid; or see ``read``.
            UserError: see ``dptr.label.store.Store.change``; or the new box cannot be cut out.
        """
        fields = parse_fields(Change, body.fields)
        reading = None
        text = fields.text
        if fields.outline is not None:
            before = await run_in_threadpool(self.store.get, item)
            prediction = await self.read(before, fields.outline, read)
            reading = prediction.text, prediction.confidence
            if text is None and before.state == "open" and before.text == before.proposed:
                text = prediction.text
        changed = await run_in_threadpool(
            self.store.change, item, fields.version, text, fields.state, fields.outline, reading
        )
        return to_json({"item": describe(changed), "counts": self.store.counts(), "check": self.checked()})

    async def read(self, item: Item, outline: Outline, read: ReadWord) -> Prediction:
        """Read a word of the label set in a new outline.

        Args:
            item: the word.
            outline: the outline in pixels of its photograph.
            read: reads a crop.

        Raises:
            UserError: the outline cannot be cut out (``check_outline``), or the photograph cannot be opened any more.
        """
        check_outline(outline, (item.photo.width, item.photo.height))
        return await read(await run_in_threadpool(self.pictures.cut, replace(item, outline=outline)))

    async def add(self, read_word: ReadWord, read_pages: ReadPages, body: Body) -> Response:
        """Find and read the words of uploaded pictures, and add both to the label set, which stores the files.

        Args:
            read_word: reads a crop.
            read_pages: finds and reads the words in files.
            body: has the files, and the fields of ``Pages``.

        Raises:
            Refusal: 400, a field is invalid; or see ``read_pages``.
            UserError: the label set cannot be written.
        """
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
            name = _upload_path(sheet.upload)
            was_added = await run_in_threadpool(self.store.add, name, sheet.number, size, words, sheet.upload.content)
            added += len(words) if was_added else 0
        return to_json({"words": added, "errors": errors, "missing": [*missing], **self.summarize()})


def describe(item: Item) -> dict[str, Any]:
    """A word as a JSON object."""
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
    """The routes for the words of a label set.

    Args:
        labeling: the label set.
        answer: receives the body of a request, and returns the response that a function makes from it.
        read_word: reads a crop with the default recognizer.
        read_pages: finds and reads the words in files.
    """
    router = APIRouter()

    @router.get("/label", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(page_file("label.html"))

    @router.get("/v1/label", summary="How far the set of labels is")
    def get_summary() -> Response:
        return to_json(labeling.summarize())

    @router.get("/v1/label/items", summary="Words of a state, the least sure first")
    def list_items(
        state: State = "open",
        after: Annotated[str, Query(pattern=r"^-?[0-9.e-]{1,24},[0-9]{1,18}$")] = "-1,0",
        limit: Annotated[int, Query(ge=1, le=_MOST_ITEMS)] = 10,
        person: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        return to_json(labeling.choose(state, _parse_after(after), limit, person))

    @router.get("/v1/label/items/{item}", summary="A word")
    def get_item(item: Number) -> Response:
        return to_json(describe(labeling.store.get(item)))

    @router.post("/v1/label/items/{item}", summary="Change a word: its text, its state, its box")
    async def change_item(item: Number, request: Request) -> Response:
        return await answer(request, partial(labeling.change, item, read_word))

    @router.get("/v1/label/items/{item}/crop", summary="A word, cut out")
    def get_crop(item: Number) -> Response:
        return Response(encode_crop(labeling.pictures.cut(labeling.store.get(item))), media_type="image/png")

    @router.get("/v1/label/items/{item}/around", summary="A word where it stands: the part 'frame' of its photograph")
    def get_surroundings(item: Number) -> Response:
        found = labeling.pictures.surroundings(labeling.store.get(item))
        return Response(encode_view(found.image), media_type="image/jpeg")

    @router.post("/v1/label/pictures", summary="Add pictures")
    async def add_pictures(request: Request) -> Response:
        return await answer(request, partial(labeling.add, read_word, read_pages))

    return router


def answer_problem(error: UserError) -> Response:
    """The response to an error of the label set.

    The status is 409 for a conflict, with the present version of the word; 507 if the database cannot be read or
    written; and 400 otherwise.
    """
    body = {"error": " ".join(str(error).split())}
    if isinstance(error, Conflict):
        return to_json({**body, "item": describe(error.item)}, 409)
    return to_json(body, 507 if isinstance(error, NotSaved) else 400)


def _upload_path(upload: Upload) -> str:
    """The path under which the label set stores an uploaded file. It contains a hash of the content."""
    name = storable(os.path.basename(upload.name))
    return os.path.join("uploaded", hashlib.sha256(upload.content).hexdigest()[:16], name)


def _parse_after(after: str) -> tuple[float, int]:
    """The confidence and the id in the parameter ``after``.

    Raises:
        UserError: the confidence is not a number.
    """
    confidence, item = after.split(",")
    try:
        return float(confidence), int(item)
    except ValueError as error:
        raise UserError(f"after '{after}': '{confidence}' is no number; send a confidence and an id: 0.5,12") from error


def to_json(value: Any, status: int = 200) -> Response:
    """A response with a value as JSON."""
    return Response(dump_json(value), status, media_type="application/json")
