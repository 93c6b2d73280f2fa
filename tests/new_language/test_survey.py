"""What there is for a language: characters, words, fonts."""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path
from unicodedata import normalize

import pytest
from PIL import features

from dptr.new_language.survey import Request, infer_charset, split_families, survey
from dptr.synth import EMBEDDED
from dptr.text.casing import key
from dptr.text.corpus import Corpus
from dptr.text.language import ASCII
from dptr.text.languages import LANGUAGES
from dptr.utils.errors import UserError

FONTS = (Path(__file__).parents[1] / "fonts",)


@pytest.fixture
def maltese(tmp_path) -> Path:
    """A list of words with letters that ASCII lacks, one letter in a single word, and signs."""
    rng = random.Random(0)
    words = {"".join(rng.choices("abċdeġħiżàm", k=6)) for _ in range(400)}
    path = tmp_path / "kliem.txt"
    path.write_text("\n".join([*sorted(words), "Ω"]), encoding="utf-8")
    return path


def names(paths: tuple[str, ...]) -> set[str]:
    """The fonts' names, but for the embedded ones."""
    return {Path(path).stem for path in paths if Path(path).parent != EMBEDDED}


def embedded(paths: tuple[str, ...]) -> set[str]:
    return {Path(path).name for path in paths if Path(path).parent == EMBEDDED}


def test_a_listed_language():
    found = survey(Request("ka", None, "", FONTS))
    assert (found.name, found.charset.name) == ("Georgian", "ka")
    assert [(each.kind, each.language) for each in found.corpus.sources[:-1]] == [("cldr", "ka")]
    assert found.corpus.sources[-1].kind == "pattern"
    assert names(found.train_fonts) == {"NotoSansGeorgian"} == names(found.test_fonts)
    told = "\n".join(found.notes)
    assert "cldr:ka: 2," in told and "fonts: 1 family draws Georgian" in told
    assert "names alone are a small vocabulary; more words would help: pass --words FILE" in told
    assert "more fonts would help: pass --fonts DIR with other families" in told, "Noto's are there already"
    assert "one family alone: the test is drawn with the font of the training" in told


def test_fonts_of_the_test_are_of_other_families():
    sans, serif = {"NotoSansBengali"}, {"NotoSerifBengali"}
    found = survey(Request("as", None, "", FONTS))
    assert [names(found.train_fonts), names(found.test_fonts)] in ([serif, sans], [sans, serif])


@pytest.mark.parametrize(("code", "fonts"), [("ka", FONTS), ("de", (EMBEDDED,))], ids=["beside", "alone"])
def test_embedded_fonts_are_divided_too(code, fonts):
    found = survey(Request(code, None, "", fonts))
    train, test = embedded(found.train_fonts), embedded(found.test_fonts)
    assert not train & test and len(test) >= 3
    assert train | test == {path.name for path in EMBEDDED.glob("*.ttf")}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 37])
def test_split_families(count):
    families = {f"family {number}": {f"{number}-a.ttf", f"{number}-b.ttf"} for number in range(count)}
    trained, tested = split_families(families)
    assert {*trained} | {*tested} == set().union(*families.values())
    assert len(tested) == 2 * max(1, round(count / 5))
    assert {*trained} == {*tested} if count == 1 else not {*trained} & {*tested}
    grown = split_families({**families, "another": {"another.ttf"}})
    assert len({*trained} - {*grown[0]}) <= 2, "one family more moves at most one"


def test_a_file_with_faces_of_both_sides_is_held_out():
    families = {str(number): {"all.ttc", f"{number}.ttf"} for number in range(6)}
    trained, tested = split_families(families)
    assert "all.ttc" in tested and "all.ttc" not in trained


def test_a_dictionary_that_is_installed_is_used(tmp_path, monkeypatch):
    words = [f"{first}ನ{second}" for first in "ಕಖಗಘಚಛಜಝಟಠಡಢ" for second in "ತಥದಧಪಫಬಭಮಯರಲ"]
    (tmp_path / "kn_IN.dic").write_text("\n".join([str(len(words)), *words]), encoding="utf-8")
    monkeypatch.setattr("dptr.new_language.survey.find_dictionary", lambda code: tmp_path / f"{code}_IN.dic")
    found = survey(Request("kn", None, "", FONTS))
    assert [(each.kind, each.weight) for each in found.corpus.sources] == [
        ("hunspell", 0.6), ("cldr", 0.15), ("pattern", 0.25)
    ]  # fmt: skip
    assert "hunspell:" in "\n".join(found.notes) and "144 words" in "\n".join(found.notes)


