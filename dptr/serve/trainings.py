"""The routes for trainings: train a recognizer on a label set, then use it on the server or download it."""

from __future__ import annotations

import re
import threading
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from dptr.inference.reader import Reader
from dptr.label.curves import read_curves
from dptr.label.item import LONGEST
from dptr.label.reread import read_again
from dptr.label.run import Run
from dptr.label.store import Store
from dptr.label.trainings import WORDS, Trainings
from dptr.serve.bodies import Body
from dptr.serve.labeling import Answer
from dptr.serve.limits import Refusal
from dptr.serve.options import parse_fields
from dptr.serve.recognizers import Recognizers
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.extras import describe_install, find_missing
from dptr.utils.files import read_json
from dptr.utils.terminal import say_error

USED = "model"
"""The key of the store's note with the number of the run whose recognizer is in use."""

_CROP = re.compile(r"[0-9]{9}\.(?:png|jpg)")


class Start(BaseModel):
    """A request to start a training."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["finetune", "adapt"] = "finetune"
    minutes: float = Field(10.0, gt=0)
    may_forget: bool = Field(False, description="Keep also what reads less of other words.")
    words: list[str] = Field([], max_length=WORDS + 1, description="To learn, with 'adapt'.")


class Step(BaseModel):
    """A request to stop a run, to resume it, or to use its recognizer."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["stop", "resume", "use"]


class Trained:
    """The trainings of a label set, and the operations that the server offers on them.

    Args:
        store: the label set.
        recognizers: the served models; ``use`` makes a trained one the default.
    """

    def __init__(self, store: Store, recognizers: Recognizers) -> None:
        self.store, self.recognizers = store, recognizers
        self.trainings = Trainings(store)
        self._stop = threading.Event()
        self._rereading: threading.Thread | None = None

    def close(self) -> None:
        """Stop the training in progress, which saves its state, and the rereading of open words; wait for both."""
        self._stop.set()
        self.trainings.close()
        if self._rereading is not None:
            self._rereading.join()

    def summarize(self) -> dict[str, Any]:
        """All runs, newest first, and the recognizer in use, as a JSON object."""
        missing = find_missing("train", "export")
        runs = self.trainings.runs()
        model = self.recognizers.default
        file = Path(self.recognizers.models[model].name)
        return {
            "runs": [_brief(run) for run in runs],
            "busy": self.trainings.busy,
            "model": model,
            "used": next((run.number for run in runs if run.exported == file), None),
            "missing": f"training needs {missing[0]}; {describe_install('train', 'export')}" if missing else "",
        }

    def show(self, number: int) -> dict[str, Any]:
        """A run with its curves and its comparison (None until the run is done), as a JSON object.

        Raises:
            UserError: there is no such run.
        """
        run = self.trainings.get(number)
        compared = read_json(run.compared, "comparison") if run.phase == "done" and run.compared.exists() else None
        forgot = (run.train / "model-unlimited").is_dir()
        return {**_brief(run), "curves": read_curves(run).to_dict(), "compared": compared, "forgot": forgot}

    def use(self, run: Run) -> None:
        """Make the recognizer of a run the default, also after a restart, and read the open words again with it.

        It reads on the device, and with the charset, pattern, and lexicon, of the one before.

        Raises:
            UserError: the run is not done, or its recognizer cannot use these; see ``dptr.inference.reader.Reader``.
        """
        if run.phase != "done":
            raise UserError(f"run {run.number}: it is {run.phase}; its recognizer can be used once it is done")
        current = self.recognizers.models[self.recognizers.default]
        reader = Reader.of(run.exported, current.options)
        self.recognizers.use(served_name(self.store, run.number), reader)
        self.store.write_note(USED, run.number)
        previous = self._rereading
        self._rereading = threading.Thread(
            target=self._read_again, args=(reader, previous), name="dptr-again", daemon=True
        )
        self._rereading.start()

    def _read_again(self, reader: Reader, previous: threading.Thread | None) -> None:
        """Read the open words again, after the thread that does so with the previous recognizer has ended."""
        if previous is not None:
            previous.join()
        try:
            read_again(self.store, reader, self._stop.is_set)
        except UserError as error:
            say_error(error)

    async def start(self, body: Body) -> Response:
        """Start a training from the default recognizer.

        Raises:
            Refusal: 400, a field is invalid.
            UserError: see ``dptr.label.trainings.Trainings.start``.
        """
        words = body.fields.get("words")
        if isinstance(words, str):
            body.fields["words"] = words.splitlines()
        fields = parse_fields(Start, body.fields)
        if any(len(word) > LONGEST for word in fields.words):
            raise Refusal(400, f"a word of more than {LONGEST} characters; write one a line")
        reader = self.recognizers.models[self.recognizers.default]
        run = await run_in_threadpool(
            self.trainings.start, fields.kind, reader, fields.minutes, fields.words, fields.may_forget
        )
        return _json(_brief(run))

    async def step(self, number: int, body: Body) -> Response:
        """Stop a run, resume it, or use its recognizer.

        Raises:
            Refusal: 400, a field is invalid.
            UserError: there is no such run, or its phase does not allow the action.
        """
        action = parse_fields(Step, body.fields).action
        run = await run_in_threadpool(self.trainings.get, number)
        if action == "stop":
            if self.trainings.busy == number:
                self.trainings.stop()
        elif action == "resume":
            await run_in_threadpool(self.trainings.resume, number)
        else:
            await run_in_threadpool(self.use, run)
        return _json(await run_in_threadpool(self.summarize))


