"""Print the table of docs/languages.md: each language with its charset, its words, and the share that labels can write.

.venv/bin/python research/evidence/languages_table.py > table.md
"""

from __future__ import annotations

from dptr.config.render import SourceConfig
from dptr.text.charset import Charset, check_label, resolve_charset
from dptr.text.language import ASCII, Language
from dptr.text.languages import LANGUAGES
from dptr.text.sources import read_source
from dptr.text.unicode import JOINERS, script

TOP = 20_000
MAX_LENGTH = 25
COLUMNS = ["code", "language", "script", "direction", "characters", "words from", "words kept", "longer list"]
NAMES = {"OL": "Ol Chiki", "NKO": "N’Ko"}  # scripts whose name is not the first word in Unicode's character names
PACKAGES = {"wordfreq": "wordfreq", "cldr": "CLDR"}


def main() -> None:
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|---:|---|---:|---|")
    singles = [language for language in LANGUAGES.values() if not language.parts]
    unions = [language for language in LANGUAGES.values() if language.parts]
    for language in (*singles, *unions):
        charset = resolve_charset(language.code)
        words, kept = count_words(language, charset)
        (kind,) = {PACKAGES[each.kind] for each in language.lists} if not language.parts else {"its languages"}
        cells = (
            f"`{language.code}`",
            language.name,
            scripts_of(language),
            language.direction,
            f"{len(charset):,}",
            f"{kind}, {words:,}",
            f"{kept:.2%}".replace("%", " %"),
            f"`{language.dictionary}`" if language.dictionary else "",
        )
        print(f"| {' | '.join(cells)} |")


def scripts_of(language: Language) -> str:
    """The scripts of the non-ASCII letters and marks of a language, or of the ASCII ones if there are no others."""
    letters = [each for each in language.charset if script(each) and each not in JOINERS]
    specific = [each for each in letters if each not in ASCII] or letters
    return ", ".join(dict.fromkeys(NAMES.get(script(each), script(each).title()) for each in specific))


def count_words(language: Language, charset: Charset) -> tuple[int, float]:
    """The number of words in the default corpus, and the share of the first ``TOP`` words of each list that are labels.

    A word is a label if the charset can write it within ``MAX_LENGTH``. wordfreq's placeholders for numbers are
    ignored.
    """
    listed = words = kept = 0
    for source in language.corpus().sources:
        if source.kind != "pattern":
            listed += len(read_source(source)[0])
            entries = read_source(SourceConfig(kind=source.kind, language=source.language, top=TOP))[0]
            words += len(entries)
            kept += sum(check_label(word, charset, MAX_LENGTH)[1] is None for word, _ in entries)
    return listed, kept / words


if __name__ == "__main__":
    main()
