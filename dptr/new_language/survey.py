"""What there is for a new language: characters, words, fonts; and what would help."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import features

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.synth import EMBEDDED
from dptr.synth.fonts import describe_embedded, find_fonts, needs_shaping
from dptr.text.charset import SPACED, Charset, count_new, normalize_label, resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.hunspell import find_dictionary
from dptr.text.language import ASCII, Language
from dptr.text.languages import LANGUAGES
from dptr.text.sources import read_source
from dptr.text.unicode import JOINERS, is_mark, script
from dptr.text.word_lists import WordList, count_drops
from dptr.utils.errors import UserError
from dptr.utils.escapes import escape

FEWEST_WORDS = 100  # of a word list; fewer teach no spelling
DRAWN = 0.9  # of the language's own letters: what a font must draw to be of use
HELD_OUT = 0.2  # of the font families, for the test
OWN = 0.1  # of the words: what must have a letter of a script other than Latin, where the charset holds one
RARE = 2  # a character that fewer entries of a list, or fewer labels, hold is a slip, where no charset is named
ONE_CASE = "GEORGIAN", "CHEROKEE"  # Unicode has a second one, which texts and fonts do without
MOST_SHOWN = 150  # characters in a message; the run's characters.txt has all
LARGE_LIST = 20_000  # words: of fewer, a tenth is held out for the test, of more a fiftieth
MOST_WORDS = 500_000  # of a word list: more are never drawn in the hours that a training takes
SHARES = {"words": 0.6, "names": 0.15, "patterns": 0.25}  # of the corpus


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        code: a key of ``LANGUAGES``, or "" for a language that is not listed.
        words: a text or gzip file of words, or a dictionary of hunspell (``.dic``); None = those of the language.
        charset: a UTF-8 file of characters, a language code, or "" for the language's, or those that ``words`` hold.
        fonts: folders or files; empty = those of the system.
    """

    code: str
    words: Path | None
    charset: str
    fonts: tuple[Path, ...]


@dataclass(frozen=True)
class Survey:
    """What a recognizer of the language can be trained with.

    Attributes:
        name: of the language, for people.
        charset: its characters, without the space; behind them those of the labels.
        corpus: where words come from, and which share of them is held out.
        train_fonts: files of families to train with; ``test_fonts`` of others, or the same where there is one family.
            Both hold some of the embedded Latin fonts, never the same families.
        notes: lines for the user: counts, what is missing, what would help.
    """

    name: str
    charset: Charset
    corpus: CorpusConfig
    train_fonts: tuple[str, ...]
    test_fonts: tuple[str, ...]
    notes: tuple[str, ...]


def survey(request: Request, labels: Iterable[str] = ()) -> Survey:
    """Look at words and fonts before anything is trained.

    Args:
        labels: of crops to learn from. Where no charset was asked for, the charset gets the characters that at least
            ``RARE`` of them hold.

    Raises:
        UserError: neither a language nor words; an unknown code; too few words; a charset of another script than the
            words; no font that draws the letters; see ``resolve_charset``, ``Corpus``, ``find_fonts``.
    """
    language = _find_language(request)
    charset = _find_charset(request, language)
    name = language.name if language else (request.words or Path(charset.name)).stem
    taken = _describe_charset(charset, request.words) if request.words and not (language or request.charset) else []
    corpus, notes = _find_words(request, language, charset)
    train_fonts, test_fonts, font_notes = _find_fonts(request.fonts, charset, name)
    if not request.charset:
        charset, added = _add_characters(charset, labels, train_fonts)
        taken += added
    return Survey(name, charset, corpus, train_fonts, test_fonts, (*taken, *notes, *font_notes))


def _find_language(request: Request) -> Language | None:
    if request.code in LANGUAGES:
        return LANGUAGES[request.code]
    if request.code:
        raise UserError(
            f"language '{request.code}': not one of the {len(LANGUAGES)} listed ones (docs/languages.md); pass --words "
            "with a list of its words instead"
        )
    if request.words is None:
        raise UserError("no language: name one by its code, such as ka, or pass --words with a list of its words")
    return None


def _find_charset(request: Request, language: Language | None) -> Charset:
    if request.charset:
        charset = resolve_charset(request.charset)
    elif language:
        charset = resolve_charset(language.code)
    else:
        assert request.words is not None
        charset = infer_charset(request.words)
    if charset.spaced:
        raise UserError(
            f"charset '{charset.name}': it holds the space, and words are learned one at a time; leave {SPACED} out"
        )
    return charset


