"""The renderer turns a word into a picture that could be a crop of a photograph.

The steps are:

1. Draw a mask of the word (``layout``, ``multiline``, or one of ``kinds``).
2. Warp it by a perspective transform into the crop (``warp``). The crop is stretched to its final shape, as labeled
   crops are.
3. Paint the background and the ink (``paint``).
4. Add effects of light and of the camera (``camera``).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import change_effects
from dptr.config.render import RenderConfig
from dptr.config.size import CropSize
from dptr.synth import backgrounds, camera, colors, layout, multiline
from dptr.synth.fonts import Font, FontIndex, find_fonts, needs_shaping
from dptr.synth.kinds import KINDS, Materials, choose_kind
from dptr.synth.paint import paint
from dptr.synth.warp import warp_line
from dptr.utils.sizes import Sizes


class Renderer:
    """Renders words as crops.

    For the same fonts and backgrounds, ``render`` is a pure function of (config, size, seed, index, text): it gives the
    same bytes in any process and in any order.

    Creating or unpickling a Renderer sets OpenCV to one thread in this process. For such small images threads only cost
    time, and they would compete with other workers for CPU cores.

    Args:
        config: the probability of each effect, and where fonts and backgrounds come from.
        seed: another seed gives other crops of the same words.
        fonts: None = the fonts that ``config.fonts`` and ``config.font_split`` select.
        size: of the crops; None = 32 x 128 pixels.

    Raises:
        UserError: there are no fonts, or ``config.backgrounds`` is not a folder of photographs.
    """

    def __init__(self, config: RenderConfig, seed: int, fonts: FontIndex | None = None, size: Sizes | None = None):
        cv2.setNumThreads(0)
        self.effects = config.probabilities()
        self.size: Sizes = size or CropSize()
        self.seed = seed
        self.fonts = fonts or FontIndex(find_fonts(config.fonts), config.font_split)
        self.photographs = backgrounds.load_photographs(config.backgrounds) if config.backgrounds else ()
        self.colors = colors.make_palette(self.photographs)
        self._effects_of = {name: change_effects(self.effects, kind.effects) for name, kind in KINDS.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        cv2.setNumThreads(0)
        self.__dict__.update(state)

    def can_draw(self, text: str) -> bool:
        """Whether some font draws every character of ``text``; True for an empty text."""
        return not text or self.fonts.can_draw(text)

    def kind_of(self, index: int) -> str:
        """The kind of picture of crop ``index``, a key of ``KINDS``; "" = a word on a sign."""
        shares = self.effects.kinds
        return choose_kind(shares, self._generator(index, stream=1).random()) if shares else ""

    def render(self, text: str, index: int) -> np.ndarray:
        """Render ``text`` as crop ``index``.

        An empty text gives a picture without text. If the crop's kind of picture cannot draw the text, the text is
        drawn on a sign.

        Returns:
            uint8 (h, w, 3), RGB, in one of the sizes of ``size``.

        Raises:
            UserError: no font draws the text (see ``can_draw``).
        """
        return self._render(text, index, False)[0]

    def render_with_stops(self, text: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Render ``text`` as ``render`` does, and locate its letters in the crop.

        Returns:
            The crop, and float32 (letters, 2): where each letter begins and where it ends, at half its height, as a
            share of the crop's width (below 0 or above 1 if a letter is cut). The values are NaN where letters have no
            such places: in scripts that join their letters, words turned by 90 degrees or upside down, letters one
            below the other, words on two lines, on arcs of more than 130 degrees, and on round badges.
        """
        return self._render(text, index, True)

    def font_of(self, text: str, index: int) -> Font:
        """The font in which crop ``index`` shows ``text``."""
        kind = KINDS.get(self.kind_of(index))
        return self.fonts.choose(text, self._generator(index).random(), kind.fonts if kind else "")

    def _generator(self, index: int, stream: int = 0) -> Generator:
        """The random numbers of crop ``index``; each ``stream`` has its own."""
        key = np.array([self.seed % 2**64, index % 2**64], np.uint64)
        return Generator(np.random.Philox(key=key, counter=[0, 0, 0, stream]))

    def _render(self, text: str, index: int, with_stops: bool) -> tuple[np.ndarray, np.ndarray]:
        kind_name = self.kind_of(index) if text else "empty"
        kind, rng = KINDS.get(kind_name), self._generator(index)
        font = self.fonts.choose(text, rng.random(), kind.fonts if kind else "") if text else None
        line = kind.draw(text, font, Materials(self.colors, self.photographs, self.fonts), rng) if kind else None
        effects = self._effects_of[kind_name] if line else self.effects
        if line is None:
            assert font is not None  # "empty" always draws an empty text
            line = self._draw_line(text, font, rng, with_stops)
        word = warp_line(line, effects, self.size, rng)
        across = line.across or (1 if line.upright else len(text))
        image = paint(word, across, self.colors, self.photographs, effects, rng)
        image, contrast = camera.light_scene(image, word.fill, word.outline, effects, rng)
        crop = camera.capture(image, word.aspect, across, line.rows, contrast, word.size, effects, rng)
        return crop, word.stops

    def _draw_line(self, text: str, font: Font, rng: Generator, with_stops: bool) -> layout.Line:
        """Draw the mask of a word on a sign, with random spacing, jitter, weight, curve, and neighbors, or in rows.

        Args:
            with_stops: see ``layout.draw_word``.
        """
        effects = self.effects
        spacing = 0.0
        if rng.random() < effects.letter_spacing:
            spacing = rng.uniform(-0.06, 0.03) if rng.random() < 0.3 else rng.exponential(0.12)
        jitter = self._draw_jitter(text, rng)
        if effects.two_lines and len(text.split()) > 1 and rng.random() < effects.two_lines:
            line = multiline.stack_words(font, text, rng)
        elif self._is_vertical(text, rng):
            line = multiline.stack_letters(font, text, rng.uniform(0.05, 0.3))
        elif jitter is None or needs_shaping(text):
            line = layout.draw_word(font, text, spacing, with_stops)
        else:
            line = layout.draw_letters(font, text, spacing, jitter)
        if rng.random() < effects.stroke_weight:
            line = layout.thicken(line, int(rng.choice((-1, 1, 1, 2, 2, 3))))
        if line.rows > 1:
            return line
        if len(text) > 2 and rng.random() < effects.curve:
            return layout.bend(line, rng.choice((-1, 1)) * rng.uniform(0.15, min(1.1, 0.2 * len(text))))
        if effects.wave and len(text) > 2 and rng.random() < effects.wave:
            length = max(4 * layout.SIZE, rng.uniform(0.6, 2) * line.mask.shape[1])
            return layout.wave(line, rng.uniform(0.08, 0.25) * layout.SIZE, length, rng.uniform(0, 2 * np.pi))
        if rng.random() < effects.neighbors:
            return layout.add_neighbors(line, font, text, rng)
        return line

    def _is_vertical(self, text: str, rng: Generator) -> bool:
        share, height = self.effects.vertical_text, self.size.height
        return bool(share) and multiline.can_stack_letters(text, height) and rng.random() < share

    def _draw_jitter(self, text: str, rng: Generator) -> np.ndarray | None:
        """Rise, rotation and growth of each letter (``layout.draw_letters``); None = letters are not moved."""
        first, second = rng.random(2)
        if first < self.effects.letter_jitter:
            return rng.normal(0, 1, (len(text), 3)) * (0.06, 0.1, 0.05)
        if second < self.effects.large_initial and len(text) > 2 and text.isupper():
            jitter = np.zeros((len(text), 3))
            jitter[0] = (rng.choice((0.0, -0.15)), 0, rng.uniform(0.2, 0.4))
            return jitter
        return None
