"""Settings of words and of the renderer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dptr.config.model import Config, check_widest


class SourceConfig(Config):
    """One source of words in a corpus mixture."""

    kind: Literal["wordfreq", "file", "labels", "pattern"]
    weight: float = Field(1.0, gt=0)
    language: str = "en"  # wordfreq: language code
    top: int = Field(200_000, gt=0)  # wordfreq: the most frequent n words
    flatten: float = Field(0.5, ge=0, le=1)  # wordfreq: drawn with frequency ** (1 - flatten); 1 = uniform
    path: str = ""  # file: text or .gz, a word a line; labels: a folder with labels.tsv
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


class RenderConfig(Config):
    """The renderer: where fonts and backgrounds come from, and how likely each effect is.

    Effects that make a word hard to read are as rare as a small recognizer learns most from
    (docs/evidence/renderer.md).
    """

    height: int = Field(32, ge=8)  # pixels
    width: int = Field(128, ge=8)
    widest: int = Field(
        0, ge=0
    )  # pixels; longer words keep their shape up to it (dptr.utils.widths); 0 = all crops of width
    fonts: tuple[str, ...] = ()  # folders or files; empty = those of this system, if any, else the embedded ones
    font_split: Literal["all", "train", "heldout"] = "all"  # by font family, one in ten held out
    backgrounds: str = ""  # a folder of photographs; empty = procedural grounds only
    photograph: float = Field(0.3, ge=0, le=1)  # share of crops on a photograph, where a folder is given
    gradient: float = Field(0.2, ge=0, le=1)
    outline: float = Field(0.12, ge=0, le=1)
    shadow: float = Field(0.2, ge=0, le=1)
    texture: float = Field(0.12, ge=0, le=1)
    curve: float = Field(0.1, ge=0, le=1)
    rotation: float = Field(0.25, ge=0, le=1)
    perspective: float = Field(0.25, ge=0, le=1)
    spacing: float = Field(0.2, ge=0, le=1)
    neighbours: float = Field(0.15, ge=0, le=1)  # pieces of other words at the crop's edge
    lowres: float = Field(0.15, ge=0, le=1)
    blur: float = Field(0.2, ge=0, le=1)
    noise: float = Field(0.2, ge=0, le=1)
    jpeg: float = Field(0.3, ge=0, le=1)
    lighting: float = Field(0.25, ge=0, le=1)
    weight: float = Field(0.4, ge=0, le=1)  # strokes thicker or thinner than the font's
    slant: float = Field(0.1, ge=0, le=1)
    panel: float = Field(0.15, ge=0, le=1)  # the sign's end, a frame, stripes
    jitter: float = Field(0.03, ge=0, le=1)  # letters out of line
    initial: float = Field(0.04, ge=0, le=1)  # capitals with a taller first letter
    plain: float = Field(0.35, ge=0, le=1)  # black or white ink, whatever the ground
    vertical: float = Field(0.015, ge=0, le=1)  # turned by 90 degrees
    faint: float = Field(0.02, ge=0, le=1)  # ink hardly different from the ground
    wear: float = Field(0.03, ge=0, le=1)
    bloom: float = Field(0.05, ge=0, le=1)
    sharpen: float = Field(0.15, ge=0, le=1)
    fringe: float = Field(0.05, ge=0, le=1)  # colours that do not meet, as cheap lenses leave them
    grey: float = Field(0.04, ge=0, le=1)
    paper: float = Field(0.0, ge=0, le=1)  # grounds nearly white, as pages are
    wave: float = Field(0.0, ge=0, le=1)  # letters that go up and down
    upright: float = Field(0.0, ge=0, le=1)  # short words from top to bottom, each letter upright
    stacked: float = Field(0.0, ge=0, le=1)  # words on two lines, of texts that hold a space
    board: float = Field(0.0, ge=0, le=1)  # a whole board with a border before another ground, for words alone
    extrusion: float = Field(0.0, ge=0, le=1)  # block letters
    double_outline: float = Field(0.0, ge=0, le=1)  # of the outlined words
    defocus: float = Field(0.0, ge=0, le=1)  # disc blur, in place of ``blur``'s
    exposure: float = Field(0.0, ge=0, le=1)  # over or under
    colour_cast: float = Field(0.0, ge=0, le=1)
    glare: float = Field(0.0, ge=0, le=1)
    cast_shadow: float = Field(0.0, ge=0, le=1)  # over a part of the crop
    # Inks, of which a crop has at most one (dptr.synth.inks); together at most 1.
    emboss: float = Field(0.0, ge=0, le=1)  # raised or sunk letters
    neon: float = Field(0.0, ge=0, le=1)
    dots: float = Field(0.0, ge=0, le=1)  # displays of lamps
    stencil: float = Field(0.0, ge=0, le=1)
    chalk: float = Field(0.0, ge=0, le=1)
    hollow: float = Field(0.0, ge=0, le=1)  # contours
    hidden: float = Field(0.0, ge=0, le=1)  # something stands before the word

    @model_validator(mode="after")
    def _whole_steps(self) -> RenderConfig:
        check_widest(self.width, self.widest)
        return self

    @property
    def inks(self) -> dict[str, float]:
        """The share of crops of each ink, of those that have any."""
        names = ("emboss", "neon", "dots", "stencil", "chalk", "hollow", "hidden")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @model_validator(mode="after")
    def _inks_are_shares(self) -> RenderConfig:
        if sum(self.inks.values()) > 1 + 1e-9:
            raise ValueError(f"inks {self.inks} take more than all crops; lower them to a sum of at most 1")
        return self


def plain_render(config: RenderConfig) -> RenderConfig:
    """The same fonts and size with every effect off: dark or light flat words, to start learning with."""
    return config.model_copy(update={name: 0.0 for name, value in config if isinstance(value, float)})
