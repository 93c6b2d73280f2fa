"""Generators of strings that word lists lack: numbers, prices, plates, addresses, random characters.

They keep a decoder from learning a closed vocabulary. The shapes imitate strings on signs, labels and documents. Their
shares are a judgment, not measured on any data set.
"""

from __future__ import annotations

import re
from unicodedata import name as name_of

import numpy as np

from dptr.text.charset import Charset
from dptr.text.device_patterns import DEVICE_PATTERNS
from dptr.text.native_plates import native_plate
from dptr.text.random_parts import Pattern, fill, pick, random_digits
from dptr.text.unicode import JOINERS, is_mark, script

_CONSONANTS = "bcdfghjklmnprstvwz"
_VOWELS = "aeiou"
_SYLLABLES = tuple(first + second for first in _CONSONANTS for second in _VOWELS)
_ENDINGS = ("", "", "n", "r", "s", "x", "t", "l", "ck", "ng", "24", "365", "-shop", "online")
_PLATES = ("AA00AAA", "AAA-0000", "0AAA000", "A-AA0000", "AAA0000A", "AA00AA0000", "AA-000-AA", "000-AAA")
_CODES = (
    *("A0", "0A", "A00", "A-00", "A000", "AA000", "AA-000", "AA00000", "AAA000", "AA000-A", "A0A0A0", "A0-00", "00A"),
    *("AAAA0000", "00-A-00", "000/A", "AA/00/0000", "000-0-00-000000", "A.0.0", "v0.0.0", "0x0", "AA&A", "A.A.A."),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CURRENCIES = ("$", "$", "$", "£", "€", "¥", "₹", "US$", "Rs.", *"₽₴₺₪₫৳₩")
# Unicode names of the letters that carry combining marks: all Arabic and Ethiopic ones; in the scripts of India and its
# neighbors, consonants.
_BASE_LETTER_NAME = re.compile(
    "ARABIC LETTER |ETHIOPIC SYLLABLE |[A-Z]+ LETTER [B-DF-HJ-NP-TV-Z]+A$|KHMER LETTER [B-DF-HJ-NP-TV-Z]+[AO]$"
    "|SINHALA LETTER ([A-Z]+ )?[B-DF-HJ-NP-TV-Z]+AYANNA$"
    "|THAI CHARACTER [B-DF-HJ-NP-TV-Z]+O |LAO LETTER [B-DF-HJ-NP-TV-Z]+O( |$)"
)
_SEPARATOR = re.compile(r"(?<=[0-9])[.,](?=[0-9])")
_DOMAINS = (".com", ".com", ".com", ".org", ".net", ".co.uk", ".com.sg", ".io", ".de", ".edu", ".gov", ".info")


def number(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Numbers: 7, 1997, 12,500, 3.5, 50%, No.4, 12th, 30km/h, -7."""
    count = pick(rng, (1, 2, 2, 3, 3, 4, 4, 5, 6, 8))
    digits = random_digits(rng, count, leading_zero=rng.random() < 0.1)
    shape = rng.random()
    if shape < 0.55:
        return digits
    if shape < 0.65:
        return f"{int(digits):,}"
    if shape < 0.75:
        return f"{digits[:3]}.{random_digits(rng, 1 + int(rng.integers(2)))}"
    if shape < 0.83:
        return digits[:3] + "%"
    if shape < 0.90:
        return pick(rng, ("No.", "#", "No", "+", "-", "x", "Nr.")) + digits[:4]
    if shape < 0.94:
        return digits[:2] + _ordinal_suffix(int(digits[:2]))
    return digits[:4] + pick(rng, ("km", "kg", "ml", "km/h", "m", "cm", "GB", "W", "V", "+", "g", "mm", "L"))


def price(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Prices: $9.99, £5, 4.50, 1,299.00, 99c, $10-$20, -50%. Only currency signs of the charset are drawn."""
    signs = [sign for sign in _CURRENCIES if charset.covers(sign)] or [""]
    whole = f"{int(random_digits(rng, pick(rng, (1, 1, 2, 2, 3, 4)))):,}"
    cents = pick(rng, (".99", ".95", ".50", ".00", ".", ".")) if rng.random() < 0.6 else ""
    if cents == ".":
        cents += random_digits(rng, 2, leading_zero=True)
    sign = pick(rng, signs)
    shape = rng.random()
    if shape < 0.60:
        return sign + whole + cents
    if shape < 0.75:
        return whole + cents
    if shape < 0.82:
        return whole + cents + sign[-1:]
    if shape < 0.88:
        return f"{sign}{whole}-{sign}{int(whole.replace(',', '')) * 2:,}"
    if shape < 0.94:
        return random_digits(rng, 2) + pick(rng, ("c", "p", "¢", "c/kg", "/-", "/kg", "/day"))
    return pick(rng, ("-", "", "")) + random_digits(rng, 1) + pick(rng, ("0%", "5%", "0%OFF"))


def date(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Dates and years: 12/05/2019, 2019-05-12, 12.5.19, 12MAY2019, May-12, 1998, '98, 2019-20."""
    day, month, year = 1 + int(rng.integers(28)), 1 + int(rng.integers(12)), 1900 + int(rng.integers(140))
    name = _MONTHS[month - 1]
    name = name.upper() if rng.random() < 0.5 else name
    separator = pick(rng, ("/", "/", "-", ".", "."))
    shapes = (
        f"{day:02}{separator}{month:02}{separator}{year}",
        f"{day:02}{separator}{month:02}{separator}{year % 100:02}",
        f"{day}{separator}{month}{separator}{year % 100:02}",
        f"{month:02}{separator}{day:02}{separator}{year}",
        f"{year}{separator}{month:02}{separator}{day:02}",
        f"{year}{month:02}{day:02}",
        f"{day:02}{name}{year}",
        f"{name}{day}",
        f"{day}-{name}",
        f"{name}.{day}",
        f"{day}/{month}",
        f"{month:02}/{year % 100:02}",
        f"{year}",
        f"'{year % 100:02}",
        f"{year}-{(year + 1) % 100:02}",
    )
    return pick(rng, shapes)


def time(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Times and opening hours: 12:30, 9:00am, 7PM, 08.30, 9-5, 10:00-18:00, 20h, 12:30:05."""
    hour, minute = int(rng.integers(24)), pick(rng, (0, 0, 15, 30, 30, 45, int(rng.integers(60))))
    hour12 = 1 + hour % 12
    am_pm = pick(rng, ("am", "pm", "AM", "PM", "a.m.", "p.m."))
    closing_hour = f"{(hour + 1 + int(rng.integers(9))) % 24:02}"
    shapes = (
        f"{hour}:{minute:02}",
        f"{hour:02}:{minute:02}",
        f"{hour:02}.{minute:02}",
        f"{hour:02}{minute:02}",
        f"{hour12}:{minute:02}{am_pm}",
        f"{hour12}{am_pm}",
        f"{hour12}{am_pm}-{1 + int(closing_hour) % 12}{am_pm}",
        f"{hour}-{closing_hour}",
        f"{hour:02}:{minute:02}-{closing_hour}:00",
        f"{hour}h{minute:02}",
        f"{hour}h",
        f"{hour:02}:{minute:02}:{int(rng.integers(60)):02}",
    )
    return pick(rng, shapes)


def phone(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Phone numbers: 555-1234, (020)79460958, +442079460958, 0800123456, 1-800-555-0199."""
    d = random_digits(rng, 12, leading_zero=True)
    shapes = (
        f"{d[:3]}-{d[3:7]}",
        f"{d[:4]}-{d[4:8]}",
        f"{d[:8]}",
        f"0{d[:10]}",
        f"0800{d[:6]}",
        f"({d[:3]}){d[3:6]}-{d[6:10]}",
        f"(0{d[:2]}){d[2:10]}",
        f"{d[:3]}-{d[3:6]}-{d[6:10]}",
        f"{d[:3]}.{d[3:6]}.{d[6:10]}",
        f"+{1 + int(rng.integers(99))}{d[:10]}",
        f"1-800-{d[:3]}-{d[3:7]}",
        f"Tel:{d[:8]}",
    )
    return pick(rng, shapes)


def plate(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Vehicle plates: AB12CDE, ABC-1234, 7ABC123, B-MW1234, SGX1234A, KA01AB1234.

    Half of them are those of a country that writes other letters, if the charset has them: 12가3456, س ص ط ٢٣٤.
    """
    text = native_plate(rng, charset)
    return text if text and rng.random() < 0.5 else fill(rng, pick(rng, _PLATES))


def url(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Web addresses: www.name.com, name.co.uk, name.org/sale, http://name.io, @name, #name; some in capitals."""
    name = _name(rng)
    prefix = pick(rng, ("www.", "www.", "www.", "", "", "http://", "https://", "@", "#"))
    suffix = "" if prefix in ("@", "#") else pick(rng, _DOMAINS)
    if suffix and rng.random() < 0.15:
        suffix += "/" + _syllables(rng, 2)
    address = prefix + name + suffix
    return address.upper() if rng.random() < 0.2 else address


def email(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """E-mail addresses: info@name.com, j.name@name.org, name_07@name.net; some in capitals."""
    initial = f"{pick(rng, _CONSONANTS)}.{_name(rng)}"
    user = pick(rng, ("info", "sales", "contact", _syllables(rng, 2), _syllables(rng, 3), initial))
    if rng.random() < 0.15:
        user += "_" + random_digits(rng, 2, leading_zero=True)
    address = f"{user}@{_syllables(rng, pick(rng, (1, 2, 2)))}{pick(rng, _DOMAINS)}"
    return address.upper() if rng.random() < 0.1 else address


def code(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Model, article, flight, gate and room codes: B737, A-12, EN50126, XJ900-K, 4C, ISBN-like runs."""
    filled = fill(rng, pick(rng, _CODES))
    return filled.lower() if rng.random() < 0.1 else filled


def random_string(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Characters drawn uniformly from the charset: 1..longest, with short strings more likely (density ~ 1/sqrt).

    A string with non-ASCII characters loses those that nobody could tell apart or no font could place: letters of
    another script than the first one's (Latin A looks like Cyrillic А), marks without a letter that carries them, and
    joiners. It may become empty.
    """
    length = 1 + int(longest * rng.random() ** 2)
    text = "".join([charset.characters[i] for i in rng.integers(len(charset), size=length).tolist()])
    return text if text.isascii() else _legible(text)


def native(pattern: Pattern) -> Pattern:
    """``pattern`` with half of its strings in the charset's non-ASCII digits.

    Strings with letters, and strings for charsets without such digits, stay as they are.
    """

    def draw(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
        text = pattern(rng, charset, longest)
        zeros = charset.zeros
        if not zeros or rng.random() < 0.5 or any(map(str.isalpha, text)):
            return text
        zero = ord(pick(rng, zeros))
        return text.translate({ord("0") + digit: zero + digit for digit in range(10)})

    return draw


def comma(pattern: Pattern) -> Pattern:
    """``pattern`` with ``.`` and ``,`` swapped between digits (1.299,00) in half of its strings.

    Strings for charsets without the euro sign stay as they are, and so do the points of No.4 and Rs.5.
    """

    def draw(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
        text = pattern(rng, charset, longest)
        if "€" not in charset or rng.random() < 0.5:
            return text
        return _SEPARATOR.sub(lambda sign: "," if sign[0] == "." else ".", text)

    return draw


PATTERNS: dict[str, Pattern] = {
    "number": native(comma(number)),
    "price": native(comma(price)),
    "date": native(date),
    "time": native(time),
    "phone": native(phone),
    "plate": plate,
    "url": url,
    "email": email,
    "code": code,
    "random": random_string,
    **DEVICE_PATTERNS,
}
"""Generators by name. Each draws one string from ``rng``. A string may be longer than ``longest`` or have characters
outside ``charset``; the corpus then draws again."""


def _ordinal_suffix(value: int) -> str:
    if value % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")


def _legible(text: str) -> str:
    legible = ""
    first = ""
    for character in text:
        letter_script = script(character)
        if character in JOINERS or (first and letter_script and letter_script != first):
            continue
        if is_mark(character) and not (legible and _can_carry(legible[-1], letter_script)):
            continue
        first = first or letter_script
        legible += character
    return legible


def _can_carry(letter: str, script_of_mark: str) -> bool:
    return script(letter) == script_of_mark and not is_mark(letter) and bool(_BASE_LETTER_NAME.match(name_of(letter)))


def _syllables(rng: np.random.Generator, count: int) -> str:
    return "".join([_SYLLABLES[int(u * len(_SYLLABLES))] for u in rng.random(count).tolist()])


def _name(rng: np.random.Generator) -> str:
    return _syllables(rng, pick(rng, (1, 2, 2, 3))) + pick(rng, _ENDINGS)