def test_own_words_bring_their_characters(maltese):
    found = survey(Request("", maltese, "", FONTS))
    assert "".join(found.charset.characters) == ASCII + "ÀàĊċĠġĦħŻż", "a letter of one entry alone is a slip"
    assert f"characters of {maltese} beyond ASCII: À à Ċ ċ Ġ ġ Ħ ħ Ż ż" in found.notes
    assert [note for note in found.notes if note.startswith("left out") and note.endswith(": Ω")]
    assert found.name == "kliem" and found.corpus.sources[0].path == str(maltese)


@pytest.mark.parametrize(
    ("letters", "characters"),
    [("ɓɗƙƴ", "ƁƊƘƙƳƴɓɗ"), ("ДЖ", "ДЖдж"), ("აბ", "აბ"), ("ᎠᎡ", "ᎠᎡ"), ("ßµ", "µß"), ("אב", "אב")],
)
def test_a_list_in_one_case_brings_the_other(letters, characters, tmp_path):
    """Where words are written in both."""
    (tmp_path / "words.txt").write_text(f"{letters}\n{letters}a\n", encoding="utf-8")
    assert "".join(infer_charset(tmp_path / "words.txt").characters) == ASCII + characters


def test_labels_bring_their_characters():
    """Crops with others cannot be learned from, and are left out."""
    labels = ["Жж", "ბარი Ж", "caf\ufffd", "\x07ბ\x07", "aèè", "bè", "Я"]
    found = survey(Request("ka", None, "", FONTS), labels)
    assert "".join(found.charset.characters) == LANGUAGES["ka"].charset + "èЖ"
    assert "characters of the labels that charset 'ka' lacks, added: è Ж" in found.notes
    assert "learned from the crops alone, as no font of the training draws them: Ж" in found.notes
    assert [note for note in found.notes if note.startswith("left out, as fewer than 2 labels") and note[-3:] == "Я ж"]
    assert found.train_fonts == survey(Request("ka", None, "", FONTS)).train_fonts


def test_a_charset_that_was_asked_for_stays():
    assert survey(Request("ka", None, "ka", FONTS), ["Ж", "Ж"]).charset.characters == tuple(LANGUAGES["ka"].charset)


def test_accents_typed_apart_are_part_of_their_letters(tmp_path, maltese):
    apart = tmp_path / "apart.txt"
    apart.write_text(normalize("NFD", maltese.read_text(encoding="utf-8")), encoding="utf-8")
    assert "\u0307" in apart.read_text(encoding="utf-8")
    assert infer_charset(apart).characters == infer_charset(maltese).characters


def test_infer_charset_reads_gzip(tmp_path, maltese):
    packed = tmp_path / "words.gz"
    packed.write_bytes(gzip.compress(maltese.read_bytes()))
    assert infer_charset(packed).characters == infer_charset(maltese).characters


def test_a_dictionary_of_hunspell_is_no_list_of_words(tmp_path):
    """Its first line is a count, and its entries carry the letters of rules."""
    words = [f"{first}{middle}{last}" for first in "abcdefg" for middle in "\u0121\u012b" for last in "mnopqrst"]
    (tmp_path / "mt_MT.dic").write_text("\n".join(["112", *(f"{word}/XY" for word in words)]), encoding="utf-8")
    found = survey(Request("", tmp_path / "mt_MT.dic", "", FONTS))
    assert "".join(found.charset.characters) == ASCII + "\u0120\u0121\u012a\u012b"
    assert found.corpus.sources[0].kind == "hunspell"
    assert "112 entries, 112 words" in "\n".join(found.notes)


