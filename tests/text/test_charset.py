"""Charsets, normalization and label checks."""

from __future__ import annotations

import string
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dptr.text.charset import (
    BARE_MARK,
    CHARSETS,
    EMPTY,
    MIXED,
    OUTSIDE,
    TOO_LONG,
    Charset,
    check_label,
    extend_charset,
    normalize_label,
    resolve_charset,
    show,
)
from dptr.text.languages import LANGUAGES
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError


def refusal(call, *arguments) -> str:
    """The message of the UserError that ``call`` raises; one line."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", CHARSETS)
def test_named_set_has_the_size_it_is_named_after(name):
    charset = resolve_charset(name)
    assert len(charset) == int(name) == len(set(charset.characters))
    assert [charset.index(character) for character in charset.characters] == list(range(len(charset)))


def test_order_is_parseqs():
    assert "".join(resolve_charset("94").characters) == (
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    )


def test_membership_and_index():
    charset = resolve_charset("36")
    assert "a" in charset and "A" not in charset and "ab" not in charset and 3 not in charset
    assert charset.covers("a1") and charset.covers("") and not charset.covers("aé")
    message = refusal(charset.index, "É")
    assert "U+00C9" in message and "36" in message


@pytest.mark.parametrize(
    ("characters", "named"),
    [
        ((), "no characters"),
        (("a", "b", "a"), "'a' appears twice"),
        (("ab",), "'ab'"),
        (("",), "''"),
        (("\u00a0",), "U+00A0"),
        (("\u212b",), "U+212B"),  # Angstrom sign: NFC is U+00C5
        (("\x07",), "U+0007"),
        (("\ud800",), "U+D800"),
        (("\u200b",), "U+200B"),
        (("\u200f",), "U+200F"),  # a mark of direction, which nobody sees
        (("\u0301", "\u0302"), "only combining marks, such as '\u0301' (U+0301)"),
        (("\u093f", "\u094d"), "add the letters"),
    ],
)
def test_bad_character_is_refused_by_name(characters, named):
    assert named in refusal(Charset, "x", characters)


@pytest.mark.parametrize(("spec", "nearest"), [("95", "94"), ("eng", "en"), ("no/such/file.txt", ""), ("", "")])
def test_unknown_spec_names_the_nearest(spec, nearest):
    message = refusal(resolve_charset, spec)
    assert f"'{spec}'" in message and "36, 62, 94" in message
    assert (f"did you mean '{nearest}'" in message) == bool(nearest)


def test_charset_file(tmp_path):
    path = tmp_path / "greek.txt"
    path.write_bytes("\ufeffαβγ\r\n δ\u1f71\n".encode())  # BOM, CRLF, space, a non-NFC alpha with oxia
    charset = resolve_charset(str(path))
    assert charset.name == "greek"
    assert charset.characters == ("α", "β", "γ", "δ", "\u03ac")


def test_charset_file_keeps_marks_apart(tmp_path):
    path = tmp_path / "bengali.txt"
    path.write_text("ক\u09c7\u09be", encoding="utf-8")  # NFC of the line would compose the two vowel signs to U+09CB
    assert resolve_charset(str(path)).characters == ("ক", "\u09c7", "\u09be")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "no characters"),
        (b"ab\xff", "byte 2"),
        (b"\xff\xfea\0", "UTF-8"),
        ("äöü".encode("latin-1"), "save it as UTF-8"),
        (b"aa", "'a' appears twice"),
        ("é b é".encode(), "(U+00E9) appears twice"),
        (b"ab\x1b[0m", "(U+001B)"),
        ("\u0301 \u0302".encode(), "only combining marks"),
    ],
)
def test_bad_charset_file(tmp_path, content, named):
    path = tmp_path / "set.txt"
    path.write_bytes(content)
    assert named in refusal(resolve_charset, str(path))


def test_a_charset_grows_by_what_enough_labels_hold():
    labels = ["Cafe\u0301", "é", "ß é", "\x07ß", "ｅ", "ÀÀÀ"]  # é in three labels, ß in two, À thrice in one
    latin = resolve_charset("62")
    assert extend_charset(latin, labels, 1).characters == (*latin.characters, "À", "ß", "é")
    assert extend_charset(latin, labels, 2).characters == (*latin.characters, "ß", "é")
    assert extend_charset(latin, labels, 3) == Charset("62", (*latin.characters, "é"))
    assert extend_charset(latin, labels, 4) is latin
    assert extend_charset(resolve_charset("36"), ["Ä", "ä"], 2).characters[36:] == (
        "ä",
    )  # as a set without upper case spells it


def test_what_a_program_could_not_read_is_no_character():
    latin = resolve_charset("62")
    assert extend_charset(latin, ["caf\ufffd", "\x9f", "\ue000"]).characters == (*latin.characters, "\ue000")


INVISIBLE = {
    *"\u200b\u2060\ufeff\u00ad\u061c\u200e\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}


@given(st.text())
@example("e \u0301")  # composes only once the space is gone
@example("\u0301\ufeffe\u200b\u0301")
@example("\u09c7 \u09be")
def test_normalize(text):
    once = normalize_label(text)
    assert normalize_label(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not any(character.isspace() for character in once)
    spelled = [c for c in unicodedata.normalize("NFD", text) if not c.isspace() and c not in INVISIBLE]
    assert unicodedata.normalize("NFD", once) == unicodedata.normalize("NFD", "".join(spelled))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Genaxis Theatre", "GenaxisTheatre"),
        ("Cafe\u0301", "Café"),
        ("中 文", "中文"),
        ("\ufeffa\u00a0b\r\n", "ab"),
        ("ﬁ", "ﬁ"),  # no NFKC
        ("２", "２"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # joiners spell
        ("\u202bשלום\u202c\u200f!", "שלום!"),
        ("क\u093c", "क\u093c"),  # NFC takes U+0958 apart
        ("\u0958", "क\u093c"),
        ("ক\u09c7\u09be", "ক\u09cb"),
        ("\u1112\u1161\u11ab", "한"),
        ("İ", "İ"),
    ],
)
def test_normalize_examples(raw, clean):
    assert normalize_label(raw) == clean


@pytest.mark.parametrize(
    ("label", "charset", "expected"),
    [
        ("Hello!", "94", ("Hello!", None)),
        (" a b ", "94", ("ab", None)),
        ("Hello", "36", ("hello", None)),  # PARSeq's CharsetAdapter folds too
        ("Hello!", "36", ("hello!", OUTSIDE)),
        ("Hello", "62", ("Hello", None)),
        ("  ", "94", ("", EMPTY)),
        ("", "94", ("", EMPTY)),
        ("中文", "94", ("中文", OUTSIDE)),
        ("😀", "94", ("😀", OUTSIDE)),
        ("a" * 10, "94", ("a" * 10, None)),
        ("a" * 11, "94", ("a" * 11, TOO_LONG)),
        ("é" * 11, "94", ("é" * 11, OUTSIDE)),
        ("Cafe\u0301", "fr", ("Café", None)),
        ("\u0301Cafe", "fr", ("\u0301Cafe", OUTSIDE)),
        ("\u093fक", "hi", ("\u093fक", BARE_MARK)),
        ("क\u093f", "hi", ("क\u093f", None)),
        ("\u064e", "ar", ("\u064e", BARE_MARK)),
        ("WiFiواي", "ar", ("WiFiواي", MIXED)),
        ("24ساعة", "ar", ("24ساعة", None)),
        ("(שלום)", "he", ("(שלום)", None)),
        ("שa", "he", ("שa", MIXED)),
        ("שa", "mlt", ("שa", OUTSIDE)),
    ],
)
def test_check_label(label, charset, expected):
    assert check_label(label, resolve_charset(charset), max_length=10) == expected


@pytest.mark.parametrize(
    ("code", "label", "folded"),
    [
        ("zh", "ＡＢ１２", "AB12"),
        ("zh", "（Ａ）！￥", "（A）！¥"),  # full-width signs of the charset stay
        ("ko", "（한）", "(한)"),
        ("ja", "10～20", "10〜20"),
        ("zh", "10〜20", "10～20"),
        ("fa", "كتاب‌هاي", "کتاب‌های"),
        ("ar", "کتابی", "كتابي"),
        ("ar", "كتــاب", "كتاب"),
        ("he", "צה״ל", 'צה"ל'),
        ("uk", "м\u02bcята", "м’ята"),
        ("en", "\u0640", "\u0640"),  # no business of a charset without Arabic
        ("mlt", "ي", "ي"),
    ],
)
def test_variants_give_way_to_what_the_charset_writes(code, label, folded):
    charset = resolve_charset(code)
    assert charset.fold(label) == folded == charset.fold(folded)


def test_fold_to_upper_and_not_at_all():
    plates = Charset("plates", tuple(string.digits + string.ascii_uppercase + "ª"))
    assert plates.fold("ab1") == "AB1"
    assert Charset("digits", tuple(string.digits)).fold("aB") == "aB"
    assert Charset("han", ("中", "文")).fold("aB") == "aB"


@given(st.text(), st.sampled_from([*CHARSETS, "fa", "zh", "hi"]), st.integers(1, 30))
def test_check_label_is_idempotent_and_keeps_its_word(label, name, max_length):
    charset = resolve_charset(name)
    text, reason = check_label(label, charset, max_length)
    assert check_label(text, charset, max_length) == (text, reason)
    if reason is None:
        assert 1 <= len(text) <= max_length and set(text) <= set(charset.characters)


def test_show():
    assert show("ab") == "'ab'"
    assert show("é") == "'é' (U+00E9)"
    assert show("\n") == "(U+000A)"


def test_text_imports_neither_torch_nor_optional_packages():
    code = (
        "import sys, dptr.text.corpus, dptr.text.tokenizer, dptr.text.charset\n"
        "print([name for name in ('torch', 'cv2', 'wordfreq', 'lmdb', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_charset_with_the_space_keeps_the_words_of_a_line_apart():
    charset = resolve_charset("94+space")
    assert charset.characters == (*resolve_charset("94").characters, " ") and charset.name == "94+space"
    assert charset.spaced and not resolve_charset("94").spaced
    raw = "  TOTAL\u00a0 RM\t5.90\u200b \u3000"
    assert check_label(raw, charset, 25) == ("TOTAL RM 5.90", None)
    assert check_label(raw, resolve_charset("94"), 25) == ("TOTALRM5.90", None)
    assert check_label("TOTAL RM 5.90", charset, 12)[1] == TOO_LONG and check_label(" \t", charset, 12)[1] == EMPTY
    assert Tokenizer(charset, 8).encode(["a b"])[0, 1:4].tolist() == [11, 95, 12]


@pytest.mark.parametrize("name", ["de", "36", "ar"])
def test_any_charset_can_have_the_space(name, tmp_path):
    plain = resolve_charset(name)
    spaced = resolve_charset(f"{name}+space")
    assert spaced.characters == (*plain.characters, " ")
    word = "".join(plain.characters[:3])
    assert spaced.fold(spaced.normalize(f" {word}  {word}")) == f"{word} {word}"
    (tmp_path / "own").write_text("abc")
    assert resolve_charset(str(tmp_path / "own") + "+space").characters == ("a", "b", "c", " ")


@given(st.data(), st.sampled_from([*CHARSETS, "36+space", "ru+space", *LANGUAGES]), st.integers(1, 12))
def test_the_quick_look_at_a_label_changes_nothing(data, name, max_length):
    charset = resolve_charset(name)
    thorough = Charset(charset.name, charset.characters)
    vars(thorough)["_plain"] = frozenset()
    letters = st.one_of(st.sampled_from(charset.characters), st.sampled_from("aA \u0301\u1100\u1161\u11a8\u200dא１"))
    label = data.draw(st.text(letters, max_size=14))
    assert check_label(label, charset, max_length) == check_label(label, thorough, max_length)


def test_jamo_are_not_plain():
    jamo = Charset("jamo", tuple("가각\u1100\u1161\u11a8a"))
    assert check_label("\u1100\u1161\u11a8", jamo, 5) == ("각", None)
    assert jamo.is_plain("가a") and not jamo.is_plain("\u1100") and not resolve_charset("he").is_plain("אב")


@given(st.text())
@example("a\u200b b")
@example(" \u00ad ")
def test_normalizing_with_spaces_is_idempotent_and_differs_in_spaces_alone(text):
    once = normalize_label(text, spaces=True)
    assert normalize_label(once, spaces=True) == once == once.strip() and "  " not in once
    assert normalize_label(once) == normalize_label(text)


def test_words_with_spaces_are_not_white_space_alone():
    assert "white space but the space" in refusal(Charset, "x", ("a", "\t"))
    assert Charset("x", ("a", " ")).covers("a a")
    grown = extend_charset(resolve_charset("36+space"), ["a b!", "c d!"], 2)
    assert grown.characters[36:] == (" ", "!")
