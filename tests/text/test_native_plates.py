"""Plates in other letters than Latin: their shapes, and that letters which would join stand apart."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dptr.text.charset import resolve_charset
from dptr.text.native_plates import NATIVE_PLATES, native_plate
from dptr.text.patterns import plate

SHAPES = {
    "ar+space": r"[ء-ي]( [ء-ي]){1,2} ([0-9]{2,4}|[٠-٩]{2,4})|\d{2,3} ?تونس ?\d{4}",
    "fa+space": r"([0-9]{2}|[۰-۹]{2}) [ء-ی] ([0-9]{3} ?[0-9]{2}|[۰-۹]{3} ?[۰-۹]{2})",
    "ko": r"(서울|경기|부산)?\d{2,3}[가-힣]\d{4}",
    "ko+space": r"(서울|경기|부산)?\d{2,3}[가-힣] ?\d{4}",
    "zh": r"[一-龥][A-Z][A-Z0-9]{5,6}",
    "ja+space": r"(\S+\d{3} )?[ぁ-ん] \d\d-\d\d",
    "th": r"\d?[ก-ฮ]{1,2}\d{3,4}",
    "bn+space": r"(ঢাকা|চট্ট) মেট্রো [ক-হ] ([0-9]{2}-[0-9]{4}|[০-৯]{2}-[০-৯]{4})",
    "devanagari": r"(बा|ना)([0-9]{1,2}|[०-९]{1,2})[क-ह]([0-9]{3,4}|[०-९]{3,4})",
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    charset, rng = resolve_charset(name), np.random.default_rng(0)
    texts = [native_plate(rng, charset) for _ in range(1000)]
    assert [text for text in texts if not re.fullmatch(SHAPES[name], text)] == []
    assert all(map(charset.covers, texts))
    assert len(set(texts)) > 400


@pytest.mark.parametrize("name", ["94", "latin", "cyrillic", "ur+space", "ta+space"])
def test_other_charsets_have_latin_plates_alone(name: str) -> None:
    charset, rng = resolve_charset(name), np.random.default_rng(0)
    assert native_plate(rng, charset) == ""
    assert rng.random() == np.random.default_rng(0).random()
    assert all(plate(rng, charset).isascii() for _ in range(100))


def test_letters_that_join_need_spaces() -> None:
    """Without the space س ص would be drawn as سص."""
    assert not NATIVE_PLATES["Egypt, Saudi Arabia"].fits(resolve_charset("ar"))
    rng = np.random.default_rng(0)
    assert {native_plate(rng, resolve_charset("fa")) for _ in range(50)} == {""}


def test_half_of_the_plates_are_native() -> None:
    rng = np.random.default_rng(0)
    texts = [plate(rng, resolve_charset("ko")) for _ in range(2000)]
    assert 0.45 < np.mean([not text.isascii() for text in texts]) < 0.55
