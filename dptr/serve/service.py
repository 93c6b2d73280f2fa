"""The service behind the routes: reads the pictures of requests in common batches, and builds the responses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dptr.inference.prediction import Prediction
from dptr.inference.reader import Prepared
from dptr.photo.page import Page
from dptr.serve.answers import Failed, write_pages, write_readings
from dptr.serve.batcher import Batcher, Busy, cancel
from dptr.serve.bodies import Body, Intake
from dptr.serve.limits import Limits, Refusal, refuse_busy
from dptr.serve.metrics import Metrics
from dptr.serve.options import MEDIA_TYPES, OcrFields, ReadFields, parse_fields
from dptr.serve.recognizers import Recognizers, Sheet, Upload, Wanted, list_sheets, prepare
from dptr.utils.errors import UserError

WAIT = 0.003  # seconds for which a picture waits for others, to be read in one batch with them
CROPS, PAGES = 64, 64  # crops and pages in a batch, at most

Outcome = TypeVar("Outcome")


class Service:
    """Parses requests, queues their pictures for the recognizers, and builds the responses.

    Args:
        recognizers: the models to serve.
        limits: the limits of requests.
    """

    def __init__(self, recognizers: Recognizers, limits: Limits) -> None:
        self.metrics = Metrics()
        self._recognizers, self._limits, self._intake = recognizers, limits, Intake(limits)
        observe_pages, observe_crops = (self.metrics.together.labels(kind).observe for kind in ("pages", "crops"))
        self._pages: Batcher[Sheet, Page | UserError] = Batcher(
            recognizers.read_pages, limits.queue, PAGES, WAIT, "dptr-pages", observe_pages
        )
        self._crops: Batcher[Prepared, Prediction] = Batcher(
            recognizers.read_crops, limits.queue, CROPS, WAIT, "dptr-crops", observe_crops
        )
        self._compiling = CapacityLimiter(1)  # a large pattern compiles for seconds; waiting requests occupy no thread
        self.metrics.watch_queue("pages", lambda: self._pages.waiting)
        self.metrics.watch_queue("crops", lambda: self._crops.waiting)

    @property
    def ready(self) -> bool:
        """Whether both queues have room and their threads run."""
        return all(each.alive and each.waiting < self._limits.queue for each in (self._pages, self._crops))

    def close(self) -> None:
        """Finish the batches that are being read, and cancel the pictures in the queues."""
        self._pages.close()
        self._crops.close()

    async def answer(self, request: Request, read: Callable[[Body], Awaitable[Response]]) -> Response:
        """Receive the body of a request, and await the response to it.

        If the client disconnects first, the work is canceled and the response has status 499, which nobody receives.

        Args:
            request: the request.
            read: makes the response from the body.

        Raises:
            Refusal: see ``Intake.receive``; or 504, if the work takes more than ``Limits.seconds``.
        """
        with self._intake.hold() as count:
            try:
                body = await self._intake.receive(request, count)
            except ClientDisconnect:
                return Response(status_code=499)
            work = asyncio.ensure_future(read(body))
            disconnected = asyncio.ensure_future(_await_disconnect(request))
            try:
                await asyncio.wait(
                    (work, disconnected), timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if work.done():
                    return work.result()
                if disconnected.done():
                    return Response(status_code=499)
                raise Refusal(504, f"not read within {self._limits.seconds:g} s; send fewer or smaller pictures")
            finally:
                work.cancel()
                disconnected.cancel()

    async def read_pages(self, body: Body) -> Response:
        """The response to ``/v1/ocr``.

        Raises:
            Refusal: 400 a field is invalid, 413 there are too many pictures, 503 the queue is full, or the pages failed
                (``write_pages``).
        """
        fields = parse_fields(OcrFields, body.fields)
        wanted = await self._open(fields, body.uploads)
        outcomes = await self._read_sheets(wanted, body.uploads, fields)
        answer = await run_in_threadpool(write_pages, outcomes, fields, self._recognizers.call)
        return Response(answer, media_type=MEDIA_TYPES[fields.format])

    async def read_crops(self, body: Body) -> Response:
        """The response to ``/v1/read``.

        Raises:
            Refusal: 400 a field is invalid, 413 there are too many pictures, 503 the queue is full, or the status of
                the first crop if all failed.
        """
        fields = parse_fields(ReadFields, body.fields)
        wanted = await self._open(fields, body.uploads)
        prepared = await run_in_threadpool(self._prepare, wanted, body.uploads)
        crops = [each for each in prepared if isinstance(each, Prepared)]
        read = iter(await _gather(_submit(self._crops, wanted, crops)))
        outcomes = [
            each if isinstance(each, Failed) else (upload.name, next(read))
            for upload, each in zip(body.uploads, prepared, strict=True)
        ]
        return Response(write_readings(outcomes, fields.min_confidence), media_type="application/json")

    async def read_files(self, uploads: Sequence[Upload]) -> list[tuple[Sheet, Page] | Failed]:
        """Read all pages of files with the default recognizer.

        Raises:
            Refusal: as ``read_pages``; but a failed page is an outcome and raises nothing.
        """
        fields = OcrFields.model_validate({})
        return await self._read_sheets(await self._open(fields, uploads), uploads, fields)

    async def read_word(self, crop: Image.Image) -> Prediction:
        """Read a crop of one word, RGB, with the default recognizer.

        Raises:
            Refusal: 503, the queue is full.
        """
        wanted = Wanted(self._recognizers.default)
        reader, _ = self._recognizers.open(wanted)
        (reading,) = await _gather(_submit(self._crops, wanted, [await run_in_threadpool(reader.prepare, crop)]))
        return reading

    async def _read_sheets(
        self, wanted: Wanted, uploads: Sequence[Upload], fields: OcrFields
    ) -> list[tuple[Sheet, Page] | Failed]:
        """Read the pages that the fields select, in order; failures stay in their places."""
        listed = await run_in_threadpool(self._list_sheets, uploads, fields)
        sheets = [each for each in listed if isinstance(each, Sheet)]
        if len(sheets) > self._limits.pictures:
            raise Refusal(413, f"{len(sheets)} pages; {self._limits.pictures} are read at once")
        read = iter(await _gather(_submit(self._pages, wanted, sheets)))
        outcomes: list[tuple[Sheet, Page] | Failed] = []
        for each in listed:
            if isinstance(each, Failed):
                outcomes.append(each)
            elif isinstance(page := next(read), UserError):
                outcomes.append(Failed(each.upload.name, each.number, page))
            else:
                outcomes.append((each, page))
        return outcomes

    async def _open(self, fields: ReadFields, uploads: Sequence[Upload]) -> Wanted:
        """Open the recognizer that the fields select.

        Raises:
            Refusal: 400 there are no files, or the recognizer cannot be opened as requested; 413 there are too many
                files.
        """
        if not uploads:
            raise Refusal(400, "no file; send one or several in 'files', see /docs")
        if len(uploads) > self._limits.pictures:
            raise Refusal(413, f"{len(uploads)} files; {self._limits.pictures} are read at once")
        wanted = fields.wanted(self._recognizers.default, self._limits)
        try:
            if fields.language:
                wanted = await run_in_threadpool(self._recognizers.speak, wanted, fields.language)
            await to_thread.run_sync(self._recognizers.open, wanted, limiter=self._compiling)
        except UserError as error:
            raise Refusal(400, str(error)) from error
        return wanted

    def _list_sheets(self, uploads: Sequence[Upload], fields: OcrFields) -> list[Sheet | Failed]:
        listed: list[Sheet | Failed] = []
        call = self._recognizers.call
        for upload in uploads:
            try:
                listed += list_sheets(upload, fields.pages, fields.dpi, self._limits.most_pixels, call)
            except UserError as error:
                listed.append(Failed(upload.name, 0, error))
        return listed

    def _prepare(self, wanted: Wanted, uploads: Sequence[Upload]) -> list[Prepared | Failed]:
        reader, _ = self._recognizers.open(wanted)
        prepared: list[Prepared | Failed] = []
        for upload in uploads:
            try:
                prepared.append(prepare(reader, upload, self._limits.most_pixels, self._recognizers.call))
            except UserError as error:
                prepared.append(Failed(upload.name, 0, error))
        return prepared


async def _gather(futures: Sequence[Future[Outcome]]) -> list[Outcome]:
    """The results of futures that another thread sets, in order. If this task is canceled, so are the futures."""
    try:
        return [await asyncio.wrap_future(future) for future in futures]
    finally:
        cancel(futures)


def _submit(batcher: Batcher[Any, Outcome], wanted: Wanted, items: Sequence[Any]) -> list[Future[Outcome]]:
    """Queue items, all or none.

    Raises:
        Refusal: 503, the queue is full.
    """
    try:
        return batcher.submit(wanted, items)
    except Busy as busy:
        raise refuse_busy(busy.seconds) from busy


async def _await_disconnect(request: Request) -> None:
    """Return when the client has disconnected. The body must have been received before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
