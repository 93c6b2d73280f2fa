"""Words in: sources mixed by weight, every word a pure function of (config, seed, split, index)."""

from __future__ import annotations

import difflib
import string
import struct
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Literal

import numpy as np

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.shards.shard_set import open_shards
from dptr.text import casing
from dptr.text.charset import OUTSIDE, SPACED, Charset, check_label
from dptr.text.epochs import ShuffledEpochs
from dptr.text.languages import LANGUAGES
from dptr.text.patterns import PATTERNS
from dptr.text.phrases import draw_phrase
from dptr.text.sources import label_sets, read_source
from dptr.text.streamed import REDRAW, StreamedWords, order_words
from dptr.text.word_lists import PatternList, WordList, count_drops, cumulate
from dptr.utils.dealing import deal, whole_weights
from dptr.utils.errors import UserError

Split = Literal["train", "heldout", "all"]

NO_FIT = "pattern without a string that fits"

# Signs put around a word, those of the charset only. Weights by repetition; judgment, not measured.
_SIGNS = (
    *[("", sign) for sign in ".,.,!?:;'\")-…。，、！？：؟،।"],
    *[(sign, "") for sign in "#@&$*-¿¡"],
    *[("(", ")"), ('"', '"'), ("'", "'"), ("[", "]"), ("“", "”"), ("«", "»"), ("「", "」"), ("《", "》")],
    *[("„", "“"), ("„", "”"), ("‚", "‘"), ("‘", "’"), ("”", "”"), ("‹", "›"), ("（", "）"), ("『", "』"), ("【", "】")],
    *[("", "；"), ("", "؛"), ("", "॥")],
)
_SPLIT_IGNORES = string.punctuation + "".join(dict.fromkeys("".join(before + after for before, after in _SIGNS)))
_TRIAL_DRAWS = 64  # of each pattern, to see whether it fits the charset and length at all
_MOST_REDRAWS = 2000  # per unit of the split's share
_AT_ONCE = 10_000  # listed words that a limit judges together


@dataclass(frozen=True)
class Limit:
    """What words must be beside of the charset and short enough; which of some are, and the reason to drop others."""

    reason: str
    fits: Callable[[Sequence[str]], Sequence[bool]]


def is_heldout(word: str, share: float) -> bool:
    """Whether a word belongs to the held-out split, a ``share`` (0..1) of all words.

    Decided by blake2b of the case-folded word without signs at its ends (``casing.key``), so that a word is on the same
    side in every run, process and source, in any case, with or without a sign. What is then shorter than two characters
    is never held out: single characters are the alphabet itself.
    """
    key = casing.key(word.strip(_SPLIT_IGNORES))
    if len(key) < 2:
        return False
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


def in_language(config: CorpusConfig, charset: Charset) -> CorpusConfig:
    """``config`` with the sources of the charset's language, where it names none itself: German words for ``de``.

    A charset that has grown (``dptr.text.charset.extend_charset``) is still of its language.
    """
    language = LANGUAGES.get(charset.name.removesuffix(SPACED))
    if "sources" in config.model_fields_set or language is None:
        return config
    if charset.characters[: len(language.charset)] != tuple(language.charset):
        return config
    return config.model_copy(update={"sources": language.corpus().sources})


