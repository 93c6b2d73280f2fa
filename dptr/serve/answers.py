"""The bodies of the server's responses: pages and readings, in the formats of the command line."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from dptr.inference.prediction import Prediction
from dptr.photo.outputs import FORMATS
from dptr.photo.page import Page
from dptr.photo.run import keep_confident
from dptr.serve.limits import Refusal, status_of
from dptr.serve.options import OcrFields
from dptr.serve.recognizers import Sheet
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.isolation import Call, call_here
from dptr.version import __version__

_QUALITY = 85  # JPEG quality of the pictures in JSON


@dataclass(frozen=True)
class Failed:
    """A file or a page that could not be read.

    Attributes:
        source: the name of the file.
        number: the page or frame, from 1; 0 = the whole file.
        error: why it could not be read.
    """

    source: str
    number: int
    error: UserError

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            **({"page": self.number} if self.number else {}),
            "status": status_of(self.error),
            "error": " ".join(str(self.error).split()),
        }


def write_pages(outcomes: Sequence[tuple[Sheet, Page] | Failed], fields: OcrFields, call: Call = call_here) -> bytes:
    """The body of a response to ``/v1/ocr``.

    JSON has ``pages``, each as ``dptr ocr --format json`` writes it, and ``errors``. The other formats have no place
    for errors, so with them a single failure refuses the request.

    Args:
        outcomes: the result for each page, in order.
        fields: the fields of the request.
        call: opens the pictures of pages again, for formats and responses that include them.

    Raises:
        Refusal: all pages failed; or one failed and the format is not JSON; or there are several pages and the format
            can hold only one.
    """
    failures = [each for each in outcomes if isinstance(each, Failed)]
    _check_failures(failures, len(outcomes), partial=fields.format == "json")
    read = [(sheet, keep_confident(page, fields.min_confidence)) for sheet, page in _successes(outcomes)]
    if fields.format == "json":
        pages = [
            {
                "dptr": __version__,
                **page.to_dict(),
                "left_out": left_out,
                **({"picture": _to_url(sheet.open(call))} if fields.pictures else {}),
            }
            for sheet, (page, left_out) in read
        ]
        return dump_json({"pages": pages, "errors": [each.to_dict() for each in failures]}).encode()
    style = FORMATS[fields.format]
    if style.single and len(read) > 1:
        raise Refusal(400, f"{len(read)} pages: the format '{fields.format}' holds one; send them one by one")
    file = io.BytesIO()
    style.write(((page, sheet.open(call) if style.draws else None) for sheet, (page, _) in read), file)
    return file.getvalue()


def write_readings(outcomes: Sequence[tuple[str, Prediction] | Failed], least: float) -> bytes:
    """The body of a response to ``/v1/read``.

    JSON has ``readings``, each as ``dptr read --format json`` writes it, and ``errors``.

    Args:
        outcomes: for each crop in order, its name and its reading, or the failure.
        least: the minimum confidence, 0 to 1. A less confident reading has an empty ``text`` and its text as
            ``rejected``.

    Raises:
        Refusal: all crops failed.
    """
    failures = [each for each in outcomes if isinstance(each, Failed)]
    _check_failures(failures, len(outcomes), partial=True)
    rows = [
        {"path": name, **reading.to_dict()}
        if reading.confidence >= least
        else {"path": name, **reading.to_dict(), "text": "", "rejected": reading.text}
        for name, reading in (each for each in outcomes if not isinstance(each, Failed))
    ]
    errors = [each.to_dict() for each in failures]
    return dump_json({"dptr": __version__, "readings": rows, "errors": errors}).encode()


def _check_failures(failures: Sequence[Failed], count: int, partial: bool) -> None:
    """Raise the first failure, if all ``count`` items failed or the response cannot be ``partial``."""
    if failures and (len(failures) == count or not partial):
        raise Refusal(status_of(failures[0].error), str(failures[0].error))


def _successes(outcomes: Sequence[tuple[Sheet, Page] | Failed]) -> Iterator[tuple[Sheet, Page]]:
    return (each for each in outcomes if not isinstance(each, Failed))


def _to_url(picture: Image.Image) -> str:
    """A picture as a data URL with JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
