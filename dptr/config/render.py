"""Settings of words and of the renderer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dptr.config.effects import Effects, change_effects, load_preset
from dptr.config.model import Config


class SourceConfig(Config):
    """One source of words in a corpus mixture."""

    kind: Literal["wordfreq", "cldr", "hunspell", "file", "lines", "labels", "shards", "pattern"]
    weight: float = Field(1.0, gt=0)
    language: str = "en"  # wordfreq, cldr, hunspell: language code
    top: int = Field(200_000, gt=0)  # wordfreq: the most frequent n words
    max_words: int = Field(0, ge=0)  # file, lines: different words at most, others are left out; 0 = all
    flatten: float = Field(0.5, ge=0, le=1)  # wordfreq: drawn with frequency ** (1 - flatten); 1 = uniform
    # file: text or .gz, words between white space, or a word per line with its count; lines: text or .gz, a text per
    # line, with its spaces and numbers; labels: labels.tsv, an LMDB, or a root folder; hunspell: a .dic, or empty = the
    # installed one; shards: Parquet or tar: a folder, a file, or an address
    path: str = ""
    patterns: tuple[str, ...] = ("number", "price", "date", "time", "phone", "plate", "url", "email", "code", "random")


class CorpusConfig(Config):
    """Words: sources mixed by weight, case styles, and a share of words that is held out."""

    sources: tuple[SourceConfig, ...] = (
        SourceConfig(kind="wordfreq", weight=0.75),
        SourceConfig(kind="pattern", weight=0.25),
    )
    heldout: float = Field(0.02, ge=0, lt=1)  # share of words that training never draws
    upper: float = Field(0.35, ge=0, le=1)  # case styles: UPPER, Title, mIxEd; the rest is lower
    title: float = Field(0.30, ge=0, le=1)
    mixed: float = Field(0.03, ge=0, le=1)
    punctuation: float = Field(0.05, ge=0, le=1)  # share of words with a sign before or after
    phrases: float = Field(0.0, ge=0, le=1)  # share of texts with several words; the charset must have the space
    cache: str = ""  # folder for the survey of shards; empty = survey at each start
    replacement: bool = True  # draw words independently; false: every entry once per epoch, in shuffled order


class RenderConfig(Config):
    """The renderer: probabilities of effects, fonts, and backgrounds.

    The size of crops is that of the image encoder; ``dptr synth`` has ``size`` for it.
    """

    preset: str = "default"  # a key of dptr.config.effects.PRESETS, or a TOML file of effects
    effects: dict[str, float] = Field({})  # override the preset's probabilities (dptr.config.effects.Effects)
    fonts: tuple[str, ...] = ()  # folders or files; empty = those of this system, if any, else the embedded ones
    font_split: Literal["all", "train", "heldout"] = "all"  # by font family, one in ten held out
    backgrounds: str = ""  # a folder of photographs; empty = drawn backgrounds only

    def probabilities(self) -> Effects:
        """The preset with ``effects`` overridden.

        Raises:
            ValueError: see ``load_preset``, ``change_effects``.
        """
        return change_effects(load_preset(self.preset), self.effects)

    @model_validator(mode="after")
    def _can_be_rendered(self) -> RenderConfig:
        self.probabilities()
        if self.effects.get("photograph") and not self.backgrounds:
            raise ValueError(
                f"effects.photograph = {self.effects['photograph']} without photographs; name a folder of them in "
                "backgrounds, or leave effects.photograph out"
            )
        return self


def plain_render(config: RenderConfig) -> RenderConfig:
    """The same fonts without effects: dark or light flat words, for the start of training."""
    return config.model_copy(update={"preset": "plain", "effects": {}})