class Corpus:
    """An endless, seeded sequence of words.

    Attributes:
        split: "train", "heldout" or "all".
        epoch: entries of an epoch, with ``config.replacement`` off; else 0.
        words: words in this split, by source; pattern sources are endless and not listed.
        dropped: entries left out while reading the sources, by reason, whatever the split.
        epochs: with ``config.replacement`` off, the order of all entries; else None.
    """

    def __init__(
        self,
        config: CorpusConfig,
        charset: Charset,
        max_length: int,
        seed: int,
        split: Split = "train",
        limit: Limit | None = None,
    ) -> None:
        """Read all sources.

        Args:
            limit: what words must be besides; listed ones that are not are dropped and counted, and no other is drawn.

        Raises:
            UserError: a source is missing, unreadable or has no word left (the message counts why), the split is
                empty, the case styles add up to more than 1, or ``config.replacement`` is off and a source has no
                entries to go through, weights differ, or there are phrases.
        """
        if config.upper + config.title + config.mixed > 1:
            raise UserError(
                f"corpus: upper {config.upper} + title {config.title} + mixed {config.mixed} is more than 1; "
                "they are shares of all words, lower one of them"
            )
        if config.phrases and " " not in charset:
            raise UserError(
                f"corpus.phrases = {config.phrases}: charset '{charset.name}' has no space to write phrases with; set "
                "corpus.phrases=0, or choose a charset that has it"
            )
        if not config.sources:
            raise UserError("corpus: no sources; list at least one under [[corpus.sources]]")
        if split == "heldout" and config.heldout == 0:
            raise UserError("corpus: heldout is 0, so the held-out split is empty; set corpus.heldout above 0")
        if not config.replacement:
            _refuse_endless(config)
        self.config = config
        self.charset = charset
        self.max_length = max_length
        self.seed = seed
        self.split = split
        self.limit = limit
        self._notes: list[str] = []
        self._signs = [pair for pair in _SIGNS if charset.covers("".join(pair))]
        opened = [(source.weight, self._open(source)) for source in config.sources]
        self._fitting: dict[str, bool] = {}
        self.dropped: dict[str, int] = dict(sum((Counter(source.dropped) for _, source in opened), Counter()))
        filled = [
            (w, source) for w, source in opened if isinstance(source, PatternList | StreamedWords) or source.words
        ]
        if not filled:
            raise UserError(
                f"corpus: no word in split '{split}' with heldout {config.heldout}"
                f"{count_drops(self.dropped, ' (left out: ', ')')}; add words or change corpus.heldout"
            )
        self.sources = tuple(source for _, source in filled)
        self.words: Counter[str] = Counter()
        for _, source in opened:
            if isinstance(source, WordList):
                self.words[source.name] += len(source.words)
        self._cumulative = cumulate([weight for weight, _ in filled])
        lists = [source for source in self.sources if isinstance(source, WordList)]
        streams = [source for source in self.sources if isinstance(source, StreamedWords)]
        if config.phrases and streams:
            raise UserError(
                f"corpus.phrases = {config.phrases}: phrases would leave gaps in words of shards; set corpus.phrases=0"
            )
        if config.phrases and not lists:
            raise UserError(
                f"corpus.phrases = {config.phrases}: no list has a word in split '{split}', and phrases are made of "
                "words; set corpus.phrases=0, or add words"
            )
        self.epochs = ShuffledEpochs(lists, seed) if lists and not config.replacement else None
        self._turns: tuple[int, ...] = ()  # dealt evenly where words are streamed, so that each comes once an epoch
        if streams and config.replacement:
            self._turns = whole_weights([weight for weight, _ in filled])
        elif streams:
            self._turns = tuple(source.order.length for source in streams)
        self.epoch = 0 if config.replacement else sum(self._turns) or len(self.epochs or ())

    def word(self, index: int) -> str:
        """The word at ``index`` >= 0: non-empty, within charset, length and split; the same in every process.

        A share ``config.phrases`` are phrases; these are in the split that their words are in.
        """
        if self.epochs:
            source, word = self.epochs.word_at(index)
            return self._vary(source, word, self._bits(index)) if source.styled else word
        bits = self._bits(index)
        if self.config.phrases and _unit(bits[6]) < self.config.phrases:
            return self.phrase(index)
        if self._turns:
            number, own = deal(index % REDRAW, self._turns)
            drawn = self.sources[number]
            if isinstance(drawn, StreamedWords):
                entry = drawn.entry_at(own + index // REDRAW * REDRAW)
                word, _ = self._read(entry, drawn.language, drawn.restyled)
                return self._vary(drawn, word, bits) if drawn.styled else word
        else:
            drawn = self.sources[bisect_right(self._cumulative, _unit(bits[0]))]
        if isinstance(drawn, PatternList):
            return self._draw_pattern(drawn, np.random.Generator(np.random.Philox(key=bits[1:3])))
        assert isinstance(drawn, WordList)
        word = drawn.word_at(_unit(bits[1]))
        return self._vary(drawn, word, bits) if drawn.styled else word

    def _vary(self, source: WordList | StreamedWords, word: str, bits: tuple[int, ...]) -> str:
        """The word in a case style, and maybe with a sign."""
        word = self._style(word, source.language, _unit(bits[2]), bits[3])
        if self._signs and _unit(bits[4]) < self.config.punctuation:
            before, after = self._signs[int(_unit(bits[5]) * len(self._signs))]
            signed = before + word + after
            if check_label(signed, self.charset, self.max_length)[1] is None and self._within_limit(signed):
                return signed  # else ؟ would not go with a Latin word
        return word

    def phrase(self, index: int) -> str:
        """A line of words, numbers, and signs at ``index``, as on receipts; a word where the charset has no space.

        Raises:
            UserError: no phrase fits.
        """
        lists = tuple(source for source in self.sources if isinstance(source, WordList))
        if " " not in self.charset or not lists:
            return self.word(index)
        bits = self._bits(index)
        rng = np.random.Generator(np.random.Philox(key=(bits[7], bits[5])))
        return draw_phrase(rng, lists, self.charset, self.max_length, self._within_limit)

    def draw(self, index: int, names: tuple[str, ...]) -> str:
        """The text at ``index`` of one of ``names``, each as likely: "word", "phrase", or a key of ``PATTERNS``.

        A pattern that has no string for charset, length, and split gives way to a word.
        """
        bits = self._bits(index)
        name = names[int(_unit(bits[2]) * len(names))]
        if name == "word":
            return self.word(index)
        if name == "phrase":
            return self.phrase(index)
        pattern = PatternList(name, (name,), {})
        if name not in self._fitting:
            self._fitting[name] = self._has_strings(pattern)
        if not self._fitting[name]:
            return self.word(index)
        return self._draw_pattern(pattern, np.random.Generator(np.random.Philox(key=bits[3:5])))

    def describe(self) -> str:
        """One line a source: its share, its words, what was left out and why."""
        shares = np.diff(self._cumulative, prepend=0.0)
        if self._turns:
            shares = np.array(self._turns) / sum(self._turns)
        elif self.epochs:
            shares = np.array([sum(source.counts) / len(self.epochs) for source in self.epochs.lists])
        held = "" if self.split == "all" else f" (held out {self.config.heldout:.1%})"
        lines = [f"corpus, split {self.split}{held}, charset '{self.charset.name}':"]
        lines += [f"  {share:.0%} {source.describe()}" for share, source in zip(shares, self.sources, strict=True)]
        empty = [name for name, count in self.words.items() if count == 0]
        lines += [f"  0% {name}: no word in this split" for name in empty]
        if self.epoch:
            lines.append(f"  without replacement: {self.epoch:,} entries an epoch, in a new order each time")
        return "\n".join(lines + [f"  {note}" for note in self._notes])

    def _bits(self, index: int) -> tuple[int, ...]:
        """Eight times 64 random bits, those of ``index``."""
        return struct.unpack("<8Q", blake2b(f"{self.seed}:{self.split}:{index}".encode()).digest())

    def _open(self, source: SourceConfig) -> WordList | PatternList | StreamedWords:
        if source.kind == "pattern":
            return self._open_patterns(source)
        if source.kind == "shards":
            return self._open_shards(source)
        name = f"{source.kind}:{source.path or source.language}"
        styled = source.kind != "labels"  # labels are words as somebody wrote them
        own = self.charset.name.removesuffix(SPACED)
        listed = source.kind in ("wordfreq", "cldr", "hunspell")
        language = source.language if listed or own not in casing.LANGUAGES else own
        entries, left_out = read_source(source)
        if source.kind == "labels" and len(found := label_sets(source)) > 1:
            names = ", ".join(place.relative_to(source.path).as_posix() for place in found)
            self._notes.append(f"labels of {len(found)} data sets: {names}")
        weights, dropped = self._accept(entries, language, styled)
        dropped = {**left_out, **dropped}
        if not weights:
            raise UserError(
                f"corpus source {name}: no word left{count_drops(dropped, ' (', ')') or ' (it holds none)'} with "
                f"charset '{self.charset.name}' and max_length {self.max_length}; pass another list or a larger charset"
            )
        words = [word for word in weights if self._in_split(word)]
        cumulative = cumulate([weights[word] for word in words])
        read = sum(_times(weight) for _, weight in entries) + sum(left_out.values())
        counts = array("q", [] if source.kind == "wordfreq" else [_times(weights[word]) for word in words])
        return WordList(name, read, words, cumulative, counts, language, styled, dropped)

    def _accept(
        self, entries: Sequence[tuple[str, float]], language: str, styled: bool
    ) -> tuple[dict[str, float], dict[str, int]]:
        """Words that fit, with the sum of their weights, and how many entries did not, by reason."""
        weights: dict[str, float] = {}
        dropped: Counter[str] = Counter()
        restyled = styled and self.config.upper + self.config.title + self.config.mixed > 0  # else as they stand
        possible = self._possible(entries, language, restyled, dropped)
        while some := list(islice(possible, _AT_ONCE)):
            within = self.limit.fits([word for word, _ in some]) if self.limit else [True] * len(some)
            for (word, weight), fits in zip(some, within, strict=True):
                if fits:
                    weights[word] = weights.get(word, 0.0) + weight
                elif self.limit:
                    dropped[self.limit.reason] += _times(weight)
        return weights, dict(dropped)

    def _possible(
        self, entries: Sequence[tuple[str, float]], language: str, restyled: bool, dropped: Counter[str]
    ) -> Iterator[tuple[str, float]]:
        """Words that charset and length allow, with their weights; others are counted in ``dropped``."""
        for entry, weight in entries:
            word, reason = self._read(entry, language, restyled)
            if reason:
                dropped[reason] += _times(weight)
            else:
                yield word, weight

    def _read(self, entry: str, language: str, restyled: bool) -> tuple[str, str | None]:
        """An entry as a word, perhaps in a case that the charset has, and the reason to leave it out."""
        word, reason = check_label(entry, self.charset, self.max_length)
        if reason == OUTSIDE and restyled:
            cases = (casing.lower, casing.upper, casing.title)
            styles = (self.charset.normalize(cased(word, language)) for cased in cases)
            word, reason = next(((style, None) for style in styles if self._fits(style)), (word, reason))
        return word, reason

    def _open_shards(self, source: SourceConfig) -> StreamedWords:
        config, charset, limit = self.config, self.charset, self.limit
        own = charset.name.removesuffix(SPACED)
        language = own if own in casing.LANGUAGES else source.language
        shards = open_shards(source.path)
        styled = not shards.pictures
        restyled = styled and config.upper + config.title + config.mixed > 0

        def check(words: Sequence[str]) -> Iterator[str | None]:
            assert limit is not None
            return (None if fits else limit.reason for fits in limit.fits(words))

        name = f"shards:{shards.url}"
        found, order = order_words(
            shards, self.split, self.seed, lambda entry: self._read(entry, language, restyled),
            lambda word: is_heldout(word, config.heldout), check if limit else None, config.cache,
            f"{charset.name} {''.join(charset.characters)!r} {self.max_length} {config.heldout} {language} {restyled}",
        )  # fmt: skip
        opened = StreamedWords(name, found, order, language, styled, restyled)
        if not order.length:
            raise UserError(
                f"corpus source {name}: no word in split '{self.split}'{count_drops(opened.dropped, ' (', ')')} with "
                f"charset '{charset.name}' and max_length {self.max_length}; pass another list or a larger charset"
            )
        return opened

    def _style(self, word: str, language: str, choice: float, bits: int) -> str:
        """The word in a case style of its language, or as listed where the styled one does not fit."""
        config = self.config
        if choice < config.upper:
            styled = casing.upper(word, language)
        elif choice < config.upper + config.title:
            styled = casing.title(word, language)
        elif choice < config.upper + config.title + config.mixed:
            cases = [casing.upper if bits >> (i % 64) & 1 else casing.lower for i in range(len(word))]
            styled = "".join([cased(c, language) for cased, c in zip(cases, word, strict=True)])
        else:
            return word
        if not word.isascii() or not styled.isascii():
            styled = self.charset.normalize(styled)
            if not self._same_word(styled, word, language):
                return word
        return styled if self._fits(styled) and self._within_limit(styled) else word

    @staticmethod
    def _same_word(styled: str, word: str, language: str) -> bool:
        """Whether case alone tells them apart: without Turkish rules, KADIN is not the word kadın."""
        if language in casing.LANGUAGES:
            return casing.key(styled) == casing.key(word)
        return styled.casefold() == word.casefold()

    def _fits(self, word: str) -> bool:
        return len(word) <= self.max_length and self.charset.covers(word)

    def _within_limit(self, word: str) -> bool:
        return self.limit is None or self.limit.fits([word])[0]

    def _in_split(self, word: str) -> bool:
        return self.split == "all" or is_heldout(word, self.config.heldout) == (self.split == "heldout")

    def _open_patterns(self, source: SourceConfig) -> PatternList:
        if not source.patterns:
            raise UserError("corpus source of kind pattern: no patterns; name some of " + ", ".join(PATTERNS))
        for name in source.patterns:
            if name not in PATTERNS:
                nearest = difflib.get_close_matches(name, PATTERNS, n=1, cutoff=0.4)
                hint = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(PATTERNS)}"
                raise UserError(f"corpus pattern '{name}': unknown; {hint}")
        rng = np.random.Generator(np.random.Philox(key=0))
        fitting = tuple(name for name in source.patterns if self._can_draw(name, rng))
        left_out = len(source.patterns) - len(fitting)
        if not fitting:
            raise UserError(
                f"corpus patterns {', '.join(source.patterns)}: none fits charset '{self.charset.name}' and max_length "
                f"{self.max_length}; add the pattern 'random' or drop this source"
            )
        opened = PatternList("pattern", fitting, {NO_FIT: left_out} if left_out else {})
        self._draw_pattern(opened, rng)  # an empty split is refused here, not in the middle of a training
        return opened

    def _can_draw(self, name: str, rng: np.random.Generator) -> bool:
        draws = (PATTERNS[name](rng, self.charset, self.max_length) for _ in range(_TRIAL_DRAWS))
        return any(
            check_label(text, self.charset, self.max_length)[1] is None and self._within_limit(text) for text in draws
        )

    def _has_strings(self, pattern: PatternList) -> bool:
        rng = np.random.Generator(np.random.Philox(key=0))
        try:
            return self._can_draw(pattern.name, rng) and bool(self._draw_pattern(pattern, rng))
        except UserError:
            return False

    def _draw_pattern(self, source: PatternList, rng: np.random.Generator) -> str:
        share = {"train": 1 - self.config.heldout, "heldout": self.config.heldout, "all": 1.0}[self.split]
        for _ in range(int(_MOST_REDRAWS / share)):
            name = source.patterns[int(rng.random() * len(source.patterns))]
            text, misfit = check_label(
                PATTERNS[name](rng, self.charset, self.max_length), self.charset, self.max_length
            )
            if misfit is None and self._in_split(text) and self._within_limit(text):
                return text
        raise UserError(
            f"corpus patterns {', '.join(source.patterns)}: no string in split '{self.split}' after "
            f"{int(_MOST_REDRAWS / share):,} draws; add the pattern 'random' or raise corpus.heldout"
        )


