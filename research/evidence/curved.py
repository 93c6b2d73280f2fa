"""Measure the reading of curved words in rendered scenes, with and without the curved outlines of the detector.

    python research/evidence/curved.py --photographs "$DPTR_DATA/natural" [--model MODEL] [--seed N] [--out FOLDER]

A scene is a photograph of 962 x 642 pixels with one word. Its letters, which are not bent themselves, stand along a
circle: up as an arch, or down as a bowl, and rotated by up to 15 degrees. Words on a straight line are the control.

The readings that overlap the word, with at least the confidence that ``dptr ocr`` shows, are scored. The word counts as
read if one of them has its letters and digits, ignoring case; all other readings are wrong.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from dptr import OCR
from dptr.evaluation.metrics import fold_36
from dptr.evaluation.spotting import intersect, polygon_area
from dptr.photo.components import convex_hull
from dptr.photo.detect import DEFAULT_DETECTOR, Detector, open_detector
from dptr.photo.page import LEAST_CONFIDENCE

SEED = 1
RADII = 2.0, 3.0, 4.5, 7.0, np.inf  # radius of the center line, in heights of capitals; infinite = straight
SCENES = 12  # for each radius, half of them arches and half bowls
HEIGHTS = 26, 44  # smallest and largest height of capitals, in pixels
LONGEST_ARC = 200  # degrees; words that would span more get a larger radius
TURN = 15.0  # degrees; largest rotation of a word
OVERSAMPLING = 3  # letters are drawn at this multiple of the final size
FONTS = "Anton", "ArchivoBlack", "CrimsonPro", "Exo2", "FiraSans", "Montserrat", "OpenSans", "Oswald", "RobotoSlab"
WORDS = (
    *("BREWERY", "Original", "COFFEE", "Harbour", "QUALITY", "Museum", "GARDEN", "Pizzeria", "STATION", "Bakery"),
    *("COLLEGE", "Northern", "UNITED", "Classic", "SERVICE", "Chicago", "HERITAGE", "Organic", "MARKET", "Central"),
    *("POLICE", "Premium", "ATHLETIC", "Natural", "EXPRESS", "Library", "VINTAGE", "Theatre", "COMPANY", "Village"),
    *("RAILWAY", "Railroad", "FOREST", "Kitchen", "AMERICA", "Seafood", "WINERY", "Delight", "NATIONAL", "Burger"),
)


@dataclass(frozen=True)
class Arc:
    """A word along a circle.

    Attributes:
        text: the word.
        mask: float (h, w), ink from 0 to 1.
        letters: (n, 4, 2), corners of each letter's cell, x and y in pixels, clockwise from the letter's top left.
    """

    text: str
    mask: np.ndarray
    letters: np.ndarray

    @property
    def outline(self) -> np.ndarray:
        """(2n + 2, 2): along the top of the letters and back along their bottom."""
        top = [*self.letters[:, 0], self.letters[-1, 1]]
        return np.array([*top, self.letters[-1, 2], *self.letters[::-1, 3]])


def open_font(font: Path) -> tuple[ImageFont.FreeTypeFont, float]:
    """A font at 200 pixels per em, and the height of its capitals in pixels."""
    face = ImageFont.truetype(str(font), 200)
    _, top, _, bottom = face.getbbox("H", anchor="ls")
    return face, bottom - top


def draw_arc(text: str, font: Path, height: float, radius: float, middle: tuple[float, float], up: bool, turn: float,
             size: tuple[int, int]) -> Arc:  # fmt: skip
    """Draw the letters of a word, unbent, along a circle or a straight line.

    Args:
        text: the word.
        font: the font file.
        height: height of capitals in pixels.
        radius: radius in pixels of the circle through the middle of the capitals; infinite for a straight line.
        middle: center of the word, x and y in pixels.
        up: whether the middle of the word is its highest point, as on an arch, or its lowest.
        turn: rotation of the word, radians clockwise.
        size: width and height of the mask.
    """
    face, capital = open_font(font)
    scale = height / capital
    ends = np.array([face.getlength(text[:count]) for count in range(len(text) + 1)]) * scale
    along = (ends[:-1] + ends[1:]) / 2 - ends[-1] / 2
    sign = 1.0 if up else -1.0
    angles = sign * along / radius
    cos, sin = np.cos(turn), np.sin(turn)
    whole = np.array(((cos, -sin), (sin, cos)))
    canvas = np.zeros((OVERSAMPLING * size[1], OVERSAMPLING * size[0]), np.uint8)
    letters = []
    for character, angle, place, width in zip(text, angles, along, np.diff(ends), strict=True):
        if np.isinf(radius):
            center = np.array((place, 0.0))
        else:
            center = radius * np.array((sign * np.sin(angle), sign * (1 - np.cos(angle))))
        own = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
        matrix, offset = whole @ own, whole @ center + middle
        corners = np.array(((-width, -height), (width, -height), (width, height), (-width, height))) / 2
        letters.append(corners @ matrix.T + offset)
        glyph = Image.new("L", (round(face.getlength(character)) + 200, 500))
        ImageDraw.Draw(glyph).text((100, 300), character, 255, font=face, anchor="ls")
        # from the picture to the glyph: x' = inverse @ (x - offset) / scale + the middle of the capital
        inverse = matrix.T / scale / OVERSAMPLING
        shift = np.array((100 + face.getlength(character) / 2, 300 - height / scale / 2)) - matrix.T @ offset / scale
        data = (*inverse[0], shift[0], *inverse[1], shift[1])
        drawn = glyph.transform(canvas.shape[::-1], Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        canvas = np.maximum(canvas, np.asarray(drawn))
    mask = np.asarray(Image.fromarray(canvas).resize(size, Image.Resampling.BOX), np.float32) / 255
    return Arc(text, mask, np.array(letters))


@dataclass(frozen=True)
class Scene:
    """A photograph with a word drawn over it.

    Attributes:
        picture: the photograph with the word.
        arc: the word.
        radius: radius of the center line, in heights of capitals.
        up: see ``draw_arc``.
    """

    picture: Image.Image
    arc: Arc
    radius: float
    up: bool


def make_scene(photographs: list[Path], seed: int, index: int) -> Scene:
    """Draw scene ``index`` of ``len(RADII) * SCENES``."""
    rng = np.random.default_rng((seed, index))
    radius, up = RADII[index // SCENES], index % 2 == 0
    with Image.open(photographs[int(rng.integers(len(photographs)))]) as photograph:
        ground = photograph.convert("RGB").resize(
            (2 * photograph.width, 2 * photograph.height), Image.Resampling.BICUBIC
        )
    text = WORDS[int(rng.integers(len(WORDS)))]
    font = Path(str(files("dptr").joinpath(f"synth/embedded/{FONTS[int(rng.integers(len(FONTS)))]}.ttf")))
    height = float(rng.uniform(*HEIGHTS))
    face, capital = open_font(font)
    length = face.getlength(text) / capital
    radius = max(radius, length / np.radians(LONGEST_ARC))
    reach = (length / 2 + 1) * height
    x, y = (float(rng.uniform(min(reach, side / 2), max(side - reach, side / 2))) for side in ground.size)
    arc = draw_arc(text, font, height, radius * height, (x, y), up, np.radians(rng.uniform(-TURN, TURN)), ground.size)
    pixels = np.asarray(ground, float)
    around = pixels[arc.mask > 0.5].mean(0)
    ink = rng.uniform(200, 255, 3) if around.mean() < 110 else rng.uniform(0, 50, 3)
    pixels = pixels + arc.mask[..., None] * (ink - pixels)
    blurred = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1)))
    noisy = np.asarray(blurred, float) + rng.normal(0, rng.uniform(0, 6), pixels.shape)
    return Scene(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), arc, radius, up)


def drop_outlines(detector: Detector) -> Detector:
    """The detector without its curved outlines, so that each box is read as a straight one."""
    return lambda image: replace(detector(image), outlines={})


def measure(ocr: OCR, scene: Scene) -> tuple[bool, int, float]:
    """Whether the word is read, the number of other readings that overlap it, and the time in seconds."""
    begin = time.perf_counter()
    page = ocr(scene.picture)
    seconds = time.perf_counter() - begin
    place = convex_hull(scene.arc.outline)
    words = [
        fold_36(word.text)
        for word in page.words
        if word.confidence >= LEAST_CONFIDENCE and polygon_area(intersect(convex_hull(np.array(word.box)), place)) > 0
    ]
    right = words.count(fold_36(scene.arc.text))
    return right > 0, len(words) - right, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes; settings were chosen on 1")
    parser.add_argument("--out", type=Path, help="a folder for the scenes, with what was read drawn over them")
    options = parser.parse_args()
    photographs = sorted(options.photographs.glob("*.jpg"))
    detector = open_detector(DEFAULT_DETECTOR)
    systems = [OCR(options.model, detector=each) for each in (drop_outlines(detector), detector)]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    print("| radius, heights of capitals | bent | words | straight: read | wrong | curved: read | wrong |")
    print("|---|---|---:|---:|---:|---:|---:|")
    seconds: list[list[float]] = [[], []]
    for row, radius in enumerate(RADII):
        for up in (True, False):
            counts = np.zeros((2, 2), int)
            for index in range(row * SCENES + (not up), (row + 1) * SCENES, 2):
                scene = make_scene(photographs, options.seed, index)
                for system, ocr in enumerate(systems):
                    read, wrong, spent = measure(ocr, scene)
                    counts[system] += read, wrong
                    seconds[system].append(spent)
                if options.out:
                    systems[1](scene.picture).overlay(scene.picture).save(options.out / f"{index:02}.png")
            bent = "no" if np.isinf(radius) else "up" if up else "down"
            cells = " | ".join(map(str, counts.ravel()))
            print(f"| {radius:g} | {bent} | {SCENES // 2} | {cells} |", flush=True)
    print("seconds a scene, median: " + ", ".join(f"{np.median(each):.2f}" for each in seconds))


if __name__ == "__main__":
    main()
