"""How likely each effect of the renderer is, and the presets: tables of such probabilities under a name.

Effects that make a word hard to read are as rare in the default preset as a small recognizer learns most from
(docs/RESULTS.md, "What rendered crops are worth"). The crops of a preset never change: tests/synth/test_presets.py
holds them to their bytes.
"""

from __future__ import annotations

import difflib
import tomllib
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from dptr.config.model import Config
from dptr.utils.reading import LARGEST_SETTINGS, parse_toml, read_file

Probability = Annotated[float, Field(ge=0, le=1)]


class Effects(Config):
    """The probability, 0 to 1, of each effect in a crop; the values here are those of the preset ``default``."""

    # Layout: where the letters stand
    letter_spacing: Probability = 0.2  # letters closer together or farther apart
    letter_jitter: Probability = 0.03  # letters raised, turned and resized, each on its own
    large_initial: Probability = 0.04  # capitals with a taller first letter
    stroke_weight: Probability = 0.4  # strokes thicker or thinner than the font's
    slant: Probability = 0.1  # letters that lean to a side
    curve: Probability = 0.1  # letters on an arc
    wave: Probability = 0.0  # letters that go up and down
    rotation: Probability = 0.25  # the word turned by some degrees
    quarter_turn: Probability = 0.015  # the word turned by 90 degrees
    perspective: Probability = 0.25  # the word seen from the side
    cut: Probability = 0.0  # the crop's border runs through the outer letters
    vertical_text: Probability = 0.0  # short words from top to bottom, each letter upright
    two_lines: Probability = 0.0  # texts that hold a space, on two lines
    neighbors: Probability = 0.15  # pieces of other words at the crop's edge

    # Ink: how the letters are painted
    black_or_white: Probability = 0.35  # black or white ink, whatever the background
    low_contrast: Probability = 0.02  # ink hardly different from the background
    outline: Probability = 0.12  # a contour of another color
    double_outline: Probability = 0.0  # of the outlined words: a second contour around the first
    shadow: Probability = 0.2  # a shadow or a glow beside the letters
    extrusion: Probability = 0.0  # block letters with sides
    wear: Probability = 0.03  # ink that has come off in places
    # Ink styles, of which a crop has at most one (dptr.synth.ink_styles); together at most 1
    emboss: Probability = 0.0  # raised or sunk letters
    neon: Probability = 0.0  # glowing tubes
    dots: Probability = 0.0  # displays of lamps
    stencil: Probability = 0.0  # letters cut by bridges
    chalk: Probability = 0.0  # the grain of the board shows through
    hollow: Probability = 0.0  # contours alone
    occlusion: Probability = 0.0  # something stands before the word

    # Background: what the word stands on; gradient and texture are drawn on the ink too
    photograph: Probability = 0.3  # a piece of a photograph, where render.backgrounds names a folder
    gradient: Probability = 0.2  # one color that fades into another
    texture: Probability = 0.12  # blotches
    panel: Probability = 0.15  # the end of the sign, a frame, stripes
    paper: Probability = 0.0  # nearly white, as pages are
    sign_board: Probability = 0.0  # a whole board with a border before another background, for words alone

    # Light and camera
    lighting: Probability = 0.25  # exposure, haze, tint, uneven light
    cast_shadow: Probability = 0.0  # a shadow over a part of the crop
    glare: Probability = 0.0  # a lamp mirrored in the sign
    exposure: Probability = 0.0  # too much or too little light
    color_cast: Probability = 0.0  # a white balance that is off
    bloom: Probability = 0.05  # bright parts that shine over their edges
    low_resolution: Probability = 0.15  # taken with few pixels, then enlarged
    blur: Probability = 0.2  # Gaussian or by motion
    defocus: Probability = 0.0  # blur by a disc, in place of ``blur``
    sharpen: Probability = 0.15  # the halo of a camera's sharpening
    chromatic_aberration: Probability = 0.05  # red and blue shifted, as by cheap lenses
    noise: Probability = 0.2  # grain of the sensor
    grayscale: Probability = 0.04  # no color
    jpeg: Probability = 0.3  # artifacts of compression

    # Kinds of pictures beside the word on a sign (dptr.synth.kinds), of which a crop is at most one; together at most 1
    empty: Probability = 0.0  # nothing written: the label is ""
    arc: Probability = 0.0  # a word along an arc of 90 to 300 degrees, convex or concave
    emblem: Probability = 0.0  # a word along the rim of a round badge
    receipt: Probability = 0.0  # lines of thermal and dot matrix printers
    display: Probability = 0.0  # readings of segment and dot matrix displays, lit or LCD
    marker: Probability = 0.0  # codes on cable markers
    plate: Probability = 0.0  # license plates
    stamp: Probability = 0.0  # codes embossed, engraved, or stenciled on metal and plastic

    @property
    def kinds(self) -> dict[str, float]:
        """The share of crops of each kind of picture, of those that have any."""
        return {name: getattr(self, name) for name in KIND_NAMES if getattr(self, name)}

    @property
    def ink_styles(self) -> dict[str, float]:
        """The share of crops of each ink style, of those that have any."""
        return {name: getattr(self, name) for name in INK_STYLE_NAMES if getattr(self, name)}

    @model_validator(mode="after")
    def _styles_and_kinds_are_shares(self) -> Effects:
        for name, shares in (("ink styles", self.ink_styles), ("kinds", self.kinds)):
            if sum(shares.values()) > 1 + 1e-9:
                raise ValueError(f"{name} {shares} take more than all crops; lower them to a sum of at most 1")
        return self

    @model_validator(mode="after")
    def _second_outline_has_a_first(self) -> Effects:
        if self.double_outline and not self.outline:
            raise ValueError(
                f"double_outline = {self.double_outline} is a share of the outlined words, and outline is 0; "
                "raise outline, or set double_outline to 0"
            )
        return self


