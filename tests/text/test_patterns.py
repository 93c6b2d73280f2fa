"""Generators of strings outside any word list."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from dptr.config.render import SourceConfig
from dptr.text.charset import Charset, resolve_charset
from dptr.text.device_patterns import DEVICE_PATTERNS
from dptr.text.patterns import PATTERNS
from dptr.text.unicode import JOINERS, is_mark, script

FULL = resolve_charset("94")

SHAPES = {
    "number": r"[\d,.%#+\-xNor]*\d[\w,.%/+]*",
    "price": r"-?[^\d]{0,3}\d[\d,.]*(-[^\d]{0,3}[\d,]+|[^\d]{0,3}|c/kg|/day|%OFF|%)",
    "date": r"'?\d{1,8}([/.\-]?(\d{1,4}|[A-Za-z]{3}))*|[A-Za-z]{3}[.\-]?\d{1,2}",
    "time": r"\d{1,4}[\d:.h]*(am|pm|AM|PM|a\.m\.|p\.m\.)?(-\d[\d:]*(am|pm|AM|PM|a\.m\.|p\.m\.)?)?",
    "phone": r"(Tel:)?\+?[\d().\-]{8,16}",
    "plate": r"(?=.*[A-Z])(?=.*\d)[A-Z0-9-]{7,10}",
    "url": r"(?i)(https?://|www\.|@|#)?[a-z0-9-]+(\.[a-z]{2,4})*(/[a-z]+)?",
    "email": r"(?i)[a-z0-9_.-]+@[a-z]+(\.[a-z]{2,4})+",
    "code": r"(?i)[a-z0-9./&-]+",
    "random": r".+",
    "reading": r"-?\d+([.-]\d+)?",
    "clock": r"\d{1,2}[:-]\d\d(:\d\d)?",
    "message": r"[A-Za-z0-9.-]+",
    "marker": r"[A-Z0-9_:./+-]+",
    "serial": r"[A-Za-z0-9./:-]+",
    "license_plate": r"[A-Z0-9-]{5,11}",
}


def draws(name: str, charset: Charset, count: int, longest: int = 25, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [PATTERNS[name](rng, charset, longest) for _ in range(count)]


def test_config_names_every_pattern():
    assert set(SourceConfig(kind="pattern").patterns) == set(PATTERNS) - set(DEVICE_PATTERNS)
    assert set(PATTERNS) == set(SHAPES)


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_has_its_shape(name):
    texts = draws(name, FULL, 2000)
    assert [text for text in texts if not re.fullmatch(SHAPES[name], text)] == []
    assert len(set(texts)) > (400 if name != "message" else 40)
    fits = [FULL.covers(text) and len(text) <= 25 for text in texts]
    assert np.mean(fits) > 0.95


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_depends_on_its_generator_alone(name):
    assert draws(name, FULL, 20, seed=3) == draws(name, FULL, 20, seed=3)
    assert draws(name, FULL, 20, seed=3) != draws(name, FULL, 20, seed=4)


def test_dates_are_possible():
    for text in draws("date", FULL, 2000):
        if match := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", text):
            assert 1900 <= int(match[1]) < 2040 and 1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 28
        if match := re.match(r"(\d\d?):(\d\d)", text):
            pytest.fail(f"a time among dates: {text}")


def test_times_are_possible():
    found = [re.match(r"(\d\d?):(\d\d)", text) for text in draws("time", FULL, 2000)]
    assert sum(match is not None for match in found) > 500
    assert all(int(match[1]) < 24 and int(match[2]) < 60 for match in found if match)


def test_ordinals():
    found = {text for text in draws("number", FULL, 20_000) if re.fullmatch(r"\d+(st|nd|rd|th)", text)}
    assert {"1st", "22nd", "3rd", "11th", "7th"} <= found
    assert not found & {"11st", "12nd", "13rd", "1th", "2th", "3th"}


def test_prices_use_only_signs_of_the_charset():
    assert not [text for text in draws("price", FULL, 2000) if re.search("[£€¥₹]", text)]
    euro = Charset("euro", tuple("0123456789.,€"))
    assert any("€" in text for text in draws("price", euro, 200))


@pytest.mark.parametrize("name", ["number", "price"])
def test_a_decimal_comma_stands_between_digits(name):
    rng, charset = np.random.default_rng(0), resolve_charset("de")
    drawn = [PATTERNS[name](rng, charset, 25) for _ in range(4000)]
    assert any(re.search(r"[0-9],[0-9]", text) for text in drawn)
    assert not [text for text in drawn if re.search(r"[A-Za-z],", text)]


def test_half_of_the_prices_have_a_decimal_comma_where_the_euro_is_known():
    ends = [text[-3:-2] for text in draws("price", resolve_charset("de"), 4000) if re.search(r"[.,]\d\d$", text)]
    assert set(ends) == {".", ","} and ends.count(",") / len(ends) == pytest.approx(0.5, abs=0.06)
    assert not [text for text in draws("price", FULL, 2000) if re.search(r",\d\d$", text)]


def test_random_is_uniform_over_the_charset_and_reaches_every_length():
    texts = draws("random", FULL, 20_000, longest=12)
    assert set(map(len, texts)) == set(range(1, 13))
    counts = np.array(list(Counter("".join(texts)).values()))
    assert len(counts) == len(FULL)
    expected = counts.sum() / len(FULL)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 93 + 5 * (2 * 93) ** 0.5  # mean + 5 standard deviations at 93 degrees of freedom


def test_random_lengths_follow_the_square_law():
    """P(length <= k) = sqrt(k / longest), from length = 1 + floor(longest u^2)."""
    lengths = np.array([len(text) for text in draws("random", FULL, 20_000, longest=16)])
    for k in (1, 4, 9, 16):
        assert (lengths <= k).mean() == pytest.approx((k / 16) ** 0.5, abs=0.018)  # 5 standard errors


@pytest.mark.parametrize(("code", "zero"), [("ar", "٠"), ("fa", "۰"), ("hi", "०"), ("bn", "০"), ("ta", ""), ("he", "")])
def test_half_of_the_numbers_are_in_native_digits(code, zero):
    charset = resolve_charset(code)
    texts = [text for text in draws("phone", charset, 2000) if text.replace("Tel:", "") == text]
    native = [text for text in texts if any(c.isdigit() and not c.isascii() for c in text)]
    assert len(native) / len(texts) == pytest.approx(0.5 if zero else 0, abs=0.06)
    for text in native:
        digits = [c for c in text if c.isdigit()]
        assert all(ord(zero) <= ord(c) < ord(zero) + 10 for c in digits)


@pytest.mark.parametrize("code", ["ru", "el", "he", "ar", "fa", "hi", "bn", "ta", "mlt", "zh"])
def test_random_strings_can_be_read_by_eye(code):
    """One script a string, so that Latin A does not stand beside Cyrillic А; marks on letters of their script."""
    charset = resolve_charset(code)
    scripts = Counter()
    for text in draws("random", charset, 3000):
        found = {script(c) for c in text} - {""}
        assert len(found) <= 1 and not set(text) & set(JOINERS)
        scripts.update(found)
        for before, after in zip(" " + text, text, strict=False):
            assert not is_mark(after) or (script(before) == script(after) and not is_mark(before))
    assert len(scripts) >= 2
