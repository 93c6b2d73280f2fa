"""The fields of requests to ``/v1/ocr`` and ``/v1/read``, apart from the files."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dptr.photo.inputs import DPI, DPI_RANGE, parse_pages
from dptr.photo.page import LEAST_CONFIDENCE
from dptr.serve.limits import Limits, Refusal
from dptr.serve.recognizers import Wanted
from dptr.utils.errors import UserError

STYLES = ("json", "text", "tsv", "csv", "hocr", "alto", "page", "pdf")
Style = Literal["json", "text", "tsv", "csv", "hocr", "alto", "page", "pdf"]

MEDIA_TYPES: dict[str, str] = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "hocr": "text/html; charset=utf-8",
    "alto": "application/xml",
    "page": "application/xml",
    "pdf": "application/pdf",
}

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "What was read; 'errors' lists what could not be."},
    400: {"description": "A field or the body is broken."},
    401: {"description": "No valid token."},
    403: {"description": "Sent by the page of another site."},
    408: {"description": "The body came too slowly."},
    413: {"description": "Too many bytes, pixels, or pictures."},
    415: {"description": "Neither a picture nor a PDF; or a body that is neither a form nor JSON."},
    421: {"description": "Sent to the name of another host."},
    422: {"description": "A damaged or empty file; or it lacks a page that was asked for."},
    503: {"description": "The queue is full; Retry-After says when to try again."},
    504: {"description": "Not read in time."},
}
"""The possible responses to a request, in the form of OpenAPI."""

OCR_ANSWERS = {
    **ANSWERS,
    200: {**ANSWERS[200], "content": {media.partition(";")[0]: {} for media in MEDIA_TYPES.values()}},
}
"""``ANSWERS`` of ``/v1/ocr``, which has several formats."""


class ReadFields(BaseModel):
    """The fields of ``/v1/read``."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field("", description="A name of /v1/models; empty = the first of them.")
    language: str = Field(
        "",
        description="A code of /v1/models, such as de: its recognizer reads, instead of 'model'; auto: that of the "
        "script that a crop, or a line, shows.",
    )
    charset: str = Field(
        "", description="Read only these characters: a name of /v1/models, such as 10 (digits), or a language."
    )
    pattern: str = Field("", description="Read only words that match: date, price, iban, plate-de, or an expression.")
    lexicon: list[str] = Field([], description="Read only these words.")
    min_confidence: float = Field(0.0, ge=0, le=1, description="Leave the text of less sure readings empty.")

    def wanted(self, default: str, limits: Limits) -> Wanted:
        """The recognizer that the fields select.

        Args:
            default: the name of the model to use if none is given.
            limits: ``pattern`` and ``words`` apply.

        Raises:
            Refusal: 400, the pattern or the lexicon is too large, the lexicon has only blank lines, or both a model and
                a language are given.
        """
        if self.model and self.language:
            raise Refusal(400, "model and language: the one names a recognizer, the other finds it; send one of them")
        if len(self.pattern) > limits.pattern:
            raise Refusal(400, f"a pattern of {len(self.pattern)} characters; {limits.pattern} are taken at most")
        words = tuple(word for word in self.lexicon if word.strip())
        if self.lexicon and not words:
            raise Refusal(400, "lexicon: no words; send at least one, or leave it out to read any")
        if len(words) > limits.words:
            raise Refusal(400, f"a lexicon of {len(words)} words; {limits.words} are taken at most")
        return Wanted(self.model or default, self.charset, self.pattern, words or None)


class OcrFields(ReadFields):
    """The fields of ``/v1/ocr``."""

    min_confidence: float = Field(LEAST_CONFIDENCE, ge=0, le=1, description="Leave less sure words out.")
    pages: str = Field("", max_length=200, description="Read these pages or frames, such as 1-3,7; empty = all.")
    dpi: int = Field(DPI, ge=DPI_RANGE[0], le=DPI_RANGE[1], description="Pixels an inch of PDF pages.")
    format: Style = Field("json", description="What to answer with; as 'dptr ocr --format'.")
    pictures: bool = Field(False, description="With json: each page's picture too, as it was read, as a data URL.")

    def wanted(self, default: str, limits: Limits) -> Wanted:
        """The recognizer that the fields select; see ``ReadFields.wanted``.

        Raises:
            Refusal: as in ``ReadFields.wanted``; and 400 if ``pages`` is malformed, or ``pictures`` are asked for in a
                format without them.
        """
        if self.pictures and self.format != "json":
            raise Refusal(400, f"pictures: the format '{self.format}' has no place for them; ask for json")
        try:
            parse_pages(self.pages)
        except UserError as error:
            raise Refusal(400, str(error)) from error
        return super().wanted(default, limits)


Fields = TypeVar("Fields", bound=BaseModel)


def parse_fields(kind: type[Fields], fields: dict[str, Any]) -> Fields:
    """Validate the fields of a request.

    Args:
        kind: the model of the fields.
        fields: the values by name.

    Raises:
        Refusal: 400, a field is unknown or has an invalid value.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:50]
        known = f"; there are {', '.join(kind.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise Refusal(400, f"field '{where}': {first['msg'].lower()}{known}") from error


def describe_body(kind: type[ReadFields]) -> dict[str, Any]:
    """The body of a request in the form of OpenAPI: a form, or JSON."""
    schema = kind.model_json_schema()
    properties = schema["properties"]
    binary = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "The pictures."}
    encoded = {
        "type": "array",
        "description": "The pictures in base64, each alone or with a name.",
        "items": {
            "anyOf": [
                {"type": "string", "format": "byte"},
                {"type": "object", "properties": {"name": {"type": "string"}, "data": {"type": "string"}}},
            ]
        },
    }
    lines = {**properties, "lexicon": {"type": "string", "description": "Read only these words, one a line."}}
    bodies = {"multipart/form-data": {"files": binary, **lines}, "application/json": {"files": encoded, **properties}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                media: {"schema": {"type": "object", "required": ["files"], "properties": content}}
                for media, content in bodies.items()
            },
        }
    }
