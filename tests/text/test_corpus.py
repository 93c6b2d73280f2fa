"""Corpora: mixtures, styles, splits, drops, purity, bad files."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import pickle
import string
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.data.lmdb import write_lmdb
from dptr.text import pattern_lists
from dptr.text.charset import EMPTY, OUTSIDE, TOO_LONG, Charset, check_label, resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.pattern_lists import NO_FIT
from dptr.text.patterns import PATTERNS
from dptr.text.rules import Limit, is_heldout
from dptr.text.sources import PLACEHOLDER
from dptr.utils.errors import UserError

FULL = resolve_charset("94")
PLAIN = {"upper": 0.0, "title": 0.0, "mixed": 0.0, "punctuation": 0.0}
wordfreq = pytest.mark.skipif(importlib.util.find_spec("wordfreq") is None, reason="wordfreq is not installed")


@pytest.fixture
def words(tmp_path) -> Path:
    """A list of 3,000 lower-case words."""
    path = tmp_path / "words.txt"
    letters = np.random.default_rng(0).integers(26, size=(3000, 7))
    path.write_text("\n".join("".join(string.ascii_lowercase[i] for i in row) for row in letters), encoding="utf-8")
    return path


def of_file(path: Path | str, **settings) -> CorpusConfig:
    return CorpusConfig(sources=(SourceConfig(kind="file", path=str(path)),), **settings)


def of_patterns(*names: str, **settings) -> CorpusConfig:
    return CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=names),), **settings)


def take(corpus: Corpus, count: int) -> list[str]:
    return [corpus.word(index) for index in range(count)]


def refusal(config: CorpusConfig, charset: Charset = FULL, max_length: int = 25, split="train") -> str:
    with pytest.raises(UserError) as caught:
        Corpus(config, charset, max_length, 0, split)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- files


def test_file_is_read_through_bom_crlf_blank_lines_and_gzip(tmp_path):
    content = "\ufeffone\r\n\r\ntwo\r\nthree \t four\r\n".encode()
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed").write_bytes(gzip.compress(content, mtime=0))
    for name in ("plain", "packed"):
        corpus = Corpus(of_file(tmp_path / name, **PLAIN), FULL, 25, 0, "all")
        assert set(take(corpus, 200)) == {"one", "two", "three", "four"}
        assert corpus.words == {f"file:{tmp_path / name}": 4} and corpus.dropped == {}


def test_every_word_left_out_is_counted_by_reason(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("good\nnaïve\n中文\nexcessively\nfine\nгод\n", encoding="utf-8")
    corpus = Corpus(of_file(path), FULL, 8, 0, "all")
    assert corpus.dropped == {OUTSIDE: 3, TOO_LONG: 1}
    assert list(corpus.words.values()) == [2]
    assert "6 entries, 2 words in this split; left out: outside charset 3, too long 1" in corpus.describe()


def test_a_word_is_drawn_as_often_as_it_is_listed(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("often often often rare", encoding="utf-8")
    drawn = Counter(take(Corpus(of_file(path, **PLAIN), FULL, 25, 0, "all"), 8000))
    assert drawn["often"] / 8000 == pytest.approx(0.75, abs=0.025)  # 5 standard errors


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "No such file"),
        ("folder", "directory"),
        (b"caf\xe9", "byte 3 is not UTF-8"),
        ("word\n".encode("utf-16"), "not UTF-8"),
        (gzip.compress(b"word " * 100, mtime=0)[:-9], "damaged gzip"),
        (gzip.compress(b"word " * 100, mtime=0)[:12] + b"\0" * 20, "damaged gzip"),
        (b"\x1f\x8b\x07", "damaged gzip"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "labels"])
def test_bad_file_is_one_clear_line(tmp_path, kind, content, named):
    path = tmp_path / "words.txt"
    if content == "folder":
        path.mkdir()
        named = named if kind == "file" else "neither labels.tsv"
    elif content is not None:
        path.write_bytes(content)
    message = refusal(CorpusConfig(sources=(SourceConfig(kind=kind, path=str(path)),)))
    assert named in message and str(path) in message


@pytest.mark.parametrize(
    ("kind", "content", "named"),
    [
        ("file", "", "it holds none"),
        ("file", " \r\n \n", "it holds none"),
        ("file", "中 文文 excessively", "outside charset 2, too long 1"),
        ("labels", "", "it holds none"),
        ("labels", "a.png\t中\nb.png\t \n", "empty label 1, outside charset 1"),
    ],
)
def test_nothing_left_is_refused_with_the_counts(tmp_path, kind, content, named):
    path = tmp_path / "words.txt"
    path.write_text(content, encoding="utf-8")
    message = refusal(CorpusConfig(sources=(SourceConfig(kind=kind, path=str(path)),)), max_length=10)
    assert named in message and str(path) in message


@pytest.mark.parametrize("kind", ["file", "labels"])
def test_empty_path_is_refused(kind):
    assert "path is empty" in refusal(CorpusConfig(sources=(SourceConfig(kind=kind),)))


# --- labels


def test_labels_come_as_they_are(tmp_path):
    (tmp_path / "labels.tsv").write_bytes(
        "\ufeffa.png\tMiXed\r\nb.png\tTwo Words\r\nc.png\t\r\nd.png\té\r\n\r\n".encode()
    )
    for path in (tmp_path, tmp_path / "labels.tsv"):
        config = CorpusConfig(sources=(SourceConfig(kind="labels", path=str(path)),), punctuation=1.0)
        corpus = Corpus(config, FULL, 25, 0, "all")
        assert set(take(corpus, 100)) == {"MiXed", "TwoWords"}
        assert corpus.dropped == {EMPTY: 1, OUTSIDE: 1}


def test_label_line_without_tab_is_named(tmp_path):
    (tmp_path / "labels.tsv").write_text("a.png\tword\nb.png word\n", encoding="utf-8")
    message = refusal(CorpusConfig(sources=(SourceConfig(kind="labels", path=str(tmp_path)),)))
    assert "line 2" in message and "tab" in message


@pytest.mark.skipif("DPTR_DATA" not in os.environ, reason="DPTR_DATA is unset: no real labels")
def test_labels_of_iiit5k():
    config = CorpusConfig(sources=(SourceConfig(kind="labels", path=f"{os.environ['DPTR_DATA']}/iiit5k/train"),))
    corpus = Corpus(config, FULL, 25, 0, "all")
    assert "2,000 entries" in corpus.describe() and corpus.dropped == {}


# --- wordfreq


@wordfreq
def test_wordfreq_draws_with_tempered_frequencies():
    from wordfreq import get_frequency_dict

    frequencies = get_frequency_dict("en", "best")
    for flatten in (0.0, 0.5, 1.0):
        source = SourceConfig(kind="wordfreq", top=20, flatten=flatten)
        corpus = Corpus(CorpusConfig(sources=(source,), **PLAIN), FULL, 25, 0, "all")
        ranked = sorted(set(frequencies) - {"00"}, key=frequencies.__getitem__, reverse=True)[:19]
        weights = np.array([frequencies[word] ** (1 - flatten) for word in ranked])
        drawn = Counter(take(corpus, 10_000))
        shares = np.array([drawn[word] / 10_000 for word in ranked])
        assert shares == pytest.approx(weights / weights.sum(), abs=0.025)
        assert sum(drawn.values()) == sum(drawn[word] for word in ranked)


@wordfreq
def test_wordfreq_odd_entries_are_counted():
    from wordfreq import get_frequency_dict
    from wordfreq.numbers import MULTI_DIGIT_RE

    top = list(get_frequency_dict("en", "best"))[:20_000]  # most frequent first
    config = CorpusConfig(sources=(SourceConfig(kind="wordfreq", top=20_000),))
    corpus = Corpus(config, resolve_charset("36"), 25, 0, "all")
    merged = {word for word in top if MULTI_DIGIT_RE.search(word)}
    outside = {word for word in top if not (word.isascii() and word.isalnum())} - merged
    assert {"00", "0,000", "00th"} <= merged and {"don't", "café", "😂"} <= outside
    assert corpus.dropped == {PLACEHOLDER: len(merged), OUTSIDE: len(outside)}
    assert corpus.words == {"wordfreq:en": 20_000 - len(merged) - len(outside)}


@wordfreq
def test_unknown_language_names_the_nearest():
    assert "did you mean 'en'" in refusal(CorpusConfig(sources=(SourceConfig(kind="wordfreq", language="eng"),)))


def test_missing_wordfreq_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    never_read = CorpusConfig(sources=(SourceConfig(kind="wordfreq", top=1234),))
    assert "pip install ./weights '.[train]'" in refusal(never_read)


# --- styles


def test_shares_of_styles_and_signs(words):
    config = of_file(words, upper=0.35, title=0.30, mixed=0.10, punctuation=0.2)
    drawn = take(Corpus(config, FULL, 25, 0, "all"), 20_000)
    bare = [word.strip(string.punctuation) for word in drawn]
    n = len(drawn)
    listed = set(words.read_text(encoding="utf-8").split())
    assert {word.lower() for word in bare} <= listed
    assert sum(word != inner for word, inner in zip(drawn, bare, strict=True)) / n == pytest.approx(0.2, abs=0.015)
    assert sum(word.isupper() for word in bare) / n == pytest.approx(0.35 + 0.1 / 2**7, abs=0.018)
    assert sum(word.istitle() for word in bare) / n == pytest.approx(0.30 + 0.1 / 2**7, abs=0.018)
    assert sum(word.islower() for word in bare) / n == pytest.approx(0.25 + 0.1 / 2**7, abs=0.018)


def test_case_as_listed_is_the_rest(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("iPhone", encoding="utf-8")
    assert set(take(Corpus(of_file(path, **PLAIN), FULL, 25, 0, "all"), 20)) == {"iPhone"}


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        ("abcdefghijklmnopqrstuvwxyz", {"hello"}),  # one case: folded
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", {"HELLO"}),
        ("HELOelo", {"HELLO", "Hello"}),  # no h: only styles that fit
        ("HELOeloh", {"HELLO", "Hello", "hello"}),
    ],
)
def test_styles_fall_back_to_what_fits_the_charset(tmp_path, characters, expected):
    path = tmp_path / "words.txt"
    path.write_text("hello", encoding="utf-8")
    config = of_file(path, upper=0.3, title=0.3, mixed=0.0, punctuation=0.5)
    corpus = Corpus(config, Charset("x", tuple(characters)), 25, 0, "all")
    assert set(take(corpus, 300)) == expected and corpus.dropped == {}


def test_a_style_or_sign_that_makes_a_word_too_long_falls_back(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("straße", encoding="utf-8")  # STRASSE has 7 letters
    charset = Charset("de", (*FULL.characters, "ß"))
    config = of_file(path, upper=1.0, title=0.0, mixed=0.0, punctuation=1.0)
    assert set(take(Corpus(config, charset, 6, 0, "all"), 50)) == {"straße"}
    assert "STRASSE." in take(Corpus(config, charset, 8, 0, "all"), 500)


def test_a_style_never_makes_another_word(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("kadın", encoding="utf-8")  # dotless i: upper case KADIN, which is another word's too
    config = of_file(path, upper=1.0, title=0.0, mixed=0.0, punctuation=0.0)
    charset = Charset("x", (*FULL.characters, "ı"))
    assert set(take(Corpus(config, charset, 25, 0, "all"), 20)) == {"kadın"}


@pytest.mark.parametrize(
    ("code", "word", "capitals"),
    [
        ("tr", "kadın", "KADIN"),
        ("tr", "istanbul", "İSTANBUL"),
        ("el", "τσάι", "ΤΣΑΪ"),
        ("el", "οδός", "ΟΔΟΣ"),
        ("de", "straße", "STRASSE"),
        ("fr", "été", "ÉTÉ"),
        ("hi", "हिन्दी", "हिन्दी"),
    ],
)
def test_capitals_are_those_of_the_language(tmp_path, code, word, capitals):
    path = tmp_path / "words.txt"
    path.write_text(word, encoding="utf-8")
    charset = resolve_charset(code)
    config = of_file(path, upper=1.0, title=0.0, mixed=0.0, punctuation=0.0)
    assert Corpus(config, charset, 25, 0, "all").word(0) == capitals
    if code in ("tr", "el"):  # a charset that is not the language's own is told by the source
        source = SourceConfig(kind="file", path=str(path), language=code)
        config = CorpusConfig(sources=(source,), upper=1.0, title=0.0, mixed=0.0, punctuation=0.0)
        assert Corpus(config, Charset("mine", charset.characters), 25, 0, "all").word(0) == capitals


@wordfreq
def test_persian_words_keep_their_joiners():
    source = SourceConfig(kind="wordfreq", language="fa", top=20_000)
    corpus = Corpus(CorpusConfig(sources=(source,)), resolve_charset("fa"), 25, 0, "all")
    assert sum("\u200c" in word for word in take(corpus, 5000)) > 50


# --- mixtures


def test_sources_are_mixed_by_weight(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name * 3, encoding="utf-8")
    sources = [SourceConfig(kind="file", path=str(tmp_path / n), weight=w) for n, w in (("a", 1), ("b", 2), ("c", 5))]
    corpus = Corpus(CorpusConfig(sources=tuple(sources), **PLAIN), FULL, 25, 0, "all")
    drawn = Counter(take(corpus, 8000))
    assert [drawn[n * 3] / 8000 for n in "abc"] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.028)
    assert [line.split()[0] for line in corpus.describe().splitlines()[1:]] == ["12%", "25%", "62%"]


def test_words_of_lists_have_the_probabilities_with_which_they_are_drawn(tmp_path):
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("ant\nant\nant\nbee\n")
    two.write_text("cat\n")
    sources = [SourceConfig(kind="file", path=str(path), weight=weight) for path, weight in ((one, 0.5), (two, 1.5))]
    pattern = SourceConfig(kind="pattern", patterns=("number",), weight=2.0)
    corpus = Corpus(CorpusConfig(sources=(*sources, pattern), **PLAIN), FULL, 25, seed=0, split="all")
    assert dict(corpus.list_words()) == pytest.approx({"ant": 0.1875, "bee": 0.0625, "cat": 0.75})
    drawn = Counter(word for word in take(corpus, 8000) if word.isalpha())
    assert all(abs(drawn[word] / 4000 - p) < 0.03 for word, p in corpus.list_words())


def test_patterns_are_drawn_evenly_and_listed():
    corpus = Corpus(of_patterns("email", "phone"), FULL, 40, 0, "all")
    drawn = take(corpus, 4000)
    assert sum("@" in word for word in drawn) / 4000 == pytest.approx(0.5, abs=0.04)
    assert corpus.words == {} and "email, phone" in corpus.describe()


def test_patterns_that_cannot_fit_are_counted():
    corpus = Corpus(of_patterns("email", "random", "plate"), resolve_charset("36"), 25, 0)
    assert corpus.dropped == {NO_FIT: 1}
    assert set("".join(take(corpus, 300))) <= set(resolve_charset("36").characters)


@pytest.mark.parametrize(
    ("config", "charset", "named"),
    [
        (of_patterns("emial"), "94", "did you mean 'email'"),
        (of_patterns(), "94", "no patterns"),
        (of_patterns("email", "url"), "36", "none fits charset '36'"),
        (CorpusConfig(sources=()), "94", "no sources"),
        (of_patterns("random", upper=0.9, title=0.2), "94", "more than 1"),
    ],
)
def test_contradictions_are_refused(config, charset, named):
    assert named in refusal(config, resolve_charset(charset))


# --- splits


def reference_heldout(word: str, share: float) -> bool:
    """Written from the description: blake2b, 8 bytes, of the case-folded word without signs at its ends."""
    key = word.strip(string.punctuation).casefold().encode()
    return len(key) >= 2 and int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") / 2**64 < share


@given(st.text(string.ascii_letters + string.digits + string.punctuation), st.floats(0, 1, exclude_max=True))
def test_split_is_the_hash_it_says(word, share):
    assert is_heldout(word, share) == reference_heldout(word, share)


@given(st.text(min_size=1), st.sampled_from("!.,\"'(#$"))
def test_case_and_signs_do_not_change_the_side(word, sign):
    side = is_heldout(word, 0.5)
    assert is_heldout(word.casefold(), 0.5) == is_heldout(sign + word, 0.5) == is_heldout(word + sign, 0.5) == side


def test_split_stays_what_published_numbers_used():
    words = ["street", "coffee", "exit", "hotel", "parking", "sale", "school", "london", "police", "bank", "taxi"]
    assert [word for word in words if is_heldout(word, 0.3)] == ["exit", "sale", "school", "london", "taxi"]


def test_single_characters_are_never_held_out():
    assert not any(is_heldout(character, 0.999) for character in FULL.characters)
    assert not is_heldout("7!", 0.999)


@pytest.mark.parametrize("name", ["94", "36"])
def test_no_train_word_is_held_out_in_any_case(words, name):
    listed = SourceConfig(kind="file", path=str(words), weight=0.5)
    patterns = SourceConfig(kind="pattern", weight=0.5)
    config = CorpusConfig(sources=(listed, patterns), heldout=0.1, punctuation=0.3)
    charset = resolve_charset(name)
    keys = {}
    for split in ("train", "heldout"):
        drawn = take(Corpus(config, charset, 25, 0, split), 4000)
        keys[split] = {word.casefold() for word in drawn} | {
            word.strip(string.punctuation).casefold() for word in drawn
        }
        assert all(reference_heldout(word, 0.1) == (split == "heldout") for word in drawn)
        assert all(check_label(word, charset, 25) == (word, None) for word in drawn)
    assert not keys["train"] & keys["heldout"]


def test_splits_divide_the_list_by_their_share(words):
    counts = {
        split: next(iter(Corpus(of_file(words, heldout=0.1), FULL, 25, 0, split).words.values()))
        for split in ("train", "heldout", "all")
    }
    assert counts["train"] + counts["heldout"] == counts["all"]
    assert counts["heldout"] / counts["all"] == pytest.approx(0.1, abs=0.028)  # 5 standard errors


def test_a_source_without_a_word_in_the_split_is_left_out_of_the_mixture_and_said(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a b c", encoding="utf-8")
    config = CorpusConfig(sources=(SourceConfig(kind="file", path=str(path), weight=9), SourceConfig(kind="pattern")))
    corpus = Corpus(config, FULL, 25, 0, "heldout")
    assert f"0% file:{path}: no word in this split" in corpus.describe()
    assert not {"a", "b", "c"} & {word.lower() for word in take(corpus, 50)}
    assert "no word in split 'heldout'" in refusal(of_file(path), split="heldout")


def test_empty_splits_are_refused(monkeypatch):
    assert "heldout is 0" in refusal(of_patterns("random", heldout=0.0), split="heldout")
    monkeypatch.setitem(PATTERNS, "time", lambda rng, charset, longest: "noon")
    monkeypatch.setattr(pattern_lists, "_MOST_REDRAWS", 5)
    assert Corpus(of_patterns("time"), FULL, 25, 0, "all").word(0) == "noon"
    empty = "heldout" if not is_heldout("noon", 0.5) else "train"
    assert f"no string in split '{empty}' after 10 draws" in refusal(of_patterns("time", heldout=0.5), split=empty)


# --- purity


def test_word_is_a_function_of_seed_split_and_index(words):
    config = CorpusConfig(sources=(SourceConfig(kind="file", path=str(words)), SourceConfig(kind="pattern")))
    corpus = Corpus(config, FULL, 25, 7)
    forwards = take(corpus, 300)
    assert [corpus.word(index) for index in reversed(range(300))] == forwards[::-1]
    assert take(Corpus(config, FULL, 25, 7), 300) == forwards
    assert take(pickle.loads(pickle.dumps(corpus)), 300) == forwards
    assert take(Corpus(config, FULL, 25, 8), 300) != forwards
    assert np.mean([a == b for a, b in zip(forwards, take(Corpus(config, FULL, 25, 8), 300), strict=True)]) < 0.05
    corpus.word(10**12)


def test_word_is_the_same_in_another_process(words):
    code = (
        "import sys; from dptr.text.corpus import Corpus; from dptr.text.charset import resolve_charset;"
        "from dptr.config.render import CorpusConfig, SourceConfig;"
        "config = CorpusConfig(sources=(SourceConfig(kind='file', path=sys.argv[1]), SourceConfig(kind='pattern')));"
        "corpus = Corpus(config, resolve_charset('94'), 25, 3);"
        "print([corpus.word(i) for i in range(200)])"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, str(words)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    config = CorpusConfig(sources=(SourceConfig(kind="file", path=str(words)), SourceConfig(kind="pattern")))
    assert outputs[0] == outputs[1] == f"{take(Corpus(config, FULL, 25, 3), 200)}\n"


def test_neighboring_indices_are_independent(words):
    """Share of equal words at lag 1 is that of independent draws: about 1 in 3,000."""
    drawn = take(Corpus(of_file(words, **PLAIN), FULL, 25, 0, "all"), 20_000)
    repeats = sum(a == b for a, b in pairwise(drawn))
    assert repeats < 20_000 / 3000 + 5 * (20_000 / 3000) ** 0.5
    assert len(set(drawn)) > 2980  # of 3,000; an unseen word has probability exp(-6.7)


def test_without_case_styles_words_stand_as_they_are(tmp_path):
    """Straße is not STRASSE, which the charset could write, unless other case styles are asked for."""
    path = tmp_path / "words.txt"
    path.write_text("Straße\nWeg\n", encoding="utf-8")
    plain = {"sources": (SourceConfig(kind="file", path=str(path)),), "heldout": 0, "mixed": 0, "punctuation": 0}
    for upper, expected in ((0.0, {"Weg"}), (0.5, {"Weg", "WEG", "STRASSE"})):
        corpus = Corpus(CorpusConfig(**plain, upper=upper, title=0), resolve_charset("94"), 25, 0)
        assert {corpus.word(index) for index in range(100)} == expected
        assert ("outside charset 1" in corpus.describe()) == (upper == 0)


# --- labels of LMDBs and of roots -------------------------------------------------------------------------------------


def write_labels(folder: Path, labels: list[str]) -> Path:
    write_lmdb(folder, ((b"no picture is read", label) for label in labels))
    return folder


def of_labels(path: Path, **settings) -> CorpusConfig:
    return CorpusConfig(sources=(SourceConfig(kind="labels", path=str(path)),), **settings)


def test_labels_are_read_from_lmdbs_and_from_roots_of_them(tmp_path):
    root = tmp_path / "real"
    write_labels(root / "ArT" / "train", ["tea", "Tea", "tea", "ünï"])
    write_labels(root / "LSVT" / "test", ["oak", "x" * 26])
    (root / "own").mkdir()
    (root / "own" / "labels.tsv").write_text("1.png\toak\n2.png\tash\n", encoding="utf-8")
    corpus = Corpus(of_labels(root, heldout=0), FULL, 25, 0)
    (source,) = corpus.sources
    assert dict(zip(source.words, source.counts, strict=True)) == {"tea": 2, "Tea": 1, "oak": 2, "ash": 1}
    assert corpus.dropped == {OUTSIDE: 1, TOO_LONG: 1}
    assert source.entries == 8
    assert "labels of 3 data sets: ArT/train, LSVT/test, own/labels.tsv" in corpus.describe()
    drawn = Counter(take(corpus, 6000))
    assert [round(drawn[word] / 1000) for word in ("tea", "Tea", "oak", "ash")] == [2, 1, 2, 1]
    for one in (root / "ArT" / "train", root / "ArT" / "train" / "data.mdb"):
        assert set(Corpus(of_labels(one, heldout=0), FULL, 25, 0).sources[0].words) == {"tea", "Tea"}


# --- without replacement ----------------------------------------------------------------------------------------------


def test_each_entry_comes_once_an_epoch(tmp_path):
    labels = [f"w{number % 37}" for number in range(90)] + ["twice", "twice"]
    others = ["other", "twice"]
    first, second = write_labels(tmp_path / "a", labels), write_labels(tmp_path / "b", others)
    sources = tuple(SourceConfig(kind="labels", path=str(path)) for path in (first, second))
    config = CorpusConfig(sources=sources, heldout=0, replacement=False)
    corpus = Corpus(config, FULL, 25, seed=5)
    size = len(labels + others)
    assert corpus.epochs is not None and len(corpus.epochs) == size
    epochs = [[corpus.word(index) for index in range(start * size, (start + 1) * size)] for start in range(3)]
    assert all(Counter(epoch) == Counter(labels + others) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    again = Corpus(config, FULL, 25, seed=5)
    assert [again.word(index) for index in reversed(range(size))] == epochs[0][::-1]
    assert [Corpus(config, FULL, 25, seed=6).word(index) for index in range(size)] != epochs[0]
    assert "98% labels" in corpus.describe() and "94 entries an epoch" in corpus.describe()


def test_held_out_words_are_in_no_epoch(words):
    config = of_file(words, heldout=0.2, replacement=False, **PLAIN)
    train, held = Corpus(config, FULL, 25, 0), Corpus(config, FULL, 25, 0, "heldout")
    assert len(train.epochs) + len(held.epochs) == 3000
    drawn = take(train, len(train.epochs))
    assert not any(is_heldout(word, 0.2) for word in drawn) and len(set(drawn)) == len(set(train.sources[0].words))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"sources": (SourceConfig(kind="pattern"),)}, "kind pattern"),
        ({"sources": (SourceConfig(kind="wordfreq"),)}, "kind wordfreq"),
        ({"phrases": 0.5}, "corpus.phrases"),
        ({"sources": (SourceConfig(kind="file", path="a"), SourceConfig(kind="file", path="b", weight=2))}, "weights"),
    ],
)
def test_what_has_no_epochs_is_refused(words, settings, named):
    config = of_file(words, replacement=False).model_copy(update=settings)
    assert named in refusal(config, resolve_charset("94+space"))


# --- a limit on words besides charset and length ----------------------------------------------------------------------


def test_a_limit_leaves_listed_words_out_counted_and_no_other_is_drawn(tmp_path):
    """Here: at most two capitals and signs. Case styles, signs, patterns and phrases keep to it too."""

    def few(text: str) -> bool:
        return sum(not (character.islower() or character.isdigit()) for character in text) <= 2

    path = tmp_path / "words.txt"
    path.write_text("oak oak ABC tea ABC ABC Ab", encoding="utf-8")
    limit = Limit("many capitals", lambda some: [few(text) for text in some])
    config = CorpusConfig(
        sources=(SourceConfig(kind="file", path=str(path)), SourceConfig(kind="pattern")),
        heldout=0, upper=0.5, title=0.3, mixed=0.2, punctuation=0.5,
    )  # fmt: skip
    free, limited = Corpus(config, FULL, 25, 0), Corpus(config, FULL, 25, 0, limit=limit)
    assert not all(map(few, take(free, 300)))
    drawn = take(limited, 300)
    assert all(map(few, drawn)) and {"oak", "tea", "Ab"} <= set(drawn)
    assert limited.dropped == {"many capitals": 3, NO_FIT: 1} and "left out: many capitals 3" in limited.describe()
    spaced = config.model_copy(update={"phrases": 1.0})
    phrases = take(Corpus(spaced, resolve_charset("94+space"), 25, 0, limit=limit), 50)
    assert all(map(few, phrases)) and any(" " in phrase for phrase in phrases)
    nothing = Limit("nothing", lambda some: [False] * len(some))
    with pytest.raises(UserError, match=r"no word left .*nothing 7"):
        Corpus(of_file(path), FULL, 25, 0, limit=nothing)
