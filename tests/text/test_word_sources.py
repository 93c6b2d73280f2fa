"""Words that packages and spell checkers bring."""

from __future__ import annotations

import pytest

from dptr.config.render import SourceConfig
from dptr.text.cldr_words import cldr_words, script_of, split_words
from dptr.text.hunspell import find_dictionary, read_dictionary
from dptr.text.languages import LANGUAGES
from dptr.text.sources import read_source
from dptr.utils.errors import UserError

CLDR = sorted({each.language for code in LANGUAGES for each in LANGUAGES[code].lists if each.kind == "cldr"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Bosna i Hercegovina", ["Bosna", "Hercegovina"]),
        ("საქართველოს ლარი (GEL)", ["საქართველოს", "ლარი", "GEL"]),
        ("kilómetros/hora, 12", ["kilómetros", "hora"]),
        ("{0} dní", ["dní"]),
        ("l’Índia.", ["l’Índia"]),
        ("a b 3", []),
    ],
)
def test_split_words(text, words):
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("word", "script"), [("Żejtun", "LATIN"), ("тест", "CYRILLIC"), ("Вт1", "CYRILLIC"), ("аa", ""), ("12", "")]
)
def test_script_of(word, script):
    assert script_of(word) == script


@pytest.mark.parametrize("language", CLDR)
def test_cldr_knows_every_language_that_reads_its_words(language):
    words = cldr_words(language)
    assert len(words) > 300 and words == sorted(set(words)) and min(map(len, words)) > 1
    assert len({script_of(word) for word in words}) == 1


def test_cldr_words_are_those_of_the_locale():
    words = cldr_words("mt")
    assert {"Ġermanja", "Awstralja", "Tnejn", "Jannar"} <= set(words)
    assert read_source(SourceConfig(kind="cldr", language="mt")) == ([(word, 1.0) for word in words], {})


@pytest.mark.parametrize("language", ["xx", "", "not a language", "de_"])
def test_a_language_that_cldr_lacks(language):
    with pytest.raises(UserError, match=f"CLDR has no language '{language}'; write a code such as"):
        cldr_words(language)


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO8859-1", "microsoft-cp1251"])
def test_hunspell_reads_stems_in_their_encoding(tmp_path, encoding):
    stems = ["дом", "мир"] if "1251" in encoding else ["été", "naïf"]
    python = "cp1251" if "1251" in encoding else encoding
    text = f"4\n{stems[0]}/AB\tpo:noun\n{stems[1]}\nkm\\/h/X\n{stems[1]}/Q\n"
    (tmp_path / "xx_YY.dic").write_bytes(text.encode(python))
    (tmp_path / "xx_YY.aff").write_bytes(f"# rules\nSET {encoding}\nSFX A Y 1\n".encode())
    assert read_dictionary(tmp_path / "xx_YY.dic") == [*stems, "km/h"]
    source = SourceConfig(kind="hunspell", path=str(tmp_path / "xx_YY.dic"))
    assert read_source(source)[0] == [(word, 1.0) for word in (*stems, "km/h")]


def test_hunspell_leaves_out_what_dictionaries_say_of_a_word(tmp_path):
    entries = ("pretty ph:prity ph:priti->pretti", "work/AB po:verb", "tea\tpo:noun", "old\tnoun", "New York", "9:30")
    (tmp_path / "xx.dic").write_text("6\n" + "\n".join(entries) + "\n")
    assert read_dictionary(tmp_path / "xx.dic") == ["pretty", "work", "tea", "old", "New York", "9:30"]


def test_find_dictionary(tmp_path):
    for name in ("th_TH", "th", "thx", "te_IN", "te_XX"):
        (tmp_path / f"{name}.dic").touch()
    assert find_dictionary("th", (tmp_path / "none", tmp_path)).stem == "th"
    assert find_dictionary("te", (tmp_path,)).stem == "te_IN"
    with pytest.raises(UserError, match=r"no dictionary km\*\.dic in .*; install it \(Debian: hunspell-km\)"):
        find_dictionary("km", (tmp_path,))


@pytest.mark.parametrize(
    ("dic", "aff", "told"),
    [
        (b"1\n\xff\xfe\n", b"SET UTF-8\n", "not in the encoding 'utf-8' that x.aff names"),
        (b"1\nx\n", b"SET martian\n", "not in the encoding 'martian'"),
        (None, b"", "No such file"),
    ],
)
def test_a_broken_dictionary(tmp_path, dic, aff, told):
    if dic is not None:
        (tmp_path / "x.dic").write_bytes(dic)
    (tmp_path / "x.aff").write_bytes(aff)
    with pytest.raises(UserError, match=told):
        read_dictionary(tmp_path / "x.dic")


