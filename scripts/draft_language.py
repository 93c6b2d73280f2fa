"""Draft the TOML file of a language from Unicode CLDR. Someone who knows the language should then correct the draft.

    npm pack cldr-core cldr-misc-full cldr-numbers-full   # unpacked as CLDR/cldr-core, CLDR/cldr-misc-full, ...
    python scripts/draft_language.py --cldr CLDR mt >dptr/text/languages/mt.toml

Letters are CLDR's main exemplar characters, in both cases for scripts with case. Signs are the language's quotation
marks, its non-ASCII punctuation, and the currency sign of the country where the language is most likely spoken. Digits
are the native ones, unless they are ASCII. A comment lists the auxiliary characters: many of them occur only in foreign
names, but some are needed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unicodedata import category, combining, name, normalize

from dptr.text.unicode import JOINERS, directions, is_mark

CASED = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "COPTIC", "ADLAM")  # Georgian capitals are for headlines
LEFT_OUT = set("‐‑―†‡′″※₤⟨⟩⁒‟\u00a0\u200b\u200e\u200f\u061c")  # look like ASCII characters, or are on no sign
LAST = "–—…€§°"
RANGE = re.compile(r"(\\.|[^\s\\])-(\\.|[^\s\\])")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("code", help="a language code of CLDR, such as mt")
    parser.add_argument(
        "--cldr", type=Path, required=True, help="folder of cldr-core, cldr-misc-full, and cldr-numbers-full"
    )
    parser.add_argument("--words", choices=("wordfreq", "cldr"), default="cldr")
    options = parser.parse_args()
    print(draft(options.cldr, options.code, options.words), end="")


def draft(cldr: Path, code: str, words: str) -> str:
    """The text of the TOML file."""
    characters = read(cldr, "cldr-misc-full", f"main/{code}/characters.json", "main", code, "characters")
    delimiters = read(cldr, "cldr-misc-full", f"main/{code}/delimiters.json", "main", code, "delimiters")
    numbers = read(cldr, "cldr-numbers-full", f"main/{code}/numbers.json", "main", code, "numbers")
    version = json.loads((cldr / "cldr-core/package.json").read_text())["version"]
    main_set, more = parse_set(characters["exemplarCharacters"]), parse_set(characters.get("auxiliary", "[]"))
    letters = both_cases([each for each in main_set if category(each)[0] == "L"])
    marks = sorted((each for each in main_set if is_mark(each)), key=combining)  # NFC keeps this order
    joiners = [each for each in (*main_set, *more) if each in JOINERS]
    digits = own_digits(cldr, numbers["otherNumberingSystems"]["native"])
    quotes = [delimiters[key] for key in delimiters if key.endswith(("Start", "End"))]
    signs = "".join(dict.fromkeys([*quotes, *parse_set(characters["punctuation"]), *currency(cldr, code), *LAST]))
    signs = "".join(each for each in signs if not each.isascii() and each not in LEFT_OUT)
    english = language_name(code)
    rest = "".join(each for each in more if category(each)[0] in "LM" and each not in letters and not each.isascii())
    lines = [
        f"# {english}. Letters from CLDR {version}." + (f" Left out: {rest} of its auxiliary set." if rest else "")
    ]
    lines += [f'name = "{english}"']
    if directions(letters) == {"rtl"}:
        lines.append('direction = "rtl"')
    non_ascii = [each for each in letters if not each.isascii()]
    values = {"letters": non_ascii, "marks": marks, "joiners": joiners, "digits": digits, "signs": signs}
    lines += [f'{key} = "{escape(value)}"' for key, value in values.items() if value]
    if words != "wordfreq":
        lines.append(f'words = "{words}"')
    return "\n".join(lines) + "\n"


def read(cldr: Path, package: str, file: str, *keys: str) -> Any:
    value = json.loads((cldr / package / file).read_text(encoding="utf-8"))
    for key in keys:
        value = value[key]
    return value


def parse_set(text: str) -> list[str]:
    """The NFC code points of a UnicodeSet such as ``[a á {sh} \\- ა-ჰ]``; strings in braces are split."""
    text = text.removeprefix("[").removesuffix("]")
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), text)
    text = RANGE.sub(lambda match: "".join(map(chr, range(ord(match[1][-1]), ord(match[2][-1]) + 1))), text)
    text = re.sub(r"\\(.)", r"\1", text.replace("{", " ").replace("}", " "))
    return list(dict.fromkeys(each for part in text.split() for each in normalize("NFC", part)))


def both_cases(letters: list[str]) -> list[str]:
    """The letters, followed by their capitals in scripts with case (``CASED``)."""
    cased = [each for each in letters if name(each).startswith(CASED)]
    capitals = [each.upper() for each in cased if len(each.upper()) == 1 and each.upper() != each]
    return list(dict.fromkeys([*letters, *capitals]))


def own_digits(cldr: Path, system: str) -> str:
    systems = read(cldr, "cldr-core", "supplemental/numberingSystems.json", "supplemental", "numberingSystems")
    digits: str = systems[system].get("_digits", "")
    return "" if digits.isascii() else digits


def currency(cldr: Path, code: str) -> str:
    """The signs of one character for the current currencies of the language's most likely country, or ""."""
    likely = read(cldr, "cldr-core", "supplemental/likelySubtags.json", "supplemental", "likelySubtags")
    regions = read(cldr, "cldr-core", "supplemental/currencyData.json", "supplemental", "currencyData", "region")
    region = likely.get(code, f"{code}-Zzzz-ZZ").split("-")[-1]
    today = [
        unit for each in regions.get(region, []) for unit, dates in each.items() if not {"_to", "_tender"} & set(dates)
    ]
    names = read(cldr, "cldr-numbers-full", f"main/{code}/currencies.json", "main", code, "numbers", "currencies")
    entries = [names.get(unit, {}) for unit in today]
    signs = [each.get("symbol-alt-narrow", each.get("symbol", "")) for each in entries]
    return "".join(sign for sign in signs if len(sign) == 1)


def language_name(code: str) -> str:
    from babel import Locale

    return str(Locale.parse(code, sep="-").english_name)


def escape(characters: Iterable[str]) -> str:
    """Escape for TOML. Combining marks and joiners become code points, so that they are visible."""
    codes = {each: f"\\u{ord(each):04x}" if ord(each) < 0x10000 else f"\\U{ord(each):08x}" for each in characters}
    return "".join(
        code if is_mark(each) or each in JOINERS else each.replace('"', '\\"') for each, code in codes.items()
    )


if __name__ == "__main__":
    main()