def infer_charset(words: Path) -> Charset:
    """ASCII's 94 characters, then those that at least ``RARE`` entries of a word list hold, by code point.

    Letters come in both cases, but for those of scripts in ``ONE_CASE``.
    Entries are composed first (NFC): an accent typed apart is part of its letter.

    Raises:
        UserError: no file, not UTF-8.
    """
    counts = _count_characters(words)
    frequent = {character for character, count in counts.items() if count >= RARE}
    both = frequent | {other for character in frequent for other in _other_cases(character)}
    return Charset(words.stem, (*ASCII, *sorted(both.difference(ASCII))))


def _count_characters(words: Path) -> Counter[str]:
    entries, _ = read_source(_own_words(words, ""))
    return Counter(character for entry, _ in entries for character in set(normalize_label(entry)))


def _other_cases(character: str) -> set[str]:
    """The letter's other case, where texts of its script use both: signs in capitals have it, few word lists do."""
    own = script(character)
    if own in ONE_CASE:
        return set()
    return {other for other in (character.lower(), character.upper()) if len(other) == 1 and script(other) == own}


def _describe_charset(charset: Charset, words: Path) -> list[str]:
    """Which characters were taken from a word list, and which were not."""
    lines = [f"characters of {words} beyond ASCII: {_shown(each for each in charset.characters if each not in ASCII)}"]
    if rare := sorted(_count_characters(words).keys() - {*charset.characters}):
        lines.append(f"left out, as fewer than {RARE} entries hold them (--charset FILE takes them): {_shown(rare)}")
    return lines


def _add_characters(charset: Charset, labels: Iterable[str], fonts: Sequence[str]) -> tuple[Charset, list[str]]:
    """The charset with the characters of labels, which it would refuse else; and lines that name them."""
    counts = count_new(charset, labels)
    added = sorted(character for character, count in counts.items() if count >= RARE)
    lines = []
    if added:
        lines.append(f"characters of the labels that charset '{charset.name}' lacks, added: {_shown(added)}")
        opened = find_fonts(fonts)
        if undrawn := [each for each in added if not any(each in font for font in opened)]:
            lines.append(f"learned from the crops alone, as no font of the training draws them: {_shown(undrawn)}")
    if rare := sorted(counts.keys() - {*added}):
        lines.append(f"left out, as fewer than {RARE} labels hold them (--charset FILE takes them): {_shown(rare)}")
    return Charset(charset.name, (*charset.characters, *added)), lines


def _shown(characters: Iterable[str]) -> str:
    listed = [*characters]
    more = f" and {len(listed) - MOST_SHOWN:,} more" if len(listed) > MOST_SHOWN else ""
    return (" ".join(map(escape, listed[:MOST_SHOWN])) or "none") + more


def _own_words(path: Path, code: str) -> SourceConfig:
    """The user's list of words: a dictionary of hunspell by its suffix, else text."""
    weight = SHARES["words"] + SHARES["names"]
    if path.suffix == ".dic":
        return SourceConfig(kind="hunspell", path=str(path), language=code, weight=weight)
    return SourceConfig(kind="file", path=str(path), language=code or "en", max_words=MOST_WORDS, weight=weight)


def _find_words(request: Request, language: Language | None, charset: Charset) -> tuple[CorpusConfig, list[str]]:
    notes: list[str] = []
    if request.words:
        sources = [_own_words(request.words, request.code)]
    else:
        assert language is not None
        sources = [each for each in language.corpus().sources if each.kind != "pattern"]
        if all(each.kind == "cldr" for each in language.lists) and not language.parts:
            sources, notes = _add_dictionary(language, sources)
    patterns = SourceConfig(kind="pattern", weight=SHARES["patterns"])
    corpus = CorpusConfig(sources=(*sources, patterns))
    every_word = Corpus(corpus, charset, longest_word(charset), seed=0, split="all")
    count = sum(every_word.words.values())
    if count < FEWEST_WORDS:
        raise UserError(
            f"{request.words or request.code}: {count} words that charset '{charset.name}' can write"
            f"{count_drops(every_word.dropped, ' (left out: ', ')')}; pass at least {FEWEST_WORDS}, better tens of "
            "thousands"
        )
    if request.words and (request.charset or language):
        _check_script(request.words, every_word, charset)
    corpus = corpus.model_copy(update={"heldout": 0.02 if count > LARGE_LIST else 0.1})
    return corpus, [*every_word.describe().splitlines(), *notes]


