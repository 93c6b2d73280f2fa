"""Phrases and lines: spaces only where the charset has them, and only what fits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.text.charset import check_label, resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.phrases import compose
from dptr.text.rules import is_heldout
from dptr.utils.errors import UserError

SPACED = resolve_charset("94+space")


@pytest.fixture
def words(tmp_path) -> tuple[SourceConfig, ...]:
    path = tmp_path / "words.txt"
    path.write_text(
        "\n".join(f"{one}{two}" for one in ("ban", "kor", "mil", "sut") for two in ("ana", "ek", "ton", "y"))
    )
    return (SourceConfig(kind="file", path=str(path)),)


def corpus(
    words: tuple[SourceConfig, ...], phrases: float, split: str = "all", longest: int = 48, **settings
) -> Corpus:
    config = CorpusConfig(sources=words, phrases=phrases, **settings)
    return Corpus(config, SPACED, longest, 3, split)  # type: ignore[arg-type]


def draw(word: str, seed: int, longest: int = 64) -> str:
    return compose(
        np.random.default_rng(seed), lambda rng, case: getattr(word, case)(), lambda rng, name: "12.50", longest
    )


def test_lines_have_words_numbers_and_signs_in_one_case() -> None:
    lines = [draw("bread", seed) for seed in range(600)]
    assert len(set(lines)) > 100 and all(line == " ".join(line.split()) for line in lines)
    letters = Counter(
        "upper" if line == line.upper() else "lower" if line == line.lower() else "other" for line in lines
    )
    assert letters["upper"] > 150 and letters["other"] > 150
    assert sum("12.50" in line for line in lines) > 200
    assert sum(" " in line for line in lines) > 550


def test_no_space_stands_between_words_of_chinese_and_japanese() -> None:
    for word, spaced in (("面包", False), ("パン屋さん", False), ("々〆", False), ("빵집", True)):
        lines = [draw(word, seed) for seed in range(100)]
        assert any(f"{word} {word}" in line for line in lines) == spaced
        assert any(word + word in line for line in lines) != spaced
        assert any(f"{word} 12.50" in line for line in lines)


def test_what_is_too_long_ends_with_a_whole_word() -> None:
    for seed in range(300):
        whole, short = draw("bread", seed), draw("bread", seed, 14)
        assert len(short) <= 14 and short == whole[: len(short)]
        assert short == whole or whole[len(short)] in " :&-/@,("


def test_the_share_is_kept_and_the_rest_stays_what_it_was(words) -> None:
    without, with_phrases = corpus(words, 0.0), corpus(words, 0.3)
    before, after = ([source.word(index) for index in range(4000)] for source in (without, with_phrases))
    changed = [text for text, old in zip(after, before, strict=True) if text != old]
    assert len(changed) / 4000 == pytest.approx(0.3, abs=0.03)
    assert not any(" " in text for text in before)
    assert sum(" " in text for text in changed) > 0.85 * len(changed)
    assert [with_phrases.word(index) for index in range(50)] == after[:50]


def test_phrases_fit_charset_and_length(words) -> None:
    for longest in (12, 30, 64):
        source = corpus(words, 1.0, longest=longest)
        texts = [source.word(index) for index in range(500)]
        assert all(check_label(text, SPACED, longest) == (text, None) for text in texts)
        assert max(map(len, texts)) > 0.6 * longest


def test_held_out_words_are_in_no_phrase_of_the_training(words) -> None:
    source = corpus(words, 1.0, "train", heldout=0.3)
    listed = {word for word in (one + two for one in ("ban", "kor", "mil", "sut") for two in ("ana", "ek", "ton", "y"))}
    held = {word for word in listed if is_heldout(word, 0.3)}
    assert held and held < listed
    for index in range(400):
        parts = set(source.word(index).lower().replace("-", " ").replace("'", " ").split())
        assert not {part.strip('.,:;!?()"*&/') for part in parts} & held


def test_a_charset_without_space_writes_words(words) -> None:
    with pytest.raises(UserError, match=r"corpus.phrases = 0.2: charset '94' has no space .* set corpus.phrases=0"):
        Corpus(CorpusConfig(sources=words, phrases=0.2), resolve_charset("94"), 25, 0)
    plain = Corpus(CorpusConfig(sources=words), resolve_charset("94"), 25, 0)
    for index in range(200):
        for names in (("phrase",), ("license_plate",), ("message",), ("serial",), ("word",)):
            assert " " not in plain.draw(index, names)
        assert plain.draw(index, ("phrase",)) == plain.word(index)


def test_texts_of_a_kind_are_drawn_alike_and_patterns_that_do_not_fit_give_way(words) -> None:
    source = corpus(words, 0.0)
    names = ("word", "reading", "phrase", "phrase")
    texts = [source.draw(index, names) for index in range(2000)]
    assert texts == [source.draw(index, names) for index in range(2000)]
    readings = sum(text.replace(".", "").replace("-", "").isdigit() for text in texts)
    assert readings / 2000 == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("place", range(4))
def test_words_of_a_kind_are_in_capitals_as_often_as_others(words, place: int) -> None:
    source = corpus(words, 0.0, upper=0.35, title=0.3, punctuation=0.0)
    names = tuple("word" if each == place else "reading" for each in range(4))
    drawn = [text for text in (source.draw(index, names) for index in range(4000)) if text.isalpha()]
    assert len(drawn) == pytest.approx(1000, abs=100)
    assert sum(text.isupper() for text in drawn) / len(drawn) == pytest.approx(0.35, abs=0.05)
    assert sum(text.istitle() for text in drawn) / len(drawn) == pytest.approx(0.3, abs=0.05)
    assert max(Counter(map(str.lower, drawn)).values()) < 2.5 * len(drawn) / 16


def test_lists_have_their_weights_in_phrases_too(tmp_path) -> None:
    for name, word in (("often", "aaa"), ("rarely", "bbb")):
        (tmp_path / name).write_text(word)
    sources = [
        SourceConfig(kind="file", path=str(tmp_path / name), weight=weight)
        for name, weight in (("often", 0.8), ("rarely", 0.1))
    ]
    source = corpus((*sources, SourceConfig(kind="pattern", weight=0.1)), 1.0, heldout=0.0)
    counts = Counter(part for index in range(600) for part in source.word(index).lower().split())
    assert counts["aaa"] / counts["bbb"] == pytest.approx(8, rel=0.3)


def test_phrases_of_patterns_alone_are_refused() -> None:
    config = CorpusConfig(sources=(SourceConfig(kind="pattern"),), phrases=0.2)
    with pytest.raises(UserError, match="no list has a word in split 'train', and phrases are made of words"):
        Corpus(config, resolve_charset("94+space"), 25, seed=0)