def _times(weight: float) -> int:
    """How many entries of its source a word stands for: a frequency, which is below 1, is of one."""
    return max(1, round(weight))


def _refuse_endless(config: CorpusConfig) -> None:
    streamed = [source for source in config.sources if source.kind == "shards"]
    if 0 < len(streamed) < len(config.sources):
        raise UserError(
            "corpus.replacement = false with sources of kind shards and of others: an epoch has each entry once; set "
            "corpus.replacement=true, or name shards alone"
        )
    kinds = [source.kind for source in config.sources if source.kind in ("wordfreq", "pattern")]
    if kinds:
        raise UserError(
            f"corpus.replacement = false with a source of kind {kinds[0]}, which has no entries to go through once an "
            "epoch; set corpus.replacement=true, or name sources of kind file, labels, or shards"
        )
    if len({source.weight for source in config.sources}) > 1:
        raise UserError(
            "corpus.replacement = false with weights: an epoch has each entry of each source once; leave the weights "
            "out, or set corpus.replacement=true"
        )
    if config.phrases:
        raise UserError(
            f"corpus.replacement = false with corpus.phrases = {config.phrases}: phrases are no entries; set "
            "corpus.phrases=0"
        )


def _unit(bits: int) -> float:
    """64 random bits to [0, 1)."""
    return (bits >> 11) * 2.0**-53