def _check_script(path: Path, corpus: Corpus, charset: Charset) -> None:
    """Latin words can be written with any charset, and teach no letter of another script.

    Raises:
        UserError: hardly a word has a letter of the charset's script.
    """
    own = {each for each in charset.characters if script(each) not in ("", "LATIN")}
    words = [word for source in corpus.sources if isinstance(source, WordList) for word in source.words]
    written = sum(not own.isdisjoint(word) for word in words)
    if own and written < OWN * len(words):
        raise UserError(
            f"{path}: {written:,} of its {len(words):,} words have a letter of charset '{charset.name}' beyond Latin "
            f"ones, such as {min(own)}; pass words of that script, or another --charset"
        )


def longest_word(charset: Charset) -> int:
    """The longest label that is read, in code points: 25 as in the field, more where letters carry marks."""
    return 25 if sum(map(is_mark, charset.characters)) < 5 else 32


def _add_dictionary(language: Language, names: list[SourceConfig]) -> tuple[list[SourceConfig], list[str]]:
    """The installed dictionary beside the names of CLDR, or a line that says which one to install."""
    try:
        path = find_dictionary(language.code)
    except UserError:
        package = f": install {language.dictionary} (Debian), or pass" if language.dictionary else ": pass"
        return names, [f"names alone are a small vocabulary; more words would help{package} --words FILE"]
    words = SourceConfig(kind="hunspell", path=str(path), language=language.code, weight=SHARES["words"])
    return [words, *(each.model_copy(update={"weight": SHARES["names"] / len(names)}) for each in names)], []


def _find_fonts(
    paths: Sequence[Path], charset: Charset, name: str
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    own = [each for each in charset.characters if script(each) and each not in JOINERS and not each.isascii()]
    letters = own or [each for each in charset.characters if each.isalpha()] or list(charset.characters)
    if any(map(needs_shaping, letters)) and not features.check("raqm"):
        raise UserError(
            f"{name}: its letters are joined or carry marks, and Pillow draws such ones with raqm alone, which is not "
            "at hand; install libfribidi0 (Debian), or fribidi (Homebrew)"
        )
    fonts = find_fonts(paths)
    families: dict[str, set[str]] = {}
    for font in fonts:
        if sum(letter in font for letter in letters) >= DRAWN * len(letters):
            families.setdefault(font.group, set()).add(font.path)
    latin: dict[str, set[str]] = {}  # for numbers and addresses: many fonts lack ASCII's letters
    for font in find_fonts([EMBEDDED]):
        (families if font.group in families else latin).setdefault(font.group, set()).add(font.path)
    if not families:
        raise UserError(
            f"{name}: none of the {len(fonts)} fonts draws {DRAWN:.0%} of its {len(letters)} letters; install "
            f"{_font_package(letters)} (Debian), or pass --fonts with a folder of fonts of this script"
        )
    undrawn = [letter for letter in letters if not any(letter in font for font in fonts)]
    notes = [*describe_embedded(fonts, paths), *_describe_families(families, letters, undrawn, name)]
    trained, tested = split_families(families)
    if trained == tested:
        notes.append("one family alone: the test is drawn with the font of the training")
    if latin:
        latin_trained, latin_tested = split_families(latin)
        trained, tested = tuple(sorted({*trained, *latin_trained})), tuple(sorted({*tested, *latin_tested}))
    return trained, tested, notes


def _describe_families(
    families: Collection[str], letters: Sequence[str], undrawn: Sequence[str], name: str
) -> Iterator[str]:
    """How many families draw the language, which letters none draws, and what would help."""
    yield f"fonts: {len(families)} {'family draws' if len(families) == 1 else 'families draw'} {name}"
    if undrawn:
        yield f"no font draws {' '.join(undrawn[:20])}{' ...' if len(undrawn) > 20 else ''}"
    if len(families) < 5:
        installed = any(family.startswith("Noto ") for family in families)
        package = "" if installed else f"install {_font_package(letters)} (Debian), or "
        yield f"more fonts would help: {package}pass --fonts DIR with other families"


def split_families(families: dict[str, set[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files to train with, and those of ``HELD_OUT`` of the families, by a hash of their names; never none of either.

    A file with faces of several families counts with those held out. With one family both are the same.
    """
    ordered = sorted(families, key=lambda group: hashlib.blake2b(group.encode()).digest())
    held = ordered[: max(1, round(HELD_OUT * len(ordered)))] if len(ordered) > 1 else []
    tested = set().union(*(families[group] for group in held))
    trained = set().union(*families.values()) - tested
    return tuple(sorted(trained)), tuple(sorted(tested or trained))


def _font_package(letters: Sequence[str]) -> str:
    scripts = {script(letter) for letter in letters}
    return "fonts-noto-cjk" if "EAST ASIAN" in scripts else "fonts-noto-core"