def test_greek_words_of_wordfreq_end_in_their_own_sigma() -> None:
    """wordfreq folds case, and with it the sigma at the end of a word."""
    pytest.importorskip("wordfreq")
    words = [word for word, _ in read_source(SourceConfig(kind="wordfreq", language="el", top=2000))[0]]
    assert {"της", "τους", "σε", "όσο"} <= {*words}
    assert not [word for word in words if len(word) > 1 and word.endswith("σ")]


@pytest.mark.parametrize(
    "text",
    [
        "one 1000\ntwo 10\nthree 0\n",
        "word\tcount\none\t1000\ntwo\t10\nthree\t0\n",
        "   1000 one\n     10 two\n      0 three\n",
        "one 1e-2\ntwo 1e-4\nthree -7\n",
        "1\tone\t1000\n3\ttwo\t10\n4\tthree\t1\n",
    ],
    ids=["counts", "heading", "uniq -c", "frequencies", "numbered"],
)
def test_counts_beside_words_are_no_words(tmp_path, text):
    (tmp_path / "words.txt").write_text(text, encoding="utf-8")
    entries, left_out = read_source(SourceConfig(kind="file", path=str(tmp_path / "words.txt")))
    assert [word for word, _ in entries] == ["one", "two", "three"]
    weights = [weight for _, weight in entries]
    assert weights[0] == 1 and weights == sorted(weights, reverse=True) and 0 < weights[2] < 0.4
    assert left_out == {"number taken as a count": 3, **({"heading": 1} if text.startswith("word") else {})}
    most = read_source(SourceConfig(kind="file", path=str(tmp_path / "words.txt"), max_words=1))
    assert [word for word, _ in most[0]] == ["one"] and most[1]["beyond 1 different words"] == 2


@pytest.mark.parametrize("text", ["one 9\n2024 5\ntwo 2\n", "9 one\n5 2024\n2 two\n"])
def test_words_with_counts_may_be_numbers(tmp_path, text):
    (tmp_path / "words.txt").write_text(text, encoding="utf-8")
    entries, _ = read_source(SourceConfig(kind="file", path=str(tmp_path / "words.txt")))
    assert [word for word, _ in entries] == ["one", "2024", "two"]


@pytest.mark.parametrize(
    "text", ["one two\nthree 4\n", "1 2\n3 4\n", "1 2 3\n3 4 5\n2 4 6", "one 1\n", "12\n", "", "\n \n"]
)
def test_other_texts_are_words_all_over(tmp_path, text):
    (tmp_path / "words.txt").write_text(text, encoding="utf-8")
    entries, left_out = read_source(SourceConfig(kind="file", path=str(tmp_path / "words.txt")))
    assert ([word for word, _ in entries], left_out) == (text.split(), {})


def test_of_many_words_some_are_chosen_by_chance(tmp_path):
    words = [f"w{number}" for number in range(1000)]
    (tmp_path / "words.txt").write_text("\n".join([*words, *words[:10]]), encoding="utf-8")
    source = SourceConfig(kind="file", path=str(tmp_path / "words.txt"), max_words=100)
    entries, left_out = read_source(source)
    chosen = {word for word, _ in entries}
    assert len(chosen) == 100 and chosen != {*words[:100]}
    assert left_out == {"beyond 100 different words": 1010 - len(entries)}
    assert read_source(source) == (entries, left_out)
    assert len(read_source(source.model_copy(update={"max_words": 1000}))[0]) == 1010


def test_a_line_is_one_text_with_its_number(tmp_path):
    """As words, each line would be a street and how often it occurs."""
    (tmp_path / "streets.txt").write_bytes("\ufeffRue Foch 12\r\n\r\n Am\u00a0Ring 4 \r\nRue Foch 12".encode())
    source = SourceConfig(kind="lines", path=str(tmp_path / "streets.txt"))
    expected = [("Rue Foch 12", 1.0), ("Am\u00a0Ring 4", 1.0), ("Rue Foch 12", 1.0)]
    assert read_source(source) == (expected, {})
    entries, left_out = read_source(source.model_copy(update={"max_words": 1}))
    assert len({entry for entry, _ in entries}) == 1
    assert left_out == {"beyond 1 different words": 3 - len(entries)}
