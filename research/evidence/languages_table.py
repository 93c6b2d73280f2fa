"""The table of docs/languages.md: every language, its charset, what its word list loses, which fonts draw it.

    .venv/bin/python research/evidence/languages_table.py > table.md

Fonts are those of this system (scripts/fonts.sh installs them); their packages are asked of dpkg, on Debian and Ubuntu.
"""

from __future__ import annotations

import subprocess
from collections import Counter

import numpy as np

from dptr.synth.fonts import Font, find_fonts
from dptr.text.charset import Charset, check_label, resolve_charset
from dptr.text.language import ASCII, Language
from dptr.text.languages import LANGUAGES
from dptr.text.sources import read_wordfreq
from dptr.text.unicode import JOINERS, script

TOP = 20_000
MAX_LENGTH = 25
PACKAGES_SHOWN = 4
COLUMNS = [
    "code",
    "language",
    "script",
    "direction",
    "characters",
    "letters from",
    "words kept",
    "families",
    "Debian packages",
]
STANDARDS = {"en": "ASCII", "zh": "GB 2312", "ja": "JIS X 0208", "ko": "KS X 1001", "latin": "union", "mlt": "union"}


def main() -> None:
    fonts = find_fonts()
    packages = packages_of(sorted({font.path for font in fonts}))
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|---:|---|---:|---:|---|")
    for code, language in LANGUAGES.items():
        charset = resolve_charset(code)
        drawing = [font for font in fonts if draws(font, own_letters(language))]
        by_package = Counter(packages[font.path] for font in drawing if font.path in packages)
        shown = ", ".join(f"`{package}`" for package, _ in by_package.most_common(PACKAGES_SHOWN))
        more = len(by_package) - PACKAGES_SHOWN
        cells = (
            f"`{code}`",
            language.name,
            scripts_of(language),
            language.direction,
            f"{len(charset):,}",
            STANDARDS.get(code, "CLDR 47"),
            kept(language, charset),
            str(len({font.group for font in drawing})),
            (shown or "those of its languages") + (f" and {more} more" if more > 0 else ""),
        )
        print(f"| {' | '.join(cells)} |")


def own_letters(language: Language) -> list[str]:
    """The letters and marks that ASCII lacks; English has none but ASCII's."""
    letters = [character for character in language.charset if script(character) and character not in JOINERS]
    return [letter for letter in letters if letter not in ASCII] or letters


def scripts_of(language: Language) -> str:
    names = dict.fromkeys(map(script, own_letters(language)))
    return ", ".join(map(str.title, names))


def kept(language: Language, charset: Charset) -> str:
    """Share of the ``TOP`` most frequent words of each list that are labels; placeholders for numbers do not count."""
    words = dropped = 0
    for source in language.corpus().sources:
        if source.kind == "wordfreq":
            entries, _ = read_wordfreq(source.model_copy(update={"top": TOP}))
            words += len(entries)
            dropped += sum(check_label(word, charset, MAX_LENGTH)[1] is not None for word, _ in entries)
    return f"{1 - dropped / words:.2%}".replace("%", " %")


def draws(font: Font, characters: list[str]) -> bool:
    covered = np.zeros(0x110000, bool)
    for first, last in font.coverage:
        covered[first : last + 1] = True
    return bool(covered[list(map(ord, characters))].all())


def packages_of(paths: list[str]) -> dict[str, str]:
    """Path -> package, of the files that dpkg knows."""
    try:
        done = subprocess.run(["dpkg-query", "--search", *paths], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return {}
    pairs = (line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    return {path: package for package, path in pairs}


if __name__ == "__main__":
    main()
