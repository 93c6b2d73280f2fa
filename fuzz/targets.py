"""What is done with a case, by its kind: what DPTR does with such an input.

Each function opens what it needs once, in a folder for the files of cases, and returns a function of a case. That
returns, or raises ``UserError``; anything else is a finding.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dptr.utils.errors import UserError
from fuzz.seeds import CROPS, PARTS, draw, encode, small_checkpoint

Run = Callable[[bytes], None]
HOME = b"127.0.0.1:8000"
LOUD = "uvicorn.error"  # the log that the server writes errors of its own to


def open_picture(folder: Path) -> Run:
    """``dptr read``, all but the model; all frames, as ``dptr ocr``."""
    from dptr.inference.views import CHANGES, make_views
    from dptr.photo.inputs import Failure, open_content
    from dptr.utils.images import open_image
    from dptr.utils.sizes import CropSizes

    size = CropSizes(32, 128, 0, ())

    def run(data: bytes) -> None:
        make_views(open_image(data, "case"), len(CHANGES), True, size)
        for index, sheet in enumerate(open_content(data, "case")):
            if isinstance(sheet, Failure):
                raise sheet.error
            if index > 8:
                break

    return run


def open_labels(folder: Path) -> Run:
    """``dptr data check`` of a folder with labels.tsv."""
    from dptr.data.check.checks import check
    from dptr.data.check.page import render_data_sets
    from dptr.text.charset import CHARSETS, Charset

    encoded = encode(draw(), "PNG"), encode(draw("P"), "GIF")
    for name, content in zip(CROPS, encoded, strict=True):
        (folder / name).write_bytes(content)
    charset = Charset("94", tuple(CHARSETS["94"]))

    def run(data: bytes) -> None:
        (folder / "labels.tsv").write_bytes(data)
        render_data_sets(check([folder], charset), [folder], [])

    return run


def open_lmdb(folder: Path) -> Run:
    """``dptr data check`` of an LMDB whose keys and values are anything."""
    import lmdb

    from dptr.data.check.checks import check

    def run(data: bytes) -> None:
        shutil.rmtree(folder / "set", ignore_errors=True)
        pieces = data.split(PARTS)
        made = lmdb.open(str(folder / "set"), map_size=1 << 22, sync=False, lock=False)
        with made as environment, environment.begin(write=True) as transaction:
            for key, value in zip(pieces[::2], pieces[1::2], strict=False):
                if 0 < len(key) < 500:
                    transaction.put(key, value[: 1 << 20])
        check([folder / "set"])

    return run


def open_pages(folder: Path) -> Run:
    """``dptr data check`` of an LMDB whose file is anything."""
    from dptr.data.check.checks import check

    (folder / "set").mkdir(exist_ok=True)

    def run(data: bytes) -> None:
        (folder / "set" / "data.mdb").write_bytes(data)
        check([folder / "set"])

    return run


def load_recipe(folder: Path) -> Run:
    """``--config`` of the training commands."""
    from dptr.config.load import load_recipe
    from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe

    def run(data: bytes) -> None:
        (folder / "recipe.toml").write_bytes(data)
        errors = []
        for schema in (FinetuneRecipe, PretrainRecipe, AlignRecipe, SynthRecipe, AdaptRecipe):
            try:
                load_recipe(schema, folder / "recipe.toml")
            except UserError as error:
                errors.append(error)
        if len(errors) == 5:
            raise errors[0]

    return run


def load_charset(folder: Path) -> Run:
    """``--charset`` and ``--lexicon``."""
    from dptr.text.charset import CHARSETS, Charset, check_label, normalize_label, resolve_charset
    from dptr.text.lexicon import compile_words, load_words, spell_words

    letters = Charset("94", tuple(CHARSETS["94"]))

    def run(data: bytes) -> None:
        path = folder / "charset.txt"
        path.write_bytes(data)
        try:
            charset = resolve_charset(str(path))
            check_label(normalize_label(data.decode("utf-8", "replace")), charset, 25)
        finally:
            compile_words(spell_words(load_words(path), letters, 25, "case"), letters)

    return run


def compile_pattern(folder: Path) -> Run:
    """``--pattern``, and that of a request."""
    from dptr.inference.constraint import make_constraint
    from dptr.text.charset import CHARSETS, Charset

    charset = Charset("94", tuple(CHARSETS["94"]))

    def run(data: bytes) -> None:
        try:
            pattern = data.decode("utf-8")[:500]  # as ``dptr.serve.limits`` has it
        except UnicodeDecodeError:
            return
        if pattern:
            make_constraint(charset, 25, pattern, None, None)

    return run


def load_checkpoint(folder: Path) -> Run:
    """A folder of ``dptr finetune``."""
    from dptr.models.checkpoint import load_recognizer

    numbers = small_checkpoint()[-1]

    def run(data: bytes) -> None:
        config, card, header = (*data.split(PARTS, 2), b"", b"")[:3]
        (folder / "config.json").write_bytes(config)
        (folder / "card.json").write_bytes(card)
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + numbers)
        load_recognizer(folder)

    return run


def load_metadata(folder: Path) -> Run:
    """A file of ``dptr export``, whose metadata are anything."""
    import numpy as np

    from dptr.inference.onnx_backend import METADATA, seal
    from dptr.inference.reader import Reader

    graph = _constant_graph()
    crop = np.zeros((32, 128, 3), np.uint8)

    def run(data: bytes) -> None:
        (folder / "model.onnx").write_bytes(seal(graph + _entry(METADATA.encode(), data)))
        Reader(folder / "model.onnx").read(crop)

    return run


def _entry(key: bytes, value: bytes) -> bytes:
    """An entry of a model's metadata, as protocol buffers hold it."""
    inside = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value
    return b"\x72" + _varint(len(inside)) + inside


