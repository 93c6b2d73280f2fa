"""The routes for checking the words accepted unseen: a random sample of them, and the estimated share of wrong ones."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from dptr.label.check import MOST, draw, waiting
from dptr.serve.bodies import Body
from dptr.serve.labeling import Answer, Labeling, describe, to_json
from dptr.serve.options import parse_fields

_MOST_ITEMS = 50  # words in one response


class Draw(BaseModel):
    """A request to draw words."""

    model_config = ConfigDict(extra="forbid")

    words: int = Field(50, ge=1, le=MOST, description="How many more.")
    seed: int = Field(0, ge=0, lt=1 << 32, description="Of the first draw.")


async def sample(labeling: Labeling, body: Body) -> Response:
    """Draw words for the sample, and answer with its result so far.

    Raises:
        Refusal: 400, a field is invalid.
        UserError: see ``dptr.label.check.draw``.
    """
    fields = parse_fields(Draw, body.fields)
    checked = await run_in_threadpool(draw, labeling.store, fields.words, fields.seed)
    return to_json(checked.to_dict())


def make_check_router(labeling: Labeling, answer: Answer) -> APIRouter:
    """The routes for checking; ``answer`` is as for ``dptr.serve.labeling.make_router``."""
    router = APIRouter(prefix="/v1/label/check")

    @router.get("", summary="What the sample of the words that were accepted unseen tells; null without one")
    def get_check() -> Response:
        return to_json(labeling.checked())

    @router.post("", summary="Draw a sample of the words that were accepted unseen, or more of them")
    async def draw_words(request: Request) -> Response:
        return await answer(request, partial(sample, labeling))

    @router.get("/items", summary="Words of the sample that nobody has looked at")
    def list_items(
        limit: Annotated[int, Query(ge=1, le=_MOST_ITEMS)] = 10, person: Annotated[str, Query(max_length=64)] = ""
    ) -> Response:
        unreviewed = waiting(labeling.store)
        taken = labeling.claims.take(unreviewed, person, limit)
        return to_json({"items": [describe(item) for item in taken], "more": len(unreviewed) > len(taken)})

    return router
