"""A word on a ground with synthtiger's components, where its repository's example is not at hand.

Written against the package's public components. The order of steps and the ranges are of the kind that the example's
settings have: a bent or straight line of distorted letters, a border, shadow or extrusion, a perspective, another word
behind in a quarter of pictures, a blend mode in which the word stays visible, noise and blur. Masks and boxes of
letters, which the example also makes, are left out, and whether the word is visible is told from mean gray levels: both
make it faster than the example.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from synthtiger import components, layers, templates, utils

BLENDS = ("normal", "multiply", "screen", "overlay", "hard_light", "soft_light", "darken_only", "lighten_only")
VISIBLE = 20  # gray levels between a word and its ground

CONFIG: dict[str, Any] = {
    "font": {"paths": [], "weights": [], "size": [40, 80], "bold": 0.5},
    "texture": {"prob": 0.5, "args": {"paths": [], "weights": [], "alpha": [0, 1], "grayscale": 0, "crop": 1}},
    "colormap2": {"paths": [], "weights": [], "k": 2, "alpha": [1, 1], "colorize": 1},
    "colormap3": {"paths": [], "weights": [], "k": 3, "alpha": [1, 1], "colorize": 1},
}


class Words(templates.Template):
    """One word a picture; ``corpus`` is set from outside."""

    corpus: Any = None

    def __init__(self, config: dict[str, Any]) -> None:
        self.font = components.BaseFont(**config["font"])
        self.texture = components.Switch(components.BaseTexture(), **config["texture"])
        self.two, self.three = (components.GrayMap(**config[name]) for name in ("colormap2", "colormap3"))
        self.color = components.Gray(colorize=1)
        self.letters = components.Selector(
            [
                components.ElasticDistortion(alpha=(15, 30), sigma=(4, 12)),
                components.ElasticDistortion(alpha=(0, 2), sigma=(0, 0.6)),
            ]
        )
        self.line = components.Selector(
            [
                components.FlowLayout(space=(-2, 5), line_align=("middle",)),
                components.CurveLayout(curve=(20, 40), space=(-2, 5), convex=0.5, upward=0.5),
            ],
            weights=[4, 1],
        )
        self.style = components.Switch(
            components.Selector(
                [
                    components.TextBorder(size=(1, 12), alpha=(1, 1)),
                    components.TextShadow(distance=(1, 6), angle=(0, 360), alpha=(0.3, 0.7)),
                    components.TextExtrusion(length=(1, 12), angle=(0, 360), alpha=(1, 1)),
                ],
                weights=[1, 2, 2],
            ),
            prob=0.25,
        )
        fixed = ((0, 0), (0, 0))
        self.view = components.Selector(
            [
                components.Perspective(percents=((0.5, 1), (1, 1)), aligns=fixed),
                components.Perspective(percents=((1, 1), (0.5, 1)), aligns=fixed),
                components.Trapezoidate(weights=(1, 0, 1, 0), percent=(0.75, 1), align=(-1, 1)),
                components.Trapezoidate(weights=(0, 1, 0, 1), percent=(0.5, 1), align=(-1, 1)),
                components.Skew(weights=(1, 0), angle=(0, 30), ccw=0.5),
                components.Skew(weights=(0, 1), angle=(0, 10), ccw=0.5),
                components.Rotate(angle=(0, 10), ccw=0.5),
            ],
            weights=[1, 1, 1, 1, 1, 1, 2],
        )
        self.fit, self.margin = components.Fit(), components.Pad(pxs=((0, 10),) * 4)
        self.camera = components.Iterator(
            [
                components.AdditiveGaussianNoise(scale=(4, 8), per_channel=0),
                components.Switch(components.GaussianBlur(sigma=(0, 2)), prob=0.9),
                components.Switch(components.Resample(size=(0.4, 0.4)), prob=0.1),
            ]
        )

    def generate(self) -> dict[str, Any]:
        """``{"image": float32 (h, w, 4), "label": the word}``.

        Raises:
            RuntimeError: the word is visible in no blend mode, or no font has its characters.
        """
        style = self.style.sample()
        if style["state"]:
            ink, ground, edge = self.three.sample()
            style["meta"]["meta"]["rgb"] = edge["rgb"]
        else:
            ink, ground = self.two.sample()
        word = self.corpus.data(self.corpus.sample())
        front = self._write(word, ink, style)
        back = layers.RectLayer(front.shape[1::-1])
        self.color.apply([back], ground)
        self.texture.apply([back])
        behind = back.output()
        if np.random.rand() < 0.25:
            behind = self._mixed(self._neighbor(front), behind)
        picture = layers.Layer(self._mixed(front, behind))
        self.camera.apply([picture])
        return {"image": picture.output(), "label": word}

    def init_save(self, root: str) -> None:
        """Nothing: the worker saves."""

    def save(self, root: str, data: dict[str, Any], idx: int) -> None:
        """Nothing: the worker saves."""

    def end_save(self, root: str) -> None:
        """Nothing: the worker saves."""

    def _write(self, word: str, color: dict[str, Any], style: dict[str, Any]) -> np.ndarray:
        characters = utils.split_text(word, reorder=True)
        font = self.font.sample({"text": "".join(characters), "vertical": False})
        pieces = [layers.TextLayer(character, **font) for character in characters]
        self.letters.apply(pieces)
        self.line.apply(pieces, {"meta": {"vertical": False}})
        line = layers.Group(pieces).merge()
        self.color.apply([line], color)
        self.texture.apply([line])
        self.style.apply([line, *pieces], style)
        self.view.apply([line, *pieces])
        self.fit.apply([line, *pieces])
        self.margin.apply([line])
        return line.output()

    def _neighbor(self, front: np.ndarray) -> np.ndarray:
        """Another word, moved by up to half a picture, where the front word is not."""
        other = self._write(self.corpus.data(self.corpus.sample()), self.color.sample(), self.style.sample())
        height, width = front.shape[:2]
        canvas = np.zeros_like(front)
        x, y = (int(np.random.uniform(-0.5, 0.5) * side) for side in (width, height))
        part = other[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
        part = part[: height - max(0, y), : width - max(0, x)]
        canvas[max(0, y) : max(0, y) + part.shape[0], max(0, x) : max(0, x) + part.shape[1]] = part
        canvas[..., 3] *= front[..., 3] < 1
        return canvas

    def _mixed(self, front: np.ndarray, behind: np.ndarray) -> np.ndarray:
        ink = front[..., 3] > 127
        for mode in np.random.permutation(BLENDS):
            mixed = utils.blend_image(front, behind, mode=mode)
            gray = utils.to_gray(mixed[..., :3])
            if not ink.any() or ink.all() or abs(gray[ink].mean() - gray[~ink].mean()) >= VISIBLE:
                return mixed
        raise RuntimeError("the word is visible in no blend mode")
