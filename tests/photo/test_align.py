"""Spaces and characters on rendered lines, whose letters stand where the renderer says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from dptr.photo.align import align_characters
from dptr.photo.spaces import COLUMNS, Columns, SpaceFinder
from dptr.photo.split import find_gaps
from dptr.text.unicode import graphemes

FONTS = Path(__file__).resolve().parents[1] / "fonts"
WORDS = {
    "Arabic": "السلام عليكم مدينة القاهرة شارع الملك فيصل مستشفى النور صيدلية الشفاء مطعم البحر مكتب البريد سوق الذهب",
    "Hebrew": "שלום ירושלים רחוב המלך דוד בית קפה שוק הכרמל תחנה מרכזית משרד הבריאות ישראל בנין נמל זיו",
}


def _overlap(one: tuple[float, float], two: tuple[float, float]) -> float:
    return max(0.0, min(one[1], two[1]) - max(one[0], two[0])) / (max(one[1], two[1]) - min(one[0], two[0]))


@pytest.fixture(scope="module")
def lines() -> list[tuple[np.ndarray, str, np.ndarray]]:
    """Lines in the fonts that ship, of words in all lengths."""
    pytest.importorskip("cv2")
    from dptr.config.render import RenderConfig
    from dptr.synth import Renderer
    from dptr.synth.fonts import EMBEDDED
    from dptr.utils.sizes import CropSizes

    renderer = Renderer(RenderConfig(fonts=(str(EMBEDDED),)), 5, size=CropSizes(32, 64, 1024))
    texts = ("Fresh bread", "OPEN DAILY 10 to 18", "a photo of it", "Total: 12.50", "Willow & Mill", "exit")
    drawn = [(*renderer.render_with_stops(text, index), text) for index, text in enumerate(10 * texts)]
    return [(crop, text, stops) for crop, stops, text in drawn if not np.isnan(stops).any()]


def test_words_and_characters_stand_where_they_were_drawn(lines: list[tuple[np.ndarray, str, np.ndarray]]) -> None:
    found = SpaceFinder()([Image.fromarray(crop) for crop, _, _ in lines])
    words, characters, equal = [], [], []
    for (_, text, stops), columns in zip(lines, found, strict=True):
        pieces = find_gaps(columns.blank, columns.height).pieces
        left, right = pieces[0][0], pieces[-1][1]
        spots = align_characters(text, columns, left, right)
        assert all(begin < end for begin, end in spots)
        assert all(one[1] == two[0] for one, two in zip(spots, spots[1:], strict=False))  # noqa: RUF007
        start = 0
        for word in text.split(" "):
            end = start + len(word)
            drawn = stops[start][0], stops[end - 1][1]
            words.append(_overlap((spots[start][0], spots[end - 1][1]), drawn))
            characters += [_overlap(spots[index], tuple(stops[index])) for index in range(start, end)]
            step = (right - left) / len(text)
            equal += [
                _overlap((left + step * index, left + step * (index + 1)), tuple(stops[index]))
                for index in range(start, end)
            ]
            start = end + 1
    assert len(lines) > 40
    assert np.median(words) > 0.9
    assert np.median(characters) > 0.75 > np.median(equal) + 0.1


@pytest.mark.parametrize("text", ["שָׁלוֹם", "น้ำ ที่นี่", "हिन्दी में", "বিশ্বের", "மொழி"])
def test_characters_of_a_cluster_stand_at_one_place(text: str) -> None:
    """Vowel signs of हिन्दी, বিশ্বের, and மொழி stand before their letters in pictures, and behind them in the text."""
    rng = np.random.default_rng(0)
    spots = align_characters(text, Columns(rng.random(80), rng.random(80), 16.0), 0.1, 0.9)
    places = [spot for cluster in graphemes(text) for spot in {spots.pop(0) for _ in cluster}]
    assert len(places) == len(graphemes(text))
    assert places[0][0] == pytest.approx(0.1) and places[-1][1] == pytest.approx(0.9)
    assert all(one[1] == two[0] for one, two in pairwise(places))


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow joins Arabic letters with raqm alone")
@pytest.mark.parametrize(("script", "least"), [("Arabic", 0.66), ("Hebrew", 0.83)])
def test_wide_letters_have_wide_places(script: str, least: float) -> None:
    """With all letters alike the medians were 0.57 and 0.82."""
    font = ImageFont.truetype(str(FONTS / f"NotoSans{script}.ttf"), 40, layout_engine=ImageFont.Layout.RAQM)
    overlaps = []
    for word in WORDS[script].split():
        # Where each letter begins, from the right: as long as the letters before it are, drawn in the same forms.
        starts = [
            font.getlength(word[:end] + "\u200d" * (word[end - 1 : end] not in "ا د ر و")) for end in range(len(word))
        ]
        starts.append(font.getlength(word))
        image = Image.new("RGB", (round(starts[-1]) + 20, 64), "white")
        ImageDraw.Draw(image).text((10, 32), word, fill="black", font=font, anchor="lm", direction="rtl")
        (columns,) = SpaceFinder()([image])
        pieces = find_gaps(columns.blank, columns.height).pieces
        spots = align_characters(word[::-1], columns, pieces[0][0], pieces[-1][1])[::-1]
        for spot, (begin, end) in zip(spots, pairwise(starts), strict=True):
            drawn = (10 + starts[-1] - end) / image.width, (10 + starts[-1] - begin) / image.width
            overlaps.append(_overlap(spot, drawn))
    assert np.median(overlaps) > least


def test_lines_are_read_alike_alone_and_together(lines: list[tuple[np.ndarray, str, np.ndarray]]) -> None:
    images = [Image.fromarray(crop) for crop, _, _ in lines[:12]]
    find = SpaceFinder()
    together = find(images[::-1])[::-1]
    for image, columns in zip(images, together, strict=True):
        (alone,) = find([image])
        assert len(columns.blank) == len(columns.edges) == len(alone.blank)
        assert columns.blank == pytest.approx(alone.blank, abs=1e-4)
        assert columns.edges == pytest.approx(alone.edges, abs=1e-4)


def test_white_beside_a_line_is_blank() -> None:
    pixels = np.full((32, 320, 3), 255, np.uint8)
    pixels[8:24, 96:224:4] = 0
    (columns,) = SpaceFinder()([Image.fromarray(pixels)])
    assert (columns.blank[:40] > 0.9).all() and (columns.blank[-40:] > 0.9).all()
    assert columns.height == COLUMNS


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (5000, 3), (9000, 40)])
def test_any_size_has_columns(size: tuple[int, int]) -> None:
    (columns,) = SpaceFinder()([Image.new("RGB", size, "gray")])
    assert len(columns.blank) >= COLUMNS // 2 and np.isfinite(columns.blank).all()
    assert find_gaps(columns.blank, columns.height).pieces


@pytest.mark.parametrize("text", ["a", "illicit", "mmm", "one two", "x" * 60])
@pytest.mark.parametrize("count", [1, 8, 200])
def test_every_character_has_a_place_where_nothing_is_seen(text: str, count: int) -> None:
    columns = Columns(np.full(count, 0.01), np.full(count, 0.01), 16)
    spots = align_characters(text, columns, 0.1, 0.9)
    assert len(spots) == len(text)
    assert spots[0][0] == pytest.approx(0.1) and spots[-1][1] == pytest.approx(0.9)
    assert all(begin < end for begin, end in spots)


def test_characters_end_at_seen_edges() -> None:
    edges = np.full(100, 0.01)
    edges[[30, 55]] = 0.95
    spots = align_characters("abc", Columns(np.full(100, 0.01), edges, 16), 0.0, 1.0)
    assert [end for _, end in spots] == pytest.approx([0.3, 0.55, 1.0], abs=0.02)
