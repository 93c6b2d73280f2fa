"""A server in this process, with a small model and a detector that needs no network."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from dptr.inference.reader import Reader
from dptr.photo.detect import Detection
from dptr.serve.app import create_app
from dptr.serve.labeling import Labeling
from dptr.serve.limits import Limits
from dptr.serve.recognizers import Recognizers
from dptr.text.charset import Charset

CROPS = Path(__file__).resolve().parent / "golden" / "crops"
HOME = "http://127.0.0.1:8000"


@cache
def tiny() -> Reader:
    return Reader("dptr-en-tiny")


def find_all(image: Image.Image) -> Detection:
    """Takes the whole picture for one line of text."""
    width, height = image.size
    box = [[[0, 0], [width, 0], [width, height], [0, height]]]
    return Detection(np.array(box, float), np.array([0.9]))


def make_app(
    detector: Callable[[Image.Image], Detection] = find_all,
    tokens: tuple[str, ...] = (),
    labeling: Labeling | None = None,
    reader: Reader | None = None,
    charsets: Mapping[str, Charset] = MappingProxyType({}),
    **limits: Any,
) -> FastAPI:
    models = {"tiny": tiny()} if reader is None else {reader.name: reader}
    return create_app(Recognizers(models, detector, charsets=charsets), Limits(**limits), tokens, labeling)


def make_client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=HOME, raise_server_exceptions=False)


def encode(image: Image.Image, style: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, style, **options)
    return file.getvalue()
