"""The table of docs/languages.md: every language, its charset, its words, and what of them its labels cannot write.

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
NAMES = {"OL": "Ol Chiki", "NKO": "N’Ko"}  # of which Unicode's first word is not the name
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
    """The scripts of its letters and marks beyond ASCII's; English has none but ASCII's."""
    letters = [each for each in language.charset if script(each) and each not in JOINERS]
    own = [each for each in letters if each not in ASCII] or letters
    return ", ".join(dict.fromkeys(NAMES.get(script(each), script(each).title()) for each in own))


def count_words(language: Language, charset: Charset) -> tuple[int, float]:
    """How many words the default corpus lists, and the share of the ``TOP`` first ones of each list that are labels.

    wordfreq's placeholders for numbers do not count.
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
