"""Settings of words and of the renderer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dptr.config.effects import Effects, change_effects, load_preset
from dptr.config.model import Config


class SourceConfig(Config):
    """One source of words in a corpus mixture."""

    kind: Literal["wordfreq", "cldr", "hunspell", "file", "labels", "shards", "pattern"]
    weight: float = Field(1.0, gt=0)
    language: str = "en"  # wordfreq, cldr, hunspell: language code
    top: int = Field(200_000, gt=0)  # wordfreq: the most frequent n words
    max_words: int = Field(0, ge=0)  # file: at most so many different words, the others are left out; 0 = all
    flatten: float = Field(0.5, ge=0, le=1)  # wordfreq: drawn with frequency ** (1 - flatten); 1 = uniform
    # file: text or .gz, a word a line, perhaps with its count; labels: labels.tsv, an LMDB, or a root of many;
    # hunspell: a .dic, or installed;
    # shards: Parquet or tar, a folder, a file, or an address, read little by little
    path: str = ""
    patterns: tuple[str, ...] = ("number", "price", "date", "time", "phone", "plate", "url", "email", "code", "random")


class CorpusConfig(Config):
    """Words in: sources mixed by weight, case styles, a held-out part by word."""

    sources: tuple[SourceConfig, ...] = (
        SourceConfig(kind="wordfreq", weight=0.75),
        SourceConfig(kind="pattern", weight=0.25),
    )
    heldout: float = Field(0.02, ge=0, lt=1)  # share of words never drawn by split "train"
    upper: float = Field(0.35, ge=0, le=1)  # case styles of cased words: UPPER, Title, mIxEd; the rest lower
    title: float = Field(0.30, ge=0, le=1)
    mixed: float = Field(0.03, ge=0, le=1)
    punctuation: float = Field(0.05, ge=0, le=1)  # share of words that get a sign before or after
    phrases: float = Field(0.0, ge=0, le=1)  # share of texts of several words; the charset must have the space
    cache: str = ""  # a folder for what is in shards, so that it is looked at once; empty = at each start
    replacement: bool = True  # words are drawn independently; false: every entry once an epoch, in shuffled order


class RenderConfig(Config):
    """The renderer: how likely each effect is, and where fonts and backgrounds come from.

    Crops have the size that the image encoder reads; ``dptr synth`` has ``size`` for it.
    """

    preset: str = "default"  # a key of dptr.config.effects.PRESETS, or a TOML file of effects
    effects: dict[str, float] = Field({})  # other probabilities than the preset's: dptr.config.effects.Effects
    fonts: tuple[str, ...] = ()  # folders or files; empty = those of this system, if any, else the embedded ones
    font_split: Literal["all", "train", "heldout"] = "all"  # by font family, one in ten held out
    backgrounds: str = ""  # a folder of photographs; empty = drawn backgrounds only

    def probabilities(self) -> Effects:
        """The preset with ``effects`` in place of its own.

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
    """The same fonts with every effect off: dark or light flat words, to start learning with."""
    return config.model_copy(update={"preset": "plain", "effects": {}})
