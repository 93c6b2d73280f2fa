"""Which file each page goes to, decided and checked before the work begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dptr.photo.inputs import is_url
from dptr.photo.outputs import FORMATS, Shown, is_folder, write_pages
from dptr.photo.overlay import draw_overlay
from dptr.utils.errors import UserError
from dptr.utils.extras import require_extras
from dptr.utils.files import atomic_file
from dptr.utils.outputs import check_file

Numbers = Mapping[str, "list[int] | None"]
"""For each source the numbers of its pages; None where they are not known."""


@dataclass(frozen=True)
class Plan:
    """Where pages are written to.

    Attributes:
        style: the name of a format.
        out: a file, a folder, or ``-``.
        overlay: a PNG file, a folder of them, or None for none.
        numbers: the pages of each source.
    """

    style: str
    out: str
    overlay: str | None
    numbers: Numbers

    def find_written(self) -> set[str]:
        """The sources whose files are all in the folder. A file comes whole, after the pictures drawn of its pages.

        A source of unknown pages that go to a file each is none of them.

        Raises:
            UserError: pages do not go to a folder.
        """
        if self.out == "-" or not is_folder(self.out):
            raise UserError(f"--resume with -o {self.out}: only a folder, -o DIR/, holds inputs that are finished")
        single = FORMATS[self.style].single
        return {
            source
            for source, known in self.numbers.items()
            if (known or not single) and all(os.path.isfile(self._path(source, number)) for number in known or [1])
        }

    def check(self, written: Collection[str] = ()) -> None:
        """Check that all can be written.

        Args:
            written: sources whose files stay as they are.

        Raises:
            UserError: a package is missing; more pages than a file holds would go to it, two inputs or a page and a
                picture to the same file, or to one that cannot be written or that DPTR did not write.
        """
        if self.style == "pdf":
            require_extras("a searchable PDF", "pdf")
        pages = sum(1 if known is None else len(known) for known in self.numbers.values())
        single = FORMATS[self.style].single
        if self.out != "-" and is_folder(self.out):
            self._check_folder(self.out, self._path)
        elif single and pages > 1:
            raise UserError(f"--format {self.style}: one page a file, not {pages}; write to a folder, -o DIR/")
        elif self.style == "pdf" and self.out == "-" and sys.stdout.isatty():
            raise UserError("a PDF on a terminal; write it to a file, -o FILE.pdf")
        if self.overlay is not None and is_folder(self.overlay):
            self._check_folder(self.overlay, self._overlay_path)
        elif self.overlay is not None:
            if not self.overlay.lower().endswith(".png"):
                raise UserError(f"--overlay {self.overlay}: pass a file that ends in .png, or a folder, DIR/")
            if pages > 1:
                raise self._too_many_pictures(pages)
        texts = {str(self._path(*page)) for page in self._pages()} - {"-"}
        pictures = {str(path) for page in self._pages() if (path := self._overlay_path(*page)) is not None}
        if both := {*map(os.path.realpath, texts)} & {*map(os.path.realpath, pictures)}:
            raise UserError(f"{min(both)}: named for -o and for --overlay; pass two names")
        inputs = [source for source in self.numbers if source != "-"]
        left = [page for page in self._pages() if page[0] not in written]
        named = {
            str(path) for page in left for path in (self._path(*page), self._overlay_path(*page)) if path is not None
        }
        for name in named - {"-"}:
            check_file(name, inputs)

    def write(self, pages: Iterable[Shown]) -> None:
        """Write pages as they come, those of a file one after another.

        Raises:
            UserError: a file cannot be written; two pages have the same file, or one picture, which is not known before
                of standard input and of addresses.
        """
        written: set[str] = set()
        for path, group in groupby(self._draw(pages), key=lambda each: self._path(each[0].source, each[0].number)):
            if str(path) in written:
                raise UserError(f"{path}: holds pages of another input; read one of them in another call")
            written.add(str(path))
            write_pages(group, self.style, path)

    def _draw(self, pages: Iterable[Shown]) -> Iterator[Shown]:
        drawn: set[Path] = set()
        for page, picture in pages:
            path = self._overlay_path(page.source, page.number)
            if path is not None and picture is not None:
                if path in drawn:
                    raise self._too_many_pictures(len(drawn) + 1)
                drawn.add(path)
                with atomic_file(path) as aside:
                    draw_overlay(page.words, picture).save(aside, "PNG")
            yield page, picture

    def _too_many_pictures(self, pages: int) -> UserError:
        return UserError(f"--overlay {self.overlay}: there are {pages} pages; write to a folder, --overlay DIR/")

    def _path(self, source: str, number: int) -> str | Path:
        """The file, or ``-``, that a page goes to."""
        if self.out == "-" or not is_folder(self.out):
            return self.out
        kind = FORMATS[self.style]
        return Path(self.out, self._stem(source, number if kind.single else None) + kind.suffixes[0])

    def _overlay_path(self, source: str, number: int) -> Path | None:
        if self.overlay is None or not is_folder(self.overlay):
            return None if self.overlay is None else Path(self.overlay)
        return Path(self.overlay, self._stem(source, number) + ".png")

    def _stem(self, source: str, number: int | None) -> str:
        """The name of a file without its suffix: that of the source and, where it has several pages, the number."""
        path = source.partition("?")[0] if is_url(source) else source
        stem = "stdin" if source == "-" else os.path.splitext(os.path.basename(path))[0] or "page"
        known = self.numbers[source] or []
        several = len(known) > 1 or (not known and number != 1)
        return f"{stem}-{number:0{len(str(max(known, default=0)))}}" if number is not None and several else stem

    def _check_folder(self, folder: str, place: Callable[[str, int], str | Path | None]) -> None:
        taken: dict[str, str] = {}
        for source, number in self._pages():
            path = str(place(source, number))
            if taken.setdefault(path, source) != source:
                name = os.path.basename(path)
                raise UserError(f"{taken[path]} and {source}: both would be {name} in {folder}; read them in two calls")

    def _pages(self) -> Iterator[tuple[str, int]]:
        for source, known in self.numbers.items():
            for number in known or [1]:
                yield source, number
