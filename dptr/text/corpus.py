"""Corpora: words from sources mixed by weight, each a pure function of (config, seed, split, index)."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.shards.shard_set import open_shards
from dptr.text.charset import SPACED, Charset
from dptr.text.epochs import ShuffledEpochs
from dptr.text.languages import LANGUAGES
from dptr.text.pattern_lists import PatternList, has_strings, open_patterns
from dptr.text.phrases import draw_phrase
from dptr.text.rules import Limit, Rules, Split, is_heldout
from dptr.text.sources import label_sets
from dptr.text.streamed import REDRAW, StreamedWords, order_words
from dptr.text.styles import Styles, unit
from dptr.text.word_lists import WordList, count_drops, cumulate, open_list
from dptr.utils.dealing import deal, whole_weights
from dptr.utils.errors import UserError


def in_language(config: CorpusConfig, charset: Charset) -> CorpusConfig:
    """``config`` with the sources of the charset's language (German words for ``de``), unless it names sources.

    An extended charset (``dptr.text.charset.extend_charset``) still belongs to its language.
    """
    language = LANGUAGES.get(charset.name.removesuffix(SPACED))
    if "sources" in config.model_fields_set or language is None:
        return config
    if charset.characters[: len(language.charset)] != tuple(language.charset):
        return config
    return config.model_copy(update={"sources": language.corpus().sources})


_Opened = WordList | PatternList | StreamedWords


class Corpus:
    """An endless, seeded sequence of words.

    Attributes:
        split: "train", "heldout", or "all".
        epoch: entries per epoch if ``config.replacement`` is off; otherwise 0.
        words: number of words in this split, by source, without pattern sources, which are endless.
        dropped: number of entries of all splits that were left out, by reason.
        epochs: the order of all entries if ``config.replacement`` is off; otherwise None.
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
            limit: a further condition on words; listed words that violate it are dropped and counted.

        Raises:
            UserError: a source is missing, unreadable, or has no word left (the message has counts by reason); the
                split is empty; the shares of case styles sum to more than 1; or ``config.replacement`` is off, and a
                source is endless, weights differ, or there are phrases.
        """
        _check_config(config, charset, split)
        self.config = config
        self.charset = charset
        self.max_length = max_length
        self.seed = seed
        self.split = split
        self.limit = limit
        self._notes: list[str] = []
        self._fitting: dict[str, bool] = {}
        restyled = config.upper + config.title + config.mixed > 0  # whether words may change case
        self._rules = Rules(charset, max_length, split, config.heldout, limit, restyled)
        self._styles = Styles(config, self._rules)
        opened = [(source.weight, self._open(source)) for source in config.sources]
        self.dropped: dict[str, int] = dict(sum((Counter(source.dropped) for _, source in opened), Counter()))
        self.words = _count_words(source for _, source in opened)
        filled = [(weight, source) for weight, source in opened if not isinstance(source, WordList) or source.words]
        if not filled:
            raise UserError(
                f"corpus: no word in split '{split}' with heldout {config.heldout}"
                f"{count_drops(self.dropped, ' (left out: ', ')')}; add words or change corpus.heldout"
            )
        self.sources = tuple(source for _, source in filled)
        self._cumulative = cumulate([weight for weight, _ in filled])
        lists = [(weight, source) for weight, source in filled if isinstance(source, WordList)]
        self._lists = [source for _, source in lists]
        self._list_shares = cumulate([weight for weight, _ in lists])
        if config.phrases:
            self._check_phrases()
        self.epochs = ShuffledEpochs(self._lists, seed) if lists and not config.replacement else None
        self._turns = _even_turns(filled, config.replacement)
        self.epoch = 0 if config.replacement else sum(self._turns) or len(self.epochs or ())

    def list_words(self) -> Iterator[tuple[str, float]]:
        """The words of the lists in this split, as listed, and the probability of each among them."""
        before = 0.0
        for share, source in zip(self._list_shares, self._lists, strict=True):
            yield from source.weighted_words((share - before) / self._list_shares[-1])
            before = share

    def word(self, index: int) -> str:
        """The word at ``index`` >= 0: non-empty, and within charset, length, and split.

        A share ``config.phrases`` are phrases, made of words of the split.
        """
        if self.epochs:
            source, word = self.epochs.word_at(index)
            return self._styles.vary(word, source.language, self._bits(index)[2:6]) if source.styled else word
        bits = self._bits(index)
        if self.config.phrases and unit(bits[6]) < self.config.phrases:
            return self.phrase(index)
        if self._turns:
            number, own = deal(index % REDRAW, self._turns)
            drawn = self.sources[number]
            if isinstance(drawn, StreamedWords):
                entry = drawn.entry_at(own + index // REDRAW * REDRAW)
                word, _ = self._rules.read(entry, drawn.language, drawn.styled)
                return self._styles.vary(word, drawn.language, bits[2:6]) if drawn.styled else word
        else:
            drawn = self.sources[bisect_right(self._cumulative, unit(bits[0]))]
        if isinstance(drawn, PatternList):
            return drawn.draw(np.random.Generator(np.random.Philox(key=bits[1:3])), self._rules)
        assert isinstance(drawn, WordList)
        word = drawn.word_at(unit(bits[1]))
        return self._styles.vary(word, drawn.language, bits[2:6]) if drawn.styled else word

    def phrase(self, index: int) -> str:
        """A line of words, numbers, and signs, as on receipts, at ``index``; a word if the charset has no space.

        Words are drawn from the lists in proportion to their weights.

        Raises:
            UserError: no phrase fits.
        """
        if " " not in self.charset or not self._lists:
            return self.word(index)
        bits = self._bits(index)
        rng = np.random.Generator(np.random.Philox(key=(bits[7], bits[5])))
        return draw_phrase(
            rng, self._lists, self._list_shares, self.charset, self.max_length, self._rules.is_within_limit
        )

    def draw(self, index: int, names: tuple[str, ...]) -> str:
        """A text at ``index``, of a uniformly drawn one of ``names``: "word", "phrase", or a key of ``PATTERNS``.

        It is a word if the pattern has no strings for charset, length, and split.
        """
        bits = self._bits(index)
        name = names[int(unit(bits[7]) * len(names))]  # bits that neither a word nor its style uses
        if name == "word":
            return self.word(index)
        if name == "phrase":
            return self.phrase(index)
        if name not in self._fitting:
            self._fitting[name] = has_strings(name, self._rules)
        if not self._fitting[name]:
            return self.word(index)
        return PatternList(name, (name,), {}).draw(np.random.Generator(np.random.Philox(key=bits[3:5])), self._rules)

    def describe(self) -> str:
        """A description for the log: for each source its share, its words, and words that were left out."""
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
        """Eight random integers of 64 bits for ``index``."""
        return struct.unpack("<8Q", blake2b(f"{self.seed}:{self.split}:{index}".encode()).digest())

    def _check_phrases(self) -> None:
        phrases = self.config.phrases
        if any(isinstance(source, StreamedWords) for source in self.sources):
            raise UserError(
                f"corpus.phrases = {phrases}: phrases would leave gaps in words of shards; set corpus.phrases=0"
            )
        if not self._lists:
            raise UserError(
                f"corpus.phrases = {phrases}: no list has a word in split '{self.split}', and phrases are made of "
                "words; set corpus.phrases=0, or add words"
            )

    def _open(self, source: SourceConfig) -> _Opened:
        if source.kind == "pattern":
            return open_patterns(source, self._rules)
        if source.kind == "shards":
            return self._open_shards(source)
        opened = open_list(source, self._rules)
        if source.kind == "labels" and len(found := label_sets(source)) > 1:
            names = ", ".join(place.relative_to(source.path).as_posix() for place in found)
            self._notes.append(f"labels of {len(found)} data sets: {names}")
        return opened

    def _open_shards(self, source: SourceConfig) -> StreamedWords:
        rules, limit = self._rules, self.limit
        language = rules.language_of(source.language)
        shards = open_shards(source.path)
        styled = not shards.pictures
        restyled = styled and rules.restyled

        def check(words: Sequence[str]) -> Iterator[str | None]:
            assert limit is not None
            return (None if fits else limit.reason for fits in limit.fits(words))

        name = f"shards:{shards.url}"
        known = f"{rules.charset.name} {''.join(rules.charset.characters)!r} {rules.max_length} {rules.heldout}"
        found, order = order_words(
            shards, self.split, self.seed, lambda entry: rules.read(entry, language, styled),
            lambda word: is_heldout(word, rules.heldout), check if limit else None, self.config.cache,
            f"{known} {language} {restyled}",
        )  # fmt: skip
        opened = StreamedWords(name, found, order, language, styled, restyled)
        if not order.length:
            raise UserError(
                f"corpus source {name}: no word in split '{self.split}'{count_drops(opened.dropped, ' (', ')')} with "
                f"{rules.describe()}; pass another list or a larger charset"
            )
        return opened


def _check_config(config: CorpusConfig, charset: Charset, split: Split) -> None:
    """What can be refused before any source is opened."""
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


def _count_words(sources: Iterable[_Opened]) -> Counter[str]:
    """The number of words by the source's name, without pattern sources and words of shards."""
    counts: Counter[str] = Counter()
    for source in sources:
        if isinstance(source, WordList):
            counts[source.name] += len(source.words)
    return counts


def _even_turns(filled: Sequence[tuple[float, _Opened]], replacement: bool) -> tuple[int, ...]:
    """Weights of an even mixture of all sources if words are streamed, so that each occurs once per epoch."""
    streams = [source for _, source in filled if isinstance(source, StreamedWords)]
    if streams and replacement:
        return whole_weights([weight for weight, _ in filled])
    return tuple(source.order.length for source in streams)
