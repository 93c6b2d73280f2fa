"""The routes of checking: a random sample of the words that were accepted unseen, and what it tells of all of them."""

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

_SHOWN = 50  # words of one answer


class Draw(BaseModel):
    """Words to draw."""

    model_config = ConfigDict(extra="forbid")

    words: int = Field(50, ge=1, le=MOST, description="How many more.")
    seed: int = Field(0, ge=0, lt=1 << 32, description="Of the first draw.")


async def sample(labeling: Labeling, body: Body) -> Response:
    """Draw words, or more of them."""
    wanted = parse_fields(Draw, body.fields)
    checked = await run_in_threadpool(draw, labeling.store, wanted.words, wanted.seed)
    return to_json(checked.to_dict())


def make_check_router(labeling: Labeling, answer: Answer) -> APIRouter:
    """The routes of checking; ``answer`` as of ``dptr.serve.labeling.make_router``."""
    router = APIRouter(prefix="/v1/label/check")

    @router.get("", summary="What the sample of the words that were accepted unseen tells; null without one")
    def told() -> Response:
        return to_json(labeling.checked())

    @router.post("", summary="Draw a sample of the words that were accepted unseen, or more of them")
    async def more(request: Request) -> Response:
        return await answer(request, partial(sample, labeling))

    @router.get("/items", summary="Words of the sample that nobody has looked at")
    def items(
        limit: Annotated[int, Query(ge=1, le=_SHOWN)] = 10, person: Annotated[str, Query(max_length=64)] = ""
    ) -> Response:
        found = waiting(labeling.store)
        taken = labeling.claims.take(found, person, limit)
        return to_json({"items": [describe(item) for item in taken], "more": len(found) > len(taken)})

    return router
