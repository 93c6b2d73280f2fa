"""What a server answers with: pages and readings as the command line writes them."""

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

_QUALITY = 85  # of JPEG


@dataclass(frozen=True)
class Failed:
    """What could not be read: a file, or with a number above 0 a page of it."""

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
    """The answer of ``/v1/ocr``.

    JSON holds ``pages``, each as ``dptr ocr --format json`` writes it, and ``errors``. Other formats hold pages alone:
    with them nothing may fail.

    Args:
        call: opens the pictures of pages once more, for formats and answers that hold them.

    Raises:
        Refusal: all failed; one failed, and the format is not JSON; several pages, and the format holds one.
    """
    failed = [each for each in outcomes if isinstance(each, Failed)]
    _check_failed(failed, len(outcomes), alone=fields.format == "json")
    read = [(sheet, keep_confident(page, fields.min_confidence)) for sheet, page in _read(outcomes)]
    if fields.format == "json":
        pages = [
            {
                "dptr": __version__,
                **page.to_dict(),
                "left_out": low,
                **({"picture": _to_url(sheet.open(call))} if fields.pictures else {}),
            }
            for sheet, (page, low) in read
        ]
        return dump_json({"pages": pages, "errors": [each.to_dict() for each in failed]}).encode()
    style = FORMATS[fields.format]
    if style.single and len(read) > 1:
        raise Refusal(400, f"{len(read)} pages: the format '{fields.format}' holds one; send them one by one")
    file = io.BytesIO()
    style.write(((page, sheet.open(call) if style.draws else None) for sheet, (page, _) in read), file)
    return file.getvalue()


def write_readings(outcomes: Sequence[tuple[str, Prediction] | Failed], least: float) -> bytes:
    """The answer of ``/v1/read``: ``readings``, each as ``dptr read --format json`` writes it, and ``errors``.

    Raises:
        Refusal: all failed.
    """
    failed = [each for each in outcomes if isinstance(each, Failed)]
    _check_failed(failed, len(outcomes), alone=True)
    rows = [
        {"path": name, **reading.to_dict()}
        if reading.confidence >= least
        else {"path": name, **reading.to_dict(), "text": "", "rejected": reading.text}
        for name, reading in (each for each in outcomes if not isinstance(each, Failed))
    ]
    errors = [each.to_dict() for each in failed]
    return dump_json({"dptr": __version__, "readings": rows, "errors": errors}).encode()


def _check_failed(failed: Sequence[Failed], count: int, alone: bool) -> None:
    """Raises the first failure, unless it is among others that did not fail and may stand beside them (``alone``)."""
    if failed and (len(failed) == count or not alone):
        raise Refusal(status_of(failed[0].error), str(failed[0].error))


def _read(outcomes: Sequence[tuple[Sheet, Page] | Failed]) -> Iterator[tuple[Sheet, Page]]:
    return (each for each in outcomes if not isinstance(each, Failed))


def _to_url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
