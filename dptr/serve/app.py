"""The ASGI application of the server: its routes, and the responses to errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from dptr.serve.guard import OPEN, Guard, answer_error
from dptr.serve.label_check import make_check_router
from dptr.serve.label_photos import make_photo_router
from dptr.serve.labeling import Labeling, answer_problem, make_router
from dptr.serve.limits import Limits, Refusal
from dptr.serve.metrics import CONTENT_TYPE
from dptr.serve.options import ANSWERS, OCR_ANSWERS, OcrFields, ReadFields, describe_body
from dptr.serve.pages import FOLDER, page_file
from dptr.serve.recognizers import Recognizers
from dptr.serve.service import Service
from dptr.serve.trainings import Trained, make_training_router
from dptr.text.charset import CHARSETS
from dptr.text.named_patterns import NAMED_PATTERNS
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.version import __version__

SHOWN_LIMITS = "megabytes", "pixels", "pictures", "seconds", "words", "pattern"  # in the answer of /v1/models


def create_app(
    recognizers: Recognizers, limits: Limits, tokens: Sequence[str] = (), labeling: Labeling | None = None
) -> FastAPI:
    """Create the server as an ASGI application.

    Args:
        recognizers: the models to serve.
        limits: the limits of requests.
        tokens: each request needs one of these bearer tokens. Without tokens, only requests whose ``Host`` is a
            loopback address are served (``dptr.serve.guard.Guard``).
        labeling: the label set to serve too; None = no labeling.
    """
    service = Service(recognizers, limits)
    trained = Trained(labeling.store, recognizers) if labeling is not None else None

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        yield
        if labeling is not None and trained is not None:
            await run_in_threadpool(labeling.close)
            await run_in_threadpool(trained.close)
        await run_in_threadpool(service.close)

    app = FastAPI(
        title="DPTR", version=__version__, docs_url=None, redoc_url=None, lifespan=run,
        description="Reads words in photographs, scans, and PDFs.",
    )  # fmt: skip
    app.add_middleware(Guard, tokens=tokens, metrics=service.metrics)
    _add_reading(app, service)
    _add_facts(app, recognizers, limits, labeling is not None)
    _add_status(app, service)
    _add_pages(app)
    if labeling is not None and trained is not None:
        app.include_router(make_router(labeling, service.answer, service.read_word, service.read_files))
        app.include_router(make_photo_router(labeling, service.answer, service.read_word))
        app.include_router(make_check_router(labeling, service.answer))
        app.include_router(make_training_router(trained, service.answer))
    _add_errors(app)
    if tokens:
        _describe_tokens(app)
    return app


def _add_reading(app: FastAPI, service: Service) -> None:
    """The routes that read pictures."""

    @app.post("/v1/ocr", summary="Find and read the words of photographs, scans, and PDFs",
              openapi_extra=describe_body(OcrFields), responses=OCR_ANSWERS)  # fmt: skip
    async def ocr(request: Request) -> Response:
        return await service.answer(request, service.read_pages)

    @app.post("/v1/read", summary="Read crops of one word each",
              openapi_extra=describe_body(ReadFields), responses=ANSWERS)  # fmt: skip
    async def read(request: Request) -> Response:
        return await service.answer(request, service.read_crops)


def _add_facts(app: FastAPI, recognizers: Recognizers, limits: Limits, labels: bool) -> None:
    """The route that says what is served.

    Args:
        labels: whether a label set is served too.
    """

    @app.get("/v1/models", summary="What is served: models, languages, named charsets and patterns, limits")
    def models() -> Response:
        shown_limits = {key: getattr(limits, key) for key in SHOWN_LIMITS}
        charsets = [*CHARSETS, *recognizers.charsets]
        named = {"charsets": charsets, "patterns": [*NAMED_PATTERNS]}
        answer = {"models": recognizers.describe(), **named, "limits": shown_limits}
        return _json({**answer, "languages": recognizers.languages(), "label": labels})


def _add_status(app: FastAPI, service: Service) -> None:
    """The routes for programs that watch the server."""

    @app.get("/health", summary="Whether the server is there")
    async def health() -> Response:
        return _json({"status": "ok", "dptr": __version__})

    @app.get("/ready", summary="Whether it takes requests")
    async def ready() -> Response:
        if not service.ready:
            return answer_error(503, "the queue is full, or the server stops", {"Retry-After": "1"})
        return _json({"status": "ready"})

    @app.get("/metrics", summary="Counters, for Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.render(), media_type=CONTENT_TYPE)


def _add_pages(app: FastAPI) -> None:
    """The web pages, and their files."""
    app.mount("/static", StaticFiles(directory=FOLDER), "static")

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(page_file("index.html"))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(page_file("docs.html"))


def _add_errors(app: FastAPI) -> None:
    """The responses to exceptions of all routes."""

    @app.exception_handler(UserError)
    async def answer_user_error(request: Request, error: UserError) -> Response:
        return answer_problem(error)

    @app.exception_handler(Refusal)
    async def refuse(request: Request, refusal: Refusal) -> Response:
        return answer_error(refusal.status, refusal.message, refusal.headers)

    @app.exception_handler(HTTPException)
    async def fail(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        message = error.detail
        if error.status_code == 404:
            message = f"nothing at {request.url.path[:100]}; see /docs"
        elif error.status_code == 405:
            message = f"{request.method} {request.url.path[:100]}: send {headers.get('Allow', 'another')}; see /docs"
        return answer_error(error.status_code, message, headers)


def _describe_tokens(app: FastAPI) -> None:
    """Say in ``/openapi.json`` which routes need a token; all routes must have been added before."""
    schema = app.openapi()
    schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"token": []}]
    for path in OPEN:
        for route in schema["paths"].get(path, {}).values():
            route["security"] = []


def _json(value: Any) -> Response:
    return Response(dump_json(value), media_type="application/json")