def _varint(number: int) -> bytes:
    low = bytes([number & 127])
    return low if number < 128 else bytes([low[0] | 128]) + _varint(number >> 7)


def _constant_graph() -> bytes:
    """A network that answers any crop with the same word."""
    import numpy as np
    import onnx

    values = np.full((1, 4, 11), 1 / 11, np.float32)
    node = onnx.helper.make_node("Identity", ["constant"], ["probabilities"])
    pixels = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 3, 32, "w"])
    output = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, None)
    constant = onnx.numpy_helper.from_array(values, "constant")
    graph = onnx.helper.make_graph([node], "g", [pixels], [output], [constant])
    made: bytes = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
    ).SerializeToString()
    return made


def open_pdf(folder: Path) -> Run:
    """``dptr ocr`` of a PDF, all but the model."""
    from dptr.photo.inputs import Failure, InputOptions, open_content

    options = InputOptions(dpi=72, text_layer="use", most_pixels=50_000_000)

    def run(data: bytes) -> None:
        if b"%PDF-" not in data[:1024]:
            data = b"%PDF-1.4\n" + data
        for index, sheet in enumerate(open_content(data, "case", options)):
            if isinstance(sheet, Failure):
                raise sheet.error
            if index > 8:
                break

    return run


def ask(folder: Path) -> Run:
    """A request to ``dptr serve``, as an ASGI server passes it on."""
    import numpy as np

    from dptr.inference.reader import Reader
    from dptr.photo.detect import Detection
    from dptr.serve.app import create_app
    from dptr.serve.limits import Limits
    from dptr.serve.recognizers import Recognizers

    def find_all(image: Any) -> Detection:
        width, height = image.size
        return Detection(np.array([[[0, 0], [width, 0], [width, height], [0, height]]], float), np.array([0.9]))

    app = create_app(Recognizers({"tiny": Reader("dptr-en-tiny")}, find_all), Limits(pixels=4, pictures=8))
    loop = asyncio.new_event_loop()
    failures = _Failures()
    logging.getLogger(LOUD).addHandler(failures)
    logging.getLogger(LOUD).propagate = False

    def run(data: bytes) -> None:
        failures.seen.clear()
        status = loop.run_until_complete(_ask(app, data))
        for error in failures.seen:
            raise error
        assert 200 <= status < 600 and status != 500, status

    return run


class _Failures(logging.Handler):
    """Keeps the exceptions that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.seen.append(record.exc_info[1])


async def _ask(app: Any, data: bytes) -> int:
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, path = first.partition(b" ")
    pairs = (line.partition(b":") for line in lines)
    headers = [(key.strip().lower(), value.strip()) for key, _, value in pairs if key.strip()]
    if not any(key == b"host" for key, _ in headers):
        headers.append((b"host", HOME))
    target, _, query = path.partition(b"?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
        "method": method.decode("latin-1").upper() or "GET", "path": target.decode("utf-8", "replace") or "/",
        "raw_path": target, "query_string": query, "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    waiting = [body[index : index + 65536] for index in range(0, len(body), 65536)] or [b""]
    sent = asyncio.Event()
    status = 0

    async def receive() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}
        await sent.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif not message.get("more_body"):
            sent.set()

    await app(scope, receive, send)
    return status


TARGETS: dict[str, Callable[[Path], Run]] = {
    "picture": open_picture,
    "labels": open_labels,
    "lmdb": open_lmdb,
    "pages": open_pages,
    "recipe": load_recipe,
    "charset": load_charset,
    "pattern": compile_pattern,
    "checkpoint": load_checkpoint,
    "metadata": load_metadata,
    "pdf": open_pdf,
    "request": ask,
}
