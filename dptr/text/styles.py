"""Case styles of listed words (upper, title, mixed), and signs around them."""

from __future__ import annotations

from dptr.config.render import CorpusConfig
from dptr.text import casing
from dptr.text.rules import SIGNS, Rules


class Styles:
    """Draws case styles and signs with a corpus's shares, within its rules."""

    def __init__(self, config: CorpusConfig, rules: Rules) -> None:
        self.config, self.rules = config, rules
        self._signs = [pair for pair in SIGNS if rules.charset.covers("".join(pair))]

    def vary(self, word: str, language: str, bits: tuple[int, ...]) -> str:
        """The word in a case style of its language, possibly with a sign; unchanged if these do not fit.

        Args:
            bits: four random integers of 64 bits.
        """
        word = self._style(word, language, unit(bits[0]), bits[1])
        if self._signs and unit(bits[2]) < self.config.punctuation:
            before, after = self._signs[int(unit(bits[3]) * len(self._signs))]
            signed = before + word + after
            if self.rules.accepts(signed):
                return signed  # not if, for example, ؟ is beside a Latin word
        return word

    def _style(self, word: str, language: str, choice: float, bits: int) -> str:
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
            styled = self.rules.charset.normalize(styled)
            if not _is_same_word(styled, word, language):
                return word
        return styled if self.rules.fits(styled) and self.rules.is_within_limit(styled) else word


def unit(bits: int) -> float:
    """Convert 64 random bits to a number in [0, 1)."""
    return (bits >> 11) * 2.0**-53


def _is_same_word(styled: str, word: str, language: str) -> bool:
    """Whether words differ only in case: without Turkish rules, KADIN is not the word kadın."""
    if language in casing.LANGUAGES:
        return casing.key(styled) == casing.key(word)
    return styled.casefold() == word.casefold()