def served_name(store: Store, number: int) -> str:
    """The name under which the server serves the recognizer of a run."""
    return f"{store.folder.name}-{number}"


def find_used(store: Store) -> tuple[str, Path] | None:
    """The served name and the file of the recognizer that ``Trained.use`` chose last; None if there is none."""
    number = store.note(USED)
    run = next((run for run in Trainings(store).runs() if run.number == number), None)
    return None if run is None or not run.exported.is_file() else (served_name(store, run.number), run.exported)


def make_training_router(trained: Trained, answer: Answer) -> APIRouter:
    """The routes for trainings; ``answer`` is as for ``dptr.serve.labeling.make_router``."""
    router = APIRouter(prefix="/v1/label/trainings")

    @router.get("", summary="All trainings, the last one first")
    def list_trainings() -> Response:
        return _json(trained.summarize())

    @router.post("", summary="Begin a training")
    async def start_training(request: Request) -> Response:
        return await answer(request, trained.start)

    @router.get("/{number}", summary="A training: its curves, and what it changed")
    def get_training(number: int) -> Response:
        return _json(trained.show(number))

    @router.post("/{number}", summary="Stop or resume a training, or use its recognizer")
    async def change_training(number: int, request: Request) -> Response:
        return await answer(request, partial(trained.step, number))

    @router.get("/{number}/model.onnx", summary="The recognizer of a training, as one file")
    def get_model(number: int) -> Response:
        run = trained.trainings.get(number)
        if run.phase != "done":
            raise UserError(f"run {number}: it is {run.phase}; its recognizer can be taken once it is done")
        name = f"{served_name(trained.store, number)}.onnx"
        return FileResponse(run.exported, media_type="application/octet-stream", filename=name)

    @router.get("/{number}/crops/{name}", summary="A crop of those that a training was compared on")
    def get_crop(number: int, name: str) -> Response:
        path = trained.trainings.get(number).crops / "images" / name
        if not _CROP.fullmatch(name) or not path.is_file():
            raise UserError(f"crop '{name[:40]}': not in run {number}; load the page again")
        return FileResponse(path)

    return router


def _brief(run: Run) -> dict[str, Any]:
    return {
        "number": run.number,
        "kind": run.kind,
        "base": run.base_name,
        "minutes": run.minutes,
        "phase": run.phase,
        "error": run.error,
    }


def _json(value: Any) -> Response:
    return Response(dump_json(value), media_type="application/json")