def test_latin_words_do_not_make_a_recognizer_of_another_script(tmp_path):
    """Every charset can write them, so that they were drawn, and the recognizer read no letter of its script."""
    path = tmp_path / "latin.txt"
    words = [first + second + third for first in "abcdef" for second in "ghijkl" for third in "mnopqr"]
    path.write_text("\n".join([*words, "ბარი", "კარი"]), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"2 of its 218 words have a letter of charset 'ka' beyond Latin ones, such as ა"
    ):
        survey(Request("", path, "ka", FONTS))
    assert survey(Request("", path, "", FONTS)).train_fonts, "of no charset that was asked for"


def test_a_large_list_is_cut(tmp_path, maltese, monkeypatch):
    monkeypatch.setattr("dptr.new_language.survey.MOST_WORDS", 150)
    found = survey(Request("", maltese, "", FONTS))
    assert re.search("1(49|50) words in this split; left out: beyond 150 different words", "\n".join(found.notes))
    assert found.corpus.sources[0].max_words == 150


def test_without_raqm_a_script_that_needs_it_is_refused(maltese, monkeypatch):
    """Else such words would be passed over one by one, and a recognizer be trained that reads numbers alone."""
    monkeypatch.setattr(features, "check", lambda name: False)
    for code in ("hi", "fa"):
        with pytest.raises(UserError, match=r"raqm alone, which is not at hand; install libfribidi0 \(Debian\)"):
            survey(Request(code, None, "", FONTS))
    assert survey(Request("", maltese, "", FONTS)).train_fonts


def test_own_words_in_a_language(maltese):
    found = survey(Request("mt", maltese, "", FONTS))
    assert found.charset.characters == tuple(LANGUAGES["mt"].charset)
    assert [each.kind for each in found.corpus.sources] == ["file", "pattern"]


def test_own_words_have_the_capitals_of_the_language_with_another_charset_too(tmp_path):
    rng = random.Random(0)
    listed = {"".join(rng.choices("aeiklmnr", k=7)) for _ in range(400)}
    (tmp_path / "words.txt").write_text("\n".join(sorted(listed)))
    (tmp_path / "letters.txt").write_text(LANGUAGES["tr"].charset)
    found = survey(Request("tr", tmp_path / "words.txt", str(tmp_path / "letters.txt"), FONTS))
    source = Corpus(found.corpus, found.charset, 25, 0, "all")
    drawn = [word for word in map(source.word, range(2000)) if key(word) in listed and word.upper() == word]
    assert len(drawn) > 100 and any("İ" in word for word in drawn)
    assert not any("I" in word for word in drawn)


@pytest.mark.parametrize(
    ("code", "words", "charset", "told"),
    [
        ("xx", None, "", r"language 'xx': not one of the \d+ listed"),
        ("", None, "", "no language: name one by its code, such as ka, or pass --words"),
        ("ka", "kliem", "", r"5 words that charset 'ka' can write \(left out: outside charset 3"),
        ("", "one", "", "1 words that charset 'one' can write; pass at least 100"),
        ("", "utf16", "", "not UTF-8; save the file as UTF-8"),
        ("", "missing", "", "No such file"),
        ("", "kliem", "ru", r"5 words that charset 'ru' can write \(left out"),
        ("de", None, "de+space", "it holds the space, and words are learned one at a time"),
    ],
)
def test_what_cannot_be(tmp_path, maltese, code, words, charset, told):
    (tmp_path / "one.txt").write_text("kelma\n", encoding="utf-8")
    (tmp_path / "utf16.txt").write_bytes("kelma\n".encode("utf-16"))
    request = Request(code, tmp_path / f"{words}.txt" if words else None, charset, FONTS)
    with pytest.raises(UserError, match=told):
        survey(request)


@pytest.mark.parametrize(("code", "package"), [("ka", "fonts-noto-core"), ("ko", "fonts-noto-cjk")])
def test_fonts_of_another_script(font_folder, code, package):
    with pytest.raises(UserError, match=rf"none of the 1 fonts draws 90% of its .* letters; install {package}"):
        survey(Request(code, None, "", (font_folder,)))


@pytest.mark.slow
@pytest.mark.parametrize("code", [code for code in LANGUAGES if code not in ("zh", "ja", "ko", "mlt")])
def test_every_language_has_words_and_a_font(code):
    """But for those whose letters the fonts of the tests hold in part."""
    pytest.importorskip("wordfreq")
    found = survey(Request(code, None, "", FONTS))
    assert found.train_fonts and found.test_fonts
