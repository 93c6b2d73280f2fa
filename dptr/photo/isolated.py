"""Open the pages and frames of a file in another process (``dptr.utils.isolation``)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from dptr.photo.inputs import Failure, InputOptions, Sheet, is_pdf, list_content, open_content, parse_pages, read_source
from dptr.photo.page import Box, Character, Line, Outline, Page, Word
from dptr.utils.errors import UserError
from dptr.utils.images import check_pixels, open_header
from dptr.utils.isolation import Answer, Isolation, odd_answer, whole_numbers


def list_numbers(content: bytes, name: str, pages: str, dpi: int, most_pixels: int | None = None) -> Answer:
    """The numbers of the pages or frames to read; only the header of a picture is read.

    Raises:
        UserError: see ``dptr.photo.inputs.list_content``; or a picture has more than ``most_pixels``.
    """
    if most_pixels is not None and not is_pdf(content):
        with open_header(io.BytesIO(content), name, others=["PDF"]) as image:
            check_pixels(*image.size, most_pixels, name)
    return list_content(content, name, InputOptions(parse_pages(pages), dpi)), None


def open_number(
    content: bytes, name: str, number: int, dpi: int, text_layer: str = "ignore", draw: bool = True,
    most_pixels: int | None = None,
) -> Answer:  # fmt: skip
    """Open a page or frame, numbered from 1.

    Returns:
        Its text layer as a dictionary for ``read_page``, or None; and its picture.

    Raises:
        UserError: it is damaged or too large.
    """
    options = InputOptions(parse_pages(str(number)), dpi, text_layer, draw, most_pixels)  # type: ignore[arg-type]
    (opened,) = open_content(content, name, options)
    if isinstance(opened, Failure):
        raise opened.error
    return None if opened.page is None else asdict(opened.page), opened.picture


def list_apart(isolation: Isolation, source: str, pages: str, options: InputOptions) -> list[int]:
    """The same as ``dptr.photo.inputs.list_content``, for a file that another process opens.

    Args:
        pages: the page ranges of ``options``, as the user wrote them.

    Raises:
        UserError: see ``dptr.photo.inputs.list_content``.
    """
    numbers, _ = isolation.call(list_numbers, read_source(source), source, pages=pages, dpi=options.dpi)
    return whole_numbers(numbers, source)


def open_apart(
    isolation: Isolation, sources: Iterable[str], pages: str, options: InputOptions
) -> Iterator[Sheet | Failure]:
    """The same as ``dptr.photo.inputs.open_sheets``, but another process decodes the files."""
    for source in sources:
        try:
            content = read_source(source)
        except UserError as error:
            yield Failure(source, 0, error)
        else:
            yield from open_content_apart(isolation, content, source, pages, options)


def open_content_apart(
    isolation: Isolation, content: bytes, source: str, pages: str, options: InputOptions
) -> Iterator[Sheet | Failure]:
    """The same as ``open_apart``, for one file whose bytes are in memory."""
    settings: dict[str, Any] = {
        "dpi": options.dpi, "text_layer": options.text_layer, "draw": options.draw, "most_pixels": options.most_pixels,
    }  # fmt: skip
    try:
        value, _ = isolation.call(list_numbers, content, source, pages=pages, dpi=options.dpi)
        numbers = whole_numbers(value, source)
    except UserError as error:
        yield Failure(source, 0, error)
        return
    for number in numbers:
        try:
            value, picture = isolation.call(open_number, content, source, number=number, **settings)
            page = None if value is None else read_page(value, source)
            if picture is None and (page is None or options.draw):
                raise odd_answer(source)
        except UserError as error:
            yield Failure(source, number, error)
        else:
            yield Sheet(source, number, picture, page)


def read_page(value: Any, name: str) -> Page:
    """Restore the page that ``dataclasses.asdict`` turned into a dictionary and JSON into nested lists.

    Raises:
        UserError: ``value`` is not such a dictionary.
    """
    try:
        lines, notes = tuple(map(_read_line, value["lines"])), tuple(map(str, value["notes"]))
        return Page(name, int(value["number"]), int(value["width"]), int(value["height"]), lines, notes)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise odd_answer(name) from error


def _read_line(value: dict[str, Any]) -> Line:
    words = tuple(map(_read_word, value["words"]))
    return Line(words, _box(value["box"]), float(value["angle"]), int(value["block"]), _outline(value["outline"]))


def _read_word(value: dict[str, Any]) -> Word:
    characters = tuple(
        Character(str(each["text"]), float(each["confidence"]), _box(each["box"])) for each in value["characters"]
    )
    box, outline = _box(value["box"]), _outline(value["outline"])
    return Word(str(value["text"]), float(value["confidence"]), box, characters, outline)


def _box(points: list[list[float]]) -> Box:
    first, second, third, fourth = _outline(points)
    return first, second, third, fourth


def _outline(points: list[list[float]]) -> Outline:
    return tuple((float(x), float(y)) for x, y in points)
