"""The output file of each page, planned and checked before reading begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

from dptr.photo.inputs import is_url
from dptr.photo.outputs import FORMATS, Shown, is_folder, write_pages
from dptr.photo.overlay import draw_overlay
from dptr.photo.record import Settings, add_record, check_record, digest_input, read_record
from dptr.utils.errors import UserError
from dptr.utils.extras import require_extras
from dptr.utils.files import atomic_file
from dptr.utils.outputs import check_file
from dptr.version import __version__

Numbers = Mapping[str, "list[int] | None"]
"""The page numbers of each source; None if they are not known yet."""


class _File(NamedTuple):
    """An output file, or ``-``, the input that its first page is from, and the pages that it gets."""

    path: str | Path
    source: str
    pages: Iterable[Shown]


@dataclass(frozen=True)
class Finished:
    """What ``--resume`` finds in a folder.

    Attributes:
        sources: whose output files are all there.
        changed: sources of which these files are there too, and which have another content now.
        replaceable: paths of the files of ``changed``, as far as they are as DPTR wrote them.
        others: of the files of ``sources``, how many another version of DPTR wrote.
    """

    sources: frozenset[str] = frozenset()
    changed: tuple[str, ...] = ()
    replaceable: frozenset[str] = frozenset()
    others: int = 0


def _order(style: str) -> tuple[bool, bool, bool]:
    """The sort key of formats. The first one gets the pictures, and has all pages in one file if one of them does.

    A plain file does not say that DPTR wrote it, so that ``Plan.check`` refuses to replace it. It is written last, and
    is then never the only file that an interruption leaves.
    """
    kind = FORMATS[style]
    return not kind.draws, kind.single, kind.plain


def _keep(pages: Iterable[Shown], kept: list[Shown]) -> Iterator[Shown]:
    """Yield pages, and append each to ``kept`` without its picture."""
    for page, picture in pages:
        kept.append((page, None))
        yield page, picture


@dataclass(frozen=True)
class Plan:
    """The output files of all pages.

    Attributes:
        styles: names of formats; several need a folder.
        out: a file, a folder, or ``-`` for standard output.
        overlay: a PNG file or a folder of PNG files for the pictures with boxes; None = no pictures.
        numbers: the page numbers of each source.
        settings: what decides the content of the files; a folder keeps it (``dptr.photo.record``).
        digests: of the inputs that were opened (``watch``).
    """

    styles: tuple[str, ...]
    out: str
    overlay: str | None
    numbers: Numbers
    settings: Settings = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def watch(self, sources: Iterable[str]) -> Iterator[str]:
        """Yield sources, and note the digest of each before it is read. Outside a folder nothing is noted."""
        for source in sources:
            if self.out != "-" and is_folder(self.out):
                self.digests[source] = digest_input(source)
            yield source

    def find_finished(self) -> Finished:
        """The sources whose output files are all in the folder already, and whose content is the same as then.

        A file is written as a whole, after the overlay pictures of its pages. A source with unknown pages is never
        included if each page has its own file.

        Raises:
            UserError: the output is not a folder, or one of these files was written with other settings.
        """
        if self.out == "-" or not is_folder(self.out):
            raise UserError(f"--resume with -o {self.out}: only a folder, -o DIR/, holds inputs that are finished")
        single = any(FORMATS[style].single for style in self.styles)
        recorded = read_record(Path(self.out))
        written: set[str] = set()
        changed: list[str] = []
        replaceable: set[str] = set()
        names: set[str] = set()
        for source, known in self.numbers.items():
            paths = {Path(self._output_path(style, source, number)) for style in self.styles for number in known or [1]}
            if not all(map(os.path.isfile, paths)) or not (known or not single):
                continue
            entries = {path: recorded[path.name] for path in paths if path.name in recorded}
            before = {entry.input for entry in entries.values()} - {""}
            if before and (now := digest_input(source)) and before != {now}:
                changed.append(source)
                replaceable |= {str(path) for path, entry in entries.items() if entry.output == digest_input(str(path))}
                continue
            written.add(source)
            names |= {path.name for path in paths}
        check_record(Path(self.out), sorted(names), self.settings, recorded)
        others = sum(recorded[name].dptr not in ("", __version__) for name in names & {*recorded})
        return Finished(frozenset(written), tuple(changed), frozenset(replaceable), others)

    def check(self, finished: Finished = Finished()) -> None:
        """Check that everything can be written.

        Args:
            finished: whose ``sources`` keep their files.

        Raises:
            UserError: a package is missing; a file would get several formats, or more pages than its format holds;
                several inputs would get one file whose name has no suffix; two inputs, or a page and a picture, would
                get the same file; a file cannot be written; or it exists and DPTR did not write it.
        """
        if "pdf" in self.styles:
            require_extras("a searchable PDF", "pdf")
        pages = sum(1 if known is None else len(known) for known in self.numbers.values())
        self._check_out(pages)
        self._check_overlay(pages)
        texts = {str(self._output_path(style, *page)) for style in self.styles for page in self._pages()} - {"-"}
        pictures = {str(path) for page in self._pages() if (path := self._overlay_path(*page)) is not None}
        if conflicts := {*map(os.path.realpath, texts)} & {*map(os.path.realpath, pictures)}:
            raise UserError(f"{min(conflicts)}: named for -o and for --overlay; pass two names")
        inputs = [source for source in self.numbers if source != "-"]
        remaining = [page for page in self._pages() if page[0] not in finished.sources]
        paths = {
            str(path)
            for page in remaining
            for path in (*(self._output_path(style, *page) for style in self.styles), self._overlay_path(*page))
            if path is not None
        }
        for name in paths - {"-"} - finished.replaceable:
            check_file(name, inputs)

    def _check_out(self, pages: int) -> None:
        (style, *others), out = self.styles, self.out
        if out != "-" and is_folder(out):
            for each in self.styles:
                self._check_folder(out, partial(self._output_path, each))
            return
        if others:
            formats = ",".join(self.styles)
            raise UserError(f"--format {formats}: several formats need a folder, -o DIR/, not -o {out}")
        if FORMATS[style].single and pages > 1:
            raise UserError(f"--format {style}: one page a file, not {pages}; write to a folder, -o DIR/")
        if style == "pdf" and out == "-" and sys.stdout.isatty():
            raise UserError("a PDF on a terminal; write it to a file, -o FILE.pdf")
        if len(self.numbers) > 1 and not os.path.splitext(out)[1] and out != "-" and not os.path.exists(out):
            suffix = FORMATS[style].suffixes[0]
            raise UserError(
                f"-o {out}: neither a folder nor a name with a suffix; pass -o {out}/ for a file for each input, or "
                f"-o {out}{suffix} for one file of all inputs"
            )

    def write(self, pages: Iterable[Shown], replaceable: Collection[str] = ()) -> None:
        """Write pages as they come. The pages of one file must be consecutive.

        The first format, the one that needs pictures if there is one, is written page by page. For the others, the
        pages of a source are kept in memory without their pictures.

        Args:
            replaceable: paths of files that may be replaced although nothing in them says that DPTR wrote them.

        Raises:
            UserError: a file cannot be written, or two pages or two pictures get the same file. ``check`` cannot know
                the latter for standard input and web addresses.
        """
        first, *others = sorted(self.styles, key=_order)
        written: set[str] = set()
        for group in self._by_file(first, self._write_overlays(pages), written):
            kept: list[Shown] = []
            pages_here = _keep(group.pages, kept) if others else group.pages
            self._write_file(group._replace(pages=pages_here), first, replaceable)
            for style in others:
                for part in self._by_file(style, kept, written):
                    self._write_file(part, style, replaceable)

    def _write_file(self, file: _File, style: str, replaceable: Collection[str]) -> None:
        write_pages(file.pages, style, file.path, str(file.path) in replaceable)
        if isinstance(file.path, Path):  # in a folder
            add_record(file.path, self.settings, self.digests.get(file.source, ""))

    def _by_file(self, style: str, pages: Iterable[Shown], written: set[str]) -> Iterator[_File]:
        """The output files of a format with their pages; adds their paths to ``written``."""
        names = ((self._output_path(style, each[0].source, each[0].number), each) for each in pages)
        for path, group in groupby(names, key=lambda each: each[0]):
            if str(path) in written:
                raise UserError(f"{path}: holds pages of another input; read one of them in another call")
            written.add(str(path))
            members = (each for _, each in group)
            first = next(members)
            yield _File(path, first[0].source, chain([first], members))

    def _write_overlays(self, pages: Iterable[Shown]) -> Iterator[Shown]:
        drawn_paths: set[Path] = set()
        for page, picture in pages:
            path = self._overlay_path(page.source, page.number)
            if path is not None and picture is not None:
                if path in drawn_paths:
                    raise self._too_many_pictures(len(drawn_paths) + 1)
                drawn_paths.add(path)
                with atomic_file(path) as aside:
                    draw_overlay(page.words, picture).save(aside, "PNG")
            yield page, picture

    def _too_many_pictures(self, pages: int) -> UserError:
        return UserError(f"--overlay {self.overlay}: there are {pages} pages; write to a folder, --overlay DIR/")

    def _output_path(self, style: str, source: str, number: int) -> str | Path:
        """The output file of a page in a format, or ``-``."""
        if self.out == "-" or not is_folder(self.out):
            return self.out
        kind = FORMATS[style]
        return Path(self.out, self._stem(source, number if kind.single else None) + kind.suffixes[0])

    def _overlay_path(self, source: str, number: int) -> Path | None:
        if self.overlay is None or not is_folder(self.overlay):
            return None if self.overlay is None else Path(self.overlay)
        return Path(self.overlay, self._stem(source, number) + ".png")

    def _stem(self, source: str, number: int | None) -> str:
        """The name of a file without its suffix: that of the source, and the page number if the source has several
        pages."""
        path = source.partition("?")[0] if is_url(source) else source
        stem = "stdin" if source == "-" else os.path.splitext(os.path.basename(path))[0] or "page"
        known = self.numbers[source] or []
        has_several = len(known) > 1 or (not known and number != 1)
        return f"{stem}-{number:0{len(str(max(known, default=0)))}}" if number is not None and has_several else stem

    def _check_overlay(self, pages: int) -> None:
        if self.overlay is None:
            return
        if is_folder(self.overlay):
            self._check_folder(self.overlay, self._overlay_path)
            return
        if not self.overlay.lower().endswith(".png"):
            raise UserError(f"--overlay {self.overlay}: pass a file that ends in .png, or a folder, DIR/")
        if pages > 1:
            raise self._too_many_pictures(pages)

    def _check_folder(self, folder: str, get_path: Callable[[str, int], str | Path | None]) -> None:
        sources: dict[str, str] = {}
        for source, number in self._pages():
            path = str(get_path(source, number))
            if sources.setdefault(path, source) != source:
                name = os.path.basename(path)
                raise UserError(
                    f"{sources[path]} and {source}: both would be {name} in {folder}; read them in two calls"
                )

    def _pages(self) -> Iterator[tuple[str, int]]:
        for source, known in self.numbers.items():
            for number in known or [1]:
                yield source, number