# In the order in which a random number chooses one: another order gives other crops.
INK_STYLE_NAMES = (
    "emboss",
    "neon",
    "dots",
    "stencil",
    "chalk",
    "hollow",
    "occlusion",
)

KIND_NAMES = ("empty", "arc", "emblem", "receipt", "display", "marker", "plate", "stamp")

# What effects were called in older recipes and packs.
RENAMED_EFFECTS = {
    "spacing": "letter_spacing",
    "jitter": "letter_jitter",
    "initial": "large_initial",
    "weight": "stroke_weight",
    "vertical": "quarter_turn",
    "upright": "vertical_text",
    "stacked": "two_lines",
    "neighbours": "neighbors",
    "plain": "black_or_white",
    "faint": "low_contrast",
    "hidden": "occlusion",
    "board": "sign_board",
    "colour_cast": "color_cast",
    "lowres": "low_resolution",
    "fringe": "chromatic_aberration",
    "grey": "grayscale",
}

# Each with what differs from ``default``.
# fmt: off
_SIGNS = dict(
    wave=0.03, two_lines=0.15, double_outline=0.15, extrusion=0.05, emboss=0.01, neon=0.02, chalk=0.01, hollow=0.01,
    occlusion=0.01, sign_board=0.1, cast_shadow=0.02, glare=0.01, exposure=0.03, color_cast=0.1, defocus=0.02,
)
PRESETS: dict[str, Effects] = {
    "default": Effects(),
    # signs, shops and things, as photographs of streets show them
    "signs": Effects(**_SIGNS),
    # words that are hard to read: small, blurred, faint, bent, hidden
    "hard": Effects(
        letter_spacing=0.4, letter_jitter=0.12, slant=0.25, curve=0.3, wave=0.08, rotation=0.7, quarter_turn=0.03,
        perspective=0.7, vertical_text=0.04, two_lines=0.2, neighbors=0.4, black_or_white=0.15, low_contrast=0.3,
        outline=0.2, double_outline=0.3, shadow=0.3, extrusion=0.1, wear=0.15, emboss=0.05, neon=0.05, dots=0.03,
        stencil=0.03, chalk=0.08, hollow=0.08, occlusion=0.15, photograph=0.6, gradient=0.3, texture=0.25,
        sign_board=0.1, lighting=0.75, cast_shadow=0.15, glare=0.1, exposure=0.25, color_cast=0.2, bloom=0.2,
        low_resolution=0.65, blur=0.6, defocus=0.2, noise=0.6, jpeg=0.6,
    ),
    # printed pages, scanned or photographed
    "document": Effects(
        letter_spacing=0.15, letter_jitter=0.0, large_initial=0.0, stroke_weight=0.2, slant=0.02, curve=0.02,
        rotation=0.3, quarter_turn=0.0, neighbors=0.3, black_or_white=0.97, low_contrast=0.04, outline=0.0,
        shadow=0.0, wear=0.04, photograph=0.0, gradient=0.05, texture=0.08, panel=0.02, paper=0.92, lighting=0.3,
        cast_shadow=0.04, glare=0.01, exposure=0.05, color_cast=0.1, bloom=0.0, low_resolution=0.2, blur=0.25,
        defocus=0.04, sharpen=0.2, chromatic_aberration=0.03, noise=0.3, grayscale=0.4, jpeg=0.4,
    ),
    # numbers and codes on plates, labels and meters
    "plates": Effects(
        letter_spacing=0.3, letter_jitter=0.02, large_initial=0.0, curve=0.0, rotation=0.3, quarter_turn=0.0,
        perspective=0.4, two_lines=0.1, neighbors=0.1, black_or_white=0.8, outline=0.02, shadow=0.05, wear=0.06,
        emboss=0.12, dots=0.04, stencil=0.03, occlusion=0.03, photograph=0.15, gradient=0.1, texture=0.1, panel=0.4,
        sign_board=0.35, cast_shadow=0.04, glare=0.03, exposure=0.06, color_cast=0.08, low_resolution=0.2, blur=0.25,
        defocus=0.04,
    ),
    # half signs, half other kinds of pictures: for a recognizer of whatever is written, and of nothing
    "mixed": Effects(
        **_SIGNS, cut=0.03, empty=0.05, arc=0.06, emblem=0.03, receipt=0.13, display=0.09, marker=0.05, plate=0.05,
        stamp=0.05,
    ),
    # every effect off: flat dark or light words, to start learning with
    "plain": Effects(**dict.fromkeys(Effects.model_fields, 0.0)),
}
# fmt: on


