"""Text and JSON that command no terminal; the rest of a text stays as it is."""

import json
import math
import subprocess
import sys
import unicodedata

from dptr.utils.escapes import dump_json, escape


def test_no_control_and_no_sign_of_direction_is_left() -> None:
    for code in range(0x3000):
        character = chr(code)
        seen = escape(character)
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        ):
            assert seen.isascii() and seen.isprintable() and seen.startswith("\\"), hex(code)
            assert seen.encode().decode("unicode_escape") == character
        elif code not in (0x200E, 0x200F, 0x61C):  # marks of direction, which are of classes L, R and AL
            assert seen == character
    assert escape("a\tb\n\x1b[2J\u202ecod.exe") == r"a\tb\n\x1b[2J\u202ecod.exe"
    assert escape("a\tb\nc", keep="\n") == "a\\tb\nc"
    assert escape("किताब \u200d 東京 C:\\new") == "किताब \u200d 東京 C:\\new"


def test_bytes_that_are_no_utf_8_stay_and_other_halves_of_characters_do_not() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert escape(name) == name
    assert escape("\ud83d") == "\\ud83d"


def test_json_says_what_it_was_given() -> None:
    value = {"a\u202e": ["\x7f\x9b2J", "\ud800", "é東", 1.5, None], "b": {"c": "line\nbreak"}}
    for indent in (None, 1):
        text = dump_json(value, indent)
        assert json.loads(text) == value
        assert escape(text, keep="\n") == text and text.encode()
    assert "é東" in dump_json(value)


def test_json_has_no_nan() -> None:
    value = {"nan": math.nan, "list": [1.0, math.inf, (-math.inf, 2)], "text": "NaN"}
    text = dump_json(value)
    assert json.loads(text, parse_constant=lambda name: 1 / 0) == {
        "nan": None, "list": [1.0, None, [None, 2]], "text": "NaN",
    }  # fmt: skip


def test_an_error_is_one_line_whatever_it_names() -> None:
    code = "from dptr.utils.terminal import say_error; say_error('no\\x1b[2J\\nsuch\\tfile\\ud800')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stderr == rb"dptr: error: no\x1b[2J such\tfile\ud800" + b"\n"
