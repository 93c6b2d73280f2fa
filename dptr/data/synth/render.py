"""Rendered crops: a word becomes a picture that could have been cut from a photograph.

One crop goes through: a mask of the word (``layout``), one perspective warp to the crop (stretched to the target shape,
as labelled crops are), colours and ground (``grounds``), light and camera (``effects``).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config import RenderConfig
from dptr.data.synth import effects, grounds, inks, layout
from dptr.data.synth.fonts import Font, FontIndex, find_fonts, needs_shaping

_SCALE = 1.5  # colours are laid on at this multiple of the target size


class Renderer:
    """Words to crops.

    ``render`` is a pure function of (config, seed, index, text) on one set of fonts and backgrounds: the same bytes
    in any process and any order. Making (or unpickling) a Renderer sets OpenCV to one thread in this process: at
    these sizes threads only cost time, and several workers must not fight over the cores.

    Args:
        config: where fonts and backgrounds come from, and how likely each effect is.
        seed: another seed gives other crops for the same words.
        fonts: None = found as ``config.fonts`` and ``config.font_split`` say.

    Raises:
        UserError: no fonts; ``config.backgrounds`` is not a folder of photographs.
    """

    def __init__(self, config: RenderConfig, seed: int, fonts: FontIndex | None = None):
        cv2.setNumThreads(0)
        self.config = config
        self.seed = seed
        self.fonts = fonts or FontIndex(find_fonts(config.fonts), config.font_split)
        self.photographs = grounds.load_photographs(config.backgrounds) if config.backgrounds else ()
        self.colours = grounds.palette(self.photographs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        cv2.setNumThreads(0)
        self.__dict__.update(state)

    def can_draw(self, text: str) -> bool:
        """Whether some font draws every character of ``text``."""
        return self.fonts.can_draw(text)

    def render(self, text: str, index: int) -> np.ndarray:
        """The crop of ``text`` number ``index``: uint8 (height, width, 3), RGB.

        Raises:
            UserError: no font draws the word (see ``can_draw``).
        """
        return self.render_with_stops(text, index)[0]

    def render_with_stops(self, text: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        """``render``, and where the letters stand in the crop.

        Returns:
            The crop, and float32 (letters, 2): where each letter begins and where it ends, halfway up, as a share of
            the crop's width (below 0 or above 1 where a letter is cut). NaN where that has no meaning: scripts that
            join their letters, and words turned by 90 degrees.
        """
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed % 2**64, index % 2**64], np.uint64)))
        font = self.fonts.choose(text, rng.random())
        line = self._line(text, font, rng)
        fill, grown, aspect, stops = self._place(line, rng)
        image = self._light(self._paint(fill, grown, rng), fill, grown, rng)
        return self._shoot(image, aspect, len(text), _visible(image, fill, grown), rng), stops

    def _line(self, text: str, font: Font, rng: Generator) -> layout.Line:
        """The word's mask: spaced, thickened, bent, with neighbours."""
        config = self.config
        spacing = 0.0
        if rng.random() < config.spacing:
            spacing = rng.uniform(-0.06, 0.03) if rng.random() < 0.3 else rng.exponential(0.12)
        jitter = self._jitter(text, rng)
        if jitter is None or needs_shaping(text):
            line = layout.draw_word(font, text, spacing)
        else:
            line = layout.draw_letters(font, text, spacing, jitter)
        if rng.random() < config.weight:
            line = layout.thicken(line, int(rng.choice((-1, 1, 1, 2, 2, 3))))
        if len(text) > 2 and rng.random() < config.curve:
            return layout.bend(line, rng.choice((-1, 1)) * rng.uniform(0.15, min(1.1, 0.2 * len(text))))
        if rng.random() < config.neighbours:
            return layout.add_neighbours(line, font, text, rng)
        return line

    def _jitter(self, text: str, rng: Generator) -> np.ndarray | None:
        """Each letter's rise, turn and growth, or None where all stand in line."""
        first, second = rng.random(2)
        if first < self.config.jitter:
            return rng.normal(0, 1, (len(text), 3)) * (0.06, 0.1, 0.05)
        if second < self.config.initial and len(text) > 2 and text.isupper():
            grown = np.zeros((len(text), 3))
            grown[0] = (rng.choice((0.0, -0.15)), 0, rng.uniform(0.2, 0.4))
            return grown
        return None

    def _place(self, line: layout.Line, rng: Generator) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Warp the line into the crop.

        Returns:
            ink, and ink grown by an outline (the same where it gets none): float32 (h, w) in [0, 1]; the crop's
            width over height as the camera sees it; and the letters' ends as ``render_with_stops`` gives them.
        """
        config = self.config
        mask, (left, top, right, bottom) = line.mask, line.box
        height, width = round(config.height * _SCALE), round(config.width * _SCALE)
        edge = 6
        mask = layout.pad(mask, edge, edge)
        left, top, right, bottom = left + edge, top + edge, right + edge, bottom + edge
        outlined = rng.random() < config.outline
        if outlined:
            grown = layout.embolden(mask, int(rng.integers(2, 6)))
            extra = (grown.shape[0] - mask.shape[0]) // 2
            mask = np.dstack((layout.pad(mask, extra, extra), grown))
            left, top, right, bottom = left + extra, top + extra, right + extra, bottom + extra
        box = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
        shrink = (right - left) / (1.6 * width)
        stops = np.add(line.stops, (left - line.box[0], top - line.box[1]))
        world = self._corners(box - box.mean(0), rng)
        if shrink > 1:  # far more columns than the crop has: average them, the warp would skip some
            mask = cv2.resize(
                mask, (max(1, round(mask.shape[1] / shrink)), mask.shape[0]), interpolation=cv2.INTER_AREA
            )
            box[:, 0] /= shrink
            stops[..., 0] /= shrink
        low, high = world.min(0), world.max(0)
        rise = min(bottom - top, high[1] - low[1])
        loose = rng.random(4)
        margins = np.where(loose < 0.12, rng.uniform(-0.07, 0.02, 4),
                           np.where(loose < 0.85, rng.uniform(0.0, 0.18, 4), rng.uniform(0.15, 0.5, 4)))  # fmt: skip
        low, high = low - margins[:2] * rise, high + margins[2:] * rise
        target = (world - low) / (high - low) * (width, height)
        matrix = cv2.getPerspectiveTransform(box, target.astype(np.float32))
        warped = cv2.warpPerspective(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
        layers = [layer.astype(np.float32) / 255 for layer in cv2.split(warped)]
        seen = cv2.perspectiveTransform(stops.reshape(-1, 1, 2), matrix).reshape(-1, 2, 2)[..., 0] / width
        if abs(world[1, 0] - world[0, 0]) < abs(world[1, 1] - world[0, 1]):  # the word runs up or down
            seen[:] = np.nan
        return layers[0], layers[-1], float((high[0] - low[0]) / (high[1] - low[1])), seen.astype(np.float32)

    def _corners(self, box: np.ndarray, rng: Generator) -> np.ndarray:
        """The word's corners (4, 2) around (0, 0) as a camera sees them: slanted, from aside, turned."""
        config = self.config
        half_width, half_height = box[2]
        corners = box.astype(np.float64)
        if rng.random() < config.slant:
            corners[:, 0] -= np.clip(rng.normal(0, 0.18), -0.5, 0.5) * corners[:, 1]
        if rng.random() < config.perspective:
            far = np.clip(rng.normal(0, 0.12, 2), -0.3, 0.3)
            corners[:, 1] *= 1 + far[0] * corners[:, 0] / half_width
            corners[:, 0] *= 1 + far[1] * corners[:, 1] / half_height
            corners[:, 1] += np.clip(rng.normal(0, 0.06), -0.15, 0.15) * corners[:, 0]
        if rng.random() < config.rotation:
            degrees = rng.normal(0, 5) if rng.random() < 0.75 else rng.normal(0, 16)
            most = np.rad2deg(np.arcsin(min(0.64, 1.4 * half_height / half_width)))  # long words would become thin
            angle = np.deg2rad(np.clip(degrees, -most, most))
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            corners = corners @ turn
        if rng.random() < config.vertical:
            corners = corners[:, ::-1] * rng.choice(((1, -1), (-1, 1)))
        return corners

    def _paint(self, fill: np.ndarray, grown: np.ndarray, rng: Generator) -> np.ndarray:
        """Ground, shadow, outline and ink: float32 (h, w, 3)."""
        config = self.config
        height, width = fill.shape
        ground = self._ground(height, width, rng)
        mean, deviation = (values[:, 0].astype(np.float32) for values in cv2.meanStdDev(ground))
        contrast = rng.uniform(22, 70) if rng.random() < config.faint else rng.uniform(80, 250)
        busy = np.float32(deviation.mean() / (contrast / 5))
        if busy > 1:  # a wild ground would hide the ink: tone it down
            calm = grounds.flat(mean, height, width)
            ground = calm + (ground - calm) / busy
        colour = grounds.contrasting(rng, self.colours, mean, contrast)
        if rng.random() < config.plain and contrast > 70:
            colour = grounds.black_or_white(rng, mean)
        ink = grounds.flat(colour, height, width)
        if rng.random() < config.gradient:
            other = grounds.contrasting(rng, self.colours, mean, contrast)
            ink = grounds.blend(ink, other, rng.uniform(0.3, 1) * grounds.slope(rng, height, width))
        if rng.random() < config.texture:
            cells = int(rng.integers(4, 20))
            ink = ink + grounds.spread(rng.uniform(10, 50) * grounds.smooth_noise(rng, height, width, cells))
        if rng.random() < config.shadow:
            ground = _shadow(ground, colour, grown, rng)
        if grown is not fill:
            edge = grounds.contrasting(rng, self.colours, colour, rng.uniform(60, 220))
            ground = grounds.blend(ground, edge, np.maximum(grown - fill, 0))
        if rng.random() < config.wear:
            worn = grounds.smooth_noise(rng, height, width, int(rng.integers(6, 20)))
            fill = fill * np.clip(1.1 - rng.uniform(1, 4) * np.maximum(worn - rng.uniform(0.2, 0.6), 0), 0, 1)
        if config.inks and (special := inks.choose(config.inks, rng.random())):
            ground, ink, fill = special(ground, ink, fill, rng)
        return grounds.blend(ground, ink, fill)

    def _ground(self, height: int, width: int, rng: Generator) -> np.ndarray:
        config = self.config
        colours = self.colours[rng.integers(len(self.colours), size=3)]
        if config.paper and rng.random() < config.paper:
            colours[0] = 255 - np.abs(rng.normal(0, 18)) - np.abs(rng.normal(0, 5, 3))
        ground = grounds.flat(colours[0], height, width)
        if self.photographs and rng.random() < config.photograph:
            piece = grounds.patch(rng, self.photographs, height, width)
            if rng.random() < 0.35:
                ground = piece
            else:  # paint that keeps the wall's light and grain
                calm = grounds.flat(grounds.mean_colour(piece), height, width)
                ground = ground + rng.uniform(0.1, 0.6) * (piece - calm)
        if rng.random() < config.gradient:
            ground = grounds.blend(ground, colours[1], rng.uniform(0, 0.7) * grounds.slope(rng, height, width))
        if rng.random() < config.texture:
            cells = int(rng.integers(3, 24))
            ground = ground + grounds.spread(rng.uniform(5, 40) * grounds.smooth_noise(rng, height, width, cells))
        if rng.random() < config.panel:
            ground = grounds.panels(rng, ground, colours[2])
        return ground

    def _light(self, image: np.ndarray, fill: np.ndarray, grown: np.ndarray, rng: Generator) -> np.ndarray:
        """Light on the scene; left out where it would drown the ink."""
        config = self.config
        lit = image
        if rng.random() < config.lighting:
            lit = effects.light(lit, rng)
        if rng.random() < config.bloom:
            lit = effects.bloom(lit, rng)
        drowned = lit is not image and _visible(lit, fill, grown) < min(15, _visible(image, fill, grown))
        return image if drowned else lit

    def _shoot(self, image: np.ndarray, aspect: float, letters: int, contrast: float, rng: Generator) -> np.ndarray:
        """The camera: uint8 (height, width, 3).

        Args:
            aspect: width over height of the crop as the camera saw it, before it is stretched.
            letters: in the word; they keep at least 4.5 pixels each, or there would be nothing to read.
            contrast: of the ink to its ground (0 to 255); bounds the noise.
        """
        config = self.config
        few, many = (9, 26) if rng.random() < config.lowres else (24, 110)
        side = np.exp(rng.uniform(np.log(few), np.log(many)))  # pixels of the crop's shorter side
        side = max(side, 4.5 * letters / max(aspect, 1 / aspect))
        rows = min(side * max(1, 1 / aspect), image.shape[0])
        columns = min(side * max(1, aspect), image.shape[1])
        image = cv2.resize(image, (round(columns), round(rows)), interpolation=cv2.INTER_AREA)
        if rng.random() < config.blur:
            most = min(2.0 * rows / 32, 0.25 * columns / letters)  # pixels; two letters must not melt into one,
            most *= min(1, contrast / 60)  # nor faint ones into the ground
            if rng.random() < 0.75:
                image = effects.gaussian_blur(image, max(0.3, most * np.exp(rng.uniform(np.log(0.25), 0))))
            else:
                image = effects.motion_blur(image, rng, max(1.5, most * rng.uniform(1, 3)))
        if rng.random() < config.sharpen:
            image = effects.sharpen(image, rng.uniform(0.5, 2))
        if rng.random() < config.fringe:
            image = effects.fringe(image, rng)
        if rng.random() < config.noise:
            image = effects.sensor_noise(image, rng, contrast / 4)
        if rng.random() < config.grey:
            image = grounds.spread(image @ grounds.LUMA)
        pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
        if rng.random() < config.jpeg:
            pixels = effects.jpeg(pixels, int(rng.integers(20, 90)))
        shape = (config.width, config.height)
        smaller = pixels.shape[0] > config.height
        return cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _visible(image: np.ndarray, fill: np.ndarray, grown: np.ndarray) -> float:
    """How far the ink's mean colour is from the ground's, as pixels will hold it (0 to 255)."""
    seen = np.clip(image, 0, 255).reshape(-1, 3)
    ink, ground = fill.reshape(-1), 1 - grown.reshape(-1)
    return float(np.abs(ink @ seen / (ink.sum() + 1e-3) - ground @ seen / (ground.sum() + 1e-3)).mean())


def _shadow(ground: np.ndarray, colour: np.ndarray, mask: np.ndarray, rng: Generator) -> np.ndarray:
    """A soft or hard shadow beside the ink, a glow around it, or the letters' depth."""
    height = mask.shape[0]
    kind = rng.random()
    shift = rng.uniform(-0.1, 0.1, 2) * height
    if kind < 0.3:  # depth: the mask smeared along the shift
        depth = mask
        for part in (0.25, 0.5, 0.75, 1.0):
            depth = np.maximum(depth, _moved(mask, shift * part))
        return grounds.blend(ground, rng.uniform(0.2, 0.7) * colour, depth)
    if kind < 0.85:
        soft = cv2.GaussianBlur(_moved(mask, shift), (0, 0), rng.uniform(0.3, 3))
        return ground * grounds.spread(1 - rng.uniform(0.5, 1) * soft)
    halo = cv2.GaussianBlur(mask, (0, 0), rng.uniform(2, 5))
    return grounds.blend(ground, 255 - colour, np.minimum(1.5 * halo, 0.9))


def _moved(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return cv2.warpAffine(mask, matrix, mask.shape[1::-1])