def load_preset(name: str) -> Effects:
    """The preset of that name, or of a TOML file: a line an effect, ``blur = 0.5``, those that differ from ``default``.

    Raises:
        ValueError: neither a preset nor a file; a file that is no TOML or holds anything but effects.
    """
    if name in PRESETS:
        return PRESETS[name]
    if not name.endswith(".toml"):
        raise ValueError(f"unknown preset '{name}'; choose {', '.join(PRESETS)}, or pass a TOML file of effects")
    try:
        return change_effects(PRESETS["default"], parse_toml(read_file(name, LARGEST_SETTINGS).decode("utf-8-sig")))
    except OSError as error:
        raise ValueError(f"preset {name}: {error.strerror}; pass an existing TOML file of effects") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"preset {name}: not valid TOML ({error}); write a line an effect: blur = 0.5") from error
    except ValueError as error:
        raise ValueError(f"preset {name}: {error}") from error


def change_effects(effects: Effects, changes: dict[str, float]) -> Effects:
    """``effects`` with some other probabilities.

    Raises:
        ValueError: an effect that does not exist (the nearest name is told), or a value that cannot be.
    """
    for name in changes:
        if name in RENAMED_EFFECTS:
            raise ValueError(f"effect '{name}' is now called '{RENAMED_EFFECTS[name]}'")
        if name not in Effects.model_fields:
            near = difflib.get_close_matches(name, Effects.model_fields, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown effect '{name}'; did you mean '{near}'?")
    try:
        return Effects.model_validate({**effects.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        where = f"effect {first['loc'][0]} = {first['input']}: " if first["loc"] else ""
        raise ValueError(where + first["msg"].removeprefix("Value error, ")) from error
