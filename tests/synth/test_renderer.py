import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dptr.config.effects import PRESETS, Effects, change_effects
from dptr.config.render import RenderConfig
from dptr.config.size import CropSize
from dptr.synth import FontIndex, Renderer, draw_contact_sheet, draw_labeled_sheet, find_fonts
from dptr.synth.ink_styles import INK_STYLES
from dptr.synth.kinds import KINDS
from dptr.synth.layout import Line, draw_word, load_font
from dptr.synth.warp import warp_line
from dptr.utils.errors import UserError

PLAIN = RenderConfig(preset="plain")
WORDS = ["Hello", "a", "STATION", "www.example.com/abcdefghij", "12.50", "I", "i", "Coffee&Tea", "(x)", "ly"]


@pytest.fixture
def fonts(font_file) -> FontIndex:
    return FontIndex(find_fonts([font_file]))


@pytest.fixture
def photographs(tmp_path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, shape in enumerate([(50, 90, 3), (400, 300, 3), (200, 260)]):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


# Mean gray of 2 x 4 parts of crops with the first default settings (seed 11), before wave, vertical_text, two_lines,
# sign_board, extrusion, double_outline, defocus, exposure, color_cast, glare and cast_shadow came: a number drawn for
# one of them would shift all others. Means, for the last bit of a pixel depends on the processor.
FIRST = RenderConfig(
    effects=dict(
        curve=0.15, rotation=0.5, perspective=0.5, letter_spacing=0.3, neighbors=0.25, low_resolution=0.35, blur=0.35,
        noise=0.35, jpeg=0.4, lighting=0.5, slant=0.15, letter_jitter=0.06, low_contrast=0.1, wear=0.06, bloom=0.1,
    )
)  # fmt: skip
KEPT = [
    ("Hello", [163, 150, 131, 140, 142, 104, 115, 148]),
    ("STATION", [121, 130, 136, 147, 146, 142, 131, 120]),
    ("GRAND HOTEL", [185, 185, 178, 179, 143, 154, 159, 161]),
    ("12.50", [187, 188, 188, 188, 187, 188, 189, 189]),
    ("Coffee&Tea", [14, 16, 15, 10, 29, 38, 31, 31]),
    ("ly", [177, 157, 131, 138, 156, 136, 153, 140]),
    ("a b c", [114, 112, 109, 96, 132, 105, 104, 108]),
    ("www.example.com", [236, 229, 222, 228, 241, 240, 239, 245]),
]


def digests(renderer, order):
    return {i: hashlib.sha256(renderer.render(WORDS[i % len(WORDS)], i).tobytes()).hexdigest() for i in order}


def test_a_crop_is_a_pure_function_of_seed_index_and_text(font_file, photographs):
    config = RenderConfig(fonts=(str(font_file),), backgrounds=str(photographs))
    renderer = Renderer(config, seed=7)
    forward = digests(renderer, range(60))
    assert digests(renderer, reversed(range(60))) == forward
    assert digests(pickle.loads(pickle.dumps(renderer)), range(60)) == forward
    script = (
        "import hashlib, json, sys\nfrom dptr.config.render import RenderConfig\nfrom dptr.synth import Renderer\n"
        "config, words, order = json.loads(sys.argv[1])\nrenderer = Renderer(RenderConfig(**config), seed=7)\n"
        "crops = {i: renderer.render(words[i % len(words)], i) for i in order}\n"
        "print(json.dumps({i: hashlib.sha256(crop.tobytes()).hexdigest() for i, crop in crops.items()}))\n"
    )
    arguments = json.dumps([config.model_dump(), WORDS, [41, 3, 59, 20]])
    other = subprocess.run([sys.executable, "-c", script, arguments], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == {str(i): forward[i] for i in (41, 3, 59, 20)}
    assert len(set(forward.values())) == 60
    assert not set(digests(Renderer(config, seed=8), range(60)).values()) & set(forward.values())


def test_crops_are_what_they_were_before_later_effects_came(fonts):
    renderer = Renderer(FIRST, 11, fonts)
    for number, (word, means) in enumerate(KEPT):
        crop = renderer.render(word, number).astype(float).mean(2)
        np.testing.assert_allclose(crop.reshape(2, 16, 4, 32).mean((1, 3)).ravel(), means, atol=3, err_msg=word)


@pytest.mark.parametrize("shape", [(32, 128), (48, 160), (64, 64), (8, 8)])
def test_crops_have_the_asked_shape(fonts, shape):
    renderer = Renderer(RenderConfig(), 0, fonts, CropSize(height=shape[0], width=shape[1]))
    for i, word in enumerate(WORDS * 3):
        crop = renderer.render(word, i)
        assert crop.shape == (*shape, 3) and crop.dtype == np.uint8 and crop.flags.c_contiguous
        np.testing.assert_array_equal(renderer.render_with_stops(word, i)[0], crop)  # which looks more up


@pytest.mark.parametrize("effect", ["everything", "nothing", *Effects.model_fields])
def test_every_effect_alone_and_together_renders(fonts, photographs, effect):
    on = dict.fromkeys(Effects.model_fields, 1.0) | dict.fromkeys(INK_STYLES, 1 / len(INK_STYLES))
    on |= dict.fromkeys(KINDS, 1 / len(KINDS))
    if effect != "everything":
        on = {effect: 1.0} if effect in on else {}
    if effect == "double_outline":
        on["outline"] = 1.0
    renderer = Renderer(RenderConfig(preset="plain", effects=on, backgrounds=str(photographs)), 3, fonts)
    crops = [renderer.render(word, i) for i, word in enumerate(WORDS * 2)]
    visible = [float(crop.astype(float).std()) > 3 for crop in crops]
    assert sum(visible) >= 0.9 * len(visible)


def test_without_effects_a_crop_is_the_stretched_word(fonts):
    """InkStyle found by its color and cut to its box has the shape of the word as the font draws it."""
    renderer = Renderer(PLAIN, 1, fonts, CropSize(height=64, width=256))
    (font,) = fonts.fonts
    overlaps = []
    for i, word in enumerate(["Hello", "Flags", "STOP", "agree", "R2D2"] * 16):
        crop = renderer.render(word, i).astype(np.float32).reshape(-1, 3)
        colors = cv2.kmeans(crop, 2, None, (3, 20, 0.5), 3, cv2.KMEANS_PP_CENTERS)[1].reshape(64, 256)
        edge = np.concatenate((colors[0], colors[-1], colors[:, 0], colors[:, -1]))
        if edge.min() != edge.max():
            continue  # cut on purpose: the box cannot be found
        ink = (colors != edge[0]).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(ink)
        truth = cv2.resize(draw_word(font, word).mask, (width, height), interpolation=cv2.INTER_AREA) > 127
        found = ink[top : top + height, left : left + width] > 0
        overlaps.append((truth & found).sum() / (truth | found).sum())
    assert len(overlaps) >= 20 and np.mean(overlaps) > 0.85 and min(overlaps) > 0.7


def test_light_on_dark_is_as_frequent_as_dark_on_light(fonts):
    renderer = Renderer(PLAIN, 2, fonts)
    signs = []
    for i in range(300):
        gray = renderer.render("HHHHHH", i).astype(float).mean(2)
        signs.append(np.median(gray) < (gray.min() + gray.max()) / 2)
    assert 0.35 < np.mean(signs) < 0.65


def test_the_word_stays_in_the_crop_whatever_the_camera_does():
    """Geometry at its strongest: warping a full block must keep most of it inside, and must not shrink it away."""
    effects = PRESETS["plain"].model_copy(update={"rotation": 1.0, "perspective": 1.0, "slant": 1.0})
    block = Line(np.full((45, 200), 255, np.uint8), (0, 0, 200, 45), np.zeros((1, 2, 2)))
    for i in range(300):
        rng = np.random.default_rng(i)
        word = warp_line(block, effects, CropSize(), rng)
        fill = word.fill
        assert word.outline is fill and 0.2 < fill.mean() <= 1.0 and 0.8 < word.aspect < 8
        border = np.concatenate((fill[0], fill[-1], fill[:, 0], fill[:, -1]))
        assert border.mean() < 0.75


@pytest.mark.parametrize(
    "effect", ["letter_spacing", "letter_jitter", "curve", "wave", "stroke_weight", "rotation", "perspective"]
)
def test_letters_are_where_their_stops_say(fonts, effect):
    """Each letter's ink is found as a blob of its own, and lies between the letter's stops."""
    renderer = Renderer(RenderConfig(preset="plain", effects={effect: 1.0, "outline": 0.3}), 0, fonts)
    found = 0
    for i in range(60):
        rng = np.random.default_rng(i)
        line = renderer._draw_line("HUNTED", fonts.fonts[0], rng, True)
        word = warp_line(line, renderer.effects, renderer.size, rng)
        fill, stops = word.fill, word.stops
        count, _, _, centers = cv2.connectedComponentsWithStats((fill > 0.5).astype(np.uint8))
        if count != 7:  # letters that touch
            continue
        found += 1
        middles = np.sort(centers[1:, 0]) / fill.shape[1]
        assert np.all(stops[:, 0] < middles) and np.all(middles < stops[:, 1])
    assert found >= 20
    crop, stops = renderer.render_with_stops("HUNTED", 3)
    assert stops.shape == (6, 2) and stops.dtype == np.float32 and np.all(np.diff(stops.mean(1)) > 0)
    np.testing.assert_array_equal(crop, renderer.render("HUNTED", 3))


def test_letters_end_where_the_font_says(fonts):
    """Summed pair by pair, with kerning, as Pillow measures each beginning of the word."""
    font = fonts.fonts[0]
    for word in ("AVATAR To", "Wave.", "fi", "L'T", "i"):
        face = load_font(font.path, font.number, False)
        ends = draw_word(font, word).stops[:, 1, 0]
        starts = draw_word(font, word).stops[:, 0, 0]
        truth = np.array([face.getlength(word[:end]) for end in range(len(word) + 1)])
        np.testing.assert_array_equal(np.diff(ends), np.diff(truth[1:]))
        np.testing.assert_array_equal(starts[1:], ends[:-1])
        assert ends[0] - starts[0] == truth[1]


def test_only_words_that_stay_readable_are_turned_by_90_degrees(fonts):
    """Four pixels of the height a letter; turned words have no stops."""
    renderer = Renderer(RenderConfig(preset="plain", effects={"quarter_turn": 1.0}), 0, fonts)
    for letters in range(1, 16):
        stops = renderer.render_with_stops("H" * letters, letters)[1]
        assert np.isnan(stops).all() == (letters <= 8)


@pytest.mark.parametrize(("effect", "word"), [("vertical_text", "HOTEL"), ("two_lines", "GRAND HOTEL")])
def test_rows_of_letters_have_no_stops(fonts, effect, word):
    renderer = Renderer(RenderConfig(preset="plain", effects={effect: 1.0}), 0, fonts)
    crop, stops = renderer.render_with_stops(word, 0)
    assert stops.shape == (len(word), 2) and np.isnan(stops).all() and crop.shape == (32, 128, 3)
    assert np.isfinite(renderer.render_with_stops("Parliament", 0)[1]).all()  # too long for one, without a space
    off = Renderer(PLAIN, 0, fonts)
    assert np.isfinite(off.render_with_stops(word, 0)[1]).all()


def test_stops_of_a_word_among_others_are_its_own(fonts):
    renderer = Renderer(RenderConfig(preset="plain", effects={"neighbors": 1.0}), 0, fonts)
    for i in range(40):
        rng = np.random.default_rng(i)
        line = renderer._draw_line("HUNTED", fonts.fonts[0], rng, True)
        left, _, right, _ = line.box
        assert abs(line.stops[0, 0, 0] - left) < 9 and abs(line.stops[-1, 1, 0] - right) < 9  # side bearings


def test_a_word_no_font_draws_is_refused(fonts):
    renderer = Renderer(RenderConfig(), 0, fonts)
    assert renderer.can_draw("Hello") and not renderer.can_draw("漢字")
    with pytest.raises(UserError, match="no font has 字 漢"):
        renderer.render("漢字", 0)


def test_backgrounds_that_cannot_be_used_are_named(fonts, tmp_path, photographs):
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        Renderer(RenderConfig(backgrounds=str(tmp_path / "nowhere")), 0, fonts)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photograph in it"):
        Renderer(RenderConfig(backgrounds=str(tmp_path / "empty")), 0, fonts)
    (photographs / "bad.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"bad\.jpg: not a readable image.*remove it"):
        Renderer(RenderConfig(backgrounds=str(photographs)), 0, fonts)


def test_contact_sheet_shows_the_crops_in_order(fonts):
    renderer = Renderer(RenderConfig(), 0, fonts)
    sheet = draw_contact_sheet(renderer, WORDS[:5], columns=3, start=10)
    assert sheet.size == (2 * 3 * 131, 2 * 2 * 35)
    small = np.asarray(sheet.resize((3 * 131, 2 * 35), Image.Resampling.BOX), np.float32)
    for i in range(5):
        y, x = i // 3 * 35, i % 3 * 131
        cell = small[y : y + 32, x : x + 128]
        differences = [np.abs(cell - renderer.render(WORDS[k], 10 + k)).mean() for k in range(5)]
        assert int(np.argmin(differences)) == i


@pytest.mark.skipif("DPTR_DATA" not in os.environ, reason="needs photographs; set DPTR_DATA")
def test_real_photographs_serve_as_backgrounds(fonts):
    photographs = str(Path(os.environ["DPTR_DATA"]) / "natural")
    config = RenderConfig(preset="plain", effects={"photograph": 1}, backgrounds=photographs)
    renderer = Renderer(config, 0, fonts)
    assert sum(photograph.nbytes for photograph in renderer.photographs) < 2**27
    assert len({renderer.render("Hello", i).tobytes() for i in range(20)}) == 20


def test_labeled_sheet_holds_every_crop_and_its_word(fonts):
    renderer = Renderer(RenderConfig(), 0, fonts, CropSize(height=16, width=32))
    samples = [(renderer.render(word, number), word) for number, word in enumerate([*WORDS[:3], ""])]
    sheet = np.asarray(draw_labeled_sheet(samples, fonts, columns=3))
    assert sheet.shape == (2 * (32 + 26), 3 * (64 + 6), 3)
    for number, (crop, _) in enumerate(samples):
        y, x = number // 3 * 58, number % 3 * 70
        shown = np.asarray(Image.fromarray(sheet[y : y + 32, x : x + 64]).resize((32, 16), Image.Resampling.BOX))
        assert np.abs(shown.astype(int) - crop).mean() < 12
        assert (sheet[y + 33 : y + 52, x : x + 64] < 100).any() == (number < 3)  # ink of the word, where there is one
    assert (sheet[58:, 70:] == 255).all()


@pytest.mark.parametrize("quarter_turn", [0.0, 1.0])
def test_a_cut_leaves_half_of_each_letter_and_mark(quarter_turn: float) -> None:
    """A fifth of the height is more than an l is wide: of "lamp" amp was left, and İ lost its dot."""
    mask = np.zeros((60, 120), np.uint8)
    pieces = (20, 60, 0, 6), (0, 6, 40, 50), (16, 60, 42, 48), (20, 50, 70, 90), (55, 60, 95, 120)
    for top, bottom, left, right in pieces:  # a thin letter, one with a mark above, a wide one, and a low line
        mask[top:bottom, left:right] = 255
    line = Line(mask, (0, 0, 120, 60), np.full((1, 2, 2), np.nan))
    effects = change_effects(PRESETS["plain"], {"cut": 1.0, "quarter_turn": quarter_turn, "outline": 0.0})
    wide = (pieces[3][1] - pieces[3][0]) * (pieces[3][3] - pieces[3][2])
    for seed in range(60):
        fill = warp_line(line, effects, CropSize(height=96, width=192), np.random.default_rng(seed)).fill
        areas = np.sort(cv2.connectedComponentsWithStats((fill > 0.5).astype(np.uint8))[2][1:, 4])
        assert len(areas) == len(pieces), seed
        expected = sorted((bottom - top) * (right - left) for top, bottom, left, right in pieces)
        assert (areas > 0.3 * np.array(expected) * areas[-1] / wide).all(), seed


@pytest.mark.parametrize("quarter_turn", [0.0, 1.0])
def test_opposite_cuts_leave_half_of_a_letter_together(quarter_turn: float) -> None:
    """Half on the left and half on the right left nothing of an I, and a width of 0 ended the training."""
    mask = np.full((45, 7), 255, np.uint8)
    line = Line(mask, (0, 0, 7, 45), np.full((1, 2, 2), np.nan))
    effects = change_effects(PRESETS["plain"], {"cut": 1.0, "quarter_turn": quarter_turn, "outline": 0.0})
    size, ink = CropSize(height=32, width=32), []
    for seed in range(200):
        word = warp_line(line, effects, size, np.random.default_rng(seed))
        aspect = word.aspect if not quarter_turn else 1 / word.aspect
        assert aspect > 0.25 * 7 / 45, seed  # margins above and below make it narrower
        ink.append((word.fill > 0.5).mean())
    assert min(ink) > 0.05
