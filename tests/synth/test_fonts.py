import re
import string
from pathlib import Path

import numpy as np
import pytest
from fontTools.pens.transformPen import TransformPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._g_l_y_f import Glyph
from PIL import ImageFont, features

from dptr.synth import font_file
from dptr.synth import fonts as module
from dptr.synth.font_styles import FONT_STYLES
from dptr.synth.fonts import EMBEDDED, Font, FontIndex, describe_embedded, find_fonts, needs_shaping, scan_fonts
from dptr.text.charset import resolve_charset
from dptr.utils.errors import UserError

ASCII = ((0x21, 0x7E),)


def plain(family, coverage=ASCII, weight=400, traits=()):
    return Font(f"/{family}.ttf", 0, family, "Regular", weight, traits, coverage)


def remap_lower_to_upper(font):
    for table in font["cmap"].tables:
        for lower in string.ascii_lowercase:
            if ord(lower) in table.cmap:
                table.cmap[ord(lower)] = table.cmap[ord(lower.upper())]


def small_capitals(font):
    glyphs, cmap = font.getGlyphSet(), font.getBestCmap()
    drawn = {}
    for lower in string.ascii_lowercase:
        pen = TTGlyphPen(glyphs)
        glyphs[cmap[ord(lower.upper())]].draw(TransformPen(pen, (0.75, 0, 0, 0.75, 0, 0)))
        drawn[cmap[ord(lower)]] = pen.glyph()
    for name, glyph in drawn.items():
        font["glyf"][name] = glyph


def empty_q(font):
    font["glyf"][font.getBestCmap()[ord("Q")]] = Glyph()


def giant_q(font):
    glyphs, name = font.getGlyphSet(), font.getBestCmap()[ord("Q")]
    pen = TTGlyphPen(glyphs)
    glyphs[name].draw(TransformPen(pen, (12, 0, 0, 12, 0, 0)))
    font["glyf"][name] = pen.glyph()


def no_outlines(font):
    for table in ("glyf", "loca", "GPOS", "GSUB", "GDEF"):
        del font[table]


def color(font):
    table = newTable("COLR")
    table.version, table.ColorLayers = 0, {}
    font["COLR"] = table


def only_five(font):
    for table in font["cmap"].tables:
        table.cmap = {code: name for code, name in table.cmap.items() if chr(code) in "abcde.,"}


def pictorial(font):
    font["OS/2"].panose.bFamilyType = 5


def covered(scan):
    return {chr(code) for font in scan.fonts for first, last in font.coverage for code in range(first, last + 1)}


def test_a_good_font_covers_its_visible_characters(font_file):
    scan = scan_fonts([font_file])
    assert not scan.left_out and len(scan.fonts) == 1
    font = scan.fonts[0]
    assert (font.family, font.number, font.path) == ("Test Sans", 0, str(font_file))
    assert font.weight == 400 and font.traits == ("sans",)
    assert set(map(chr, range(0x21, 0x7F))) <= covered(scan)
    assert " " not in covered(scan) and "\u00a0" not in covered(scan) and "ж" not in font and "z" in font


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_outlines, font_file.BITMAP),
        (color, font_file.COLOR),
        (only_five, font_file.FEW),
        (pictorial, font_file.SYMBOL),
    ],
)
def test_unfit_fonts_are_left_out_by_reason(make_font, change, reason):
    path = make_font("unfit.ttf", change=change)
    scan = scan_fonts([path.parent])
    assert scan.fonts == [] and scan.left_out == {reason: [str(path)]}
    assert f"1 {reason}" in scan.describe()


def test_a_font_of_symbols_is_used_where_its_file_is_named(make_font, monkeypatch):
    path = make_font("meter.ttf", change=pictorial)
    monkeypatch.chdir(path.parent)
    for _ in range(2):  # the second time from the cache
        assert scan_fonts([path.parent]).fonts == []
        for name in (path, str(path), "./meter.ttf"):
            assert {"1", "a"} <= covered(scan_fonts([name]))


@pytest.mark.parametrize(
    ("family", "fit"),
    [("Gothic Icons", False), ("Code 39", False), ("Foo Math", False), ("Semicondensed", True), ("Bean Pole", True)],
)
def test_symbol_fonts_are_known_by_name(make_font, family, fit):
    assert bool(scan_fonts([make_font("x.ttf", family).parent]).fonts) == fit


def test_broken_and_foreign_files_are_left_out(make_font, font_bytes, tmp_path):
    good = make_font("a.ttf")
    folder = good.parent
    (folder / "truncated.ttf").write_bytes(font_bytes[: len(font_bytes) // 3])
    (folder / "text.ttf").write_text("I am no font")
    (folder / "nothing.otf").touch()
    (folder / "old.pfb").write_bytes(b"%!PS-AdobeFont")
    (folder / "README.txt").write_text("not looked at")
    scan = scan_fonts([folder])
    assert [font.path for font in scan.fonts] == [str(good)]
    counts = {reason: len(paths) for reason, paths in scan.left_out.items()}
    assert counts == {font_file.BROKEN: 3, font_file.FORMAT: 1}


@pytest.mark.skipif(not features.check("raqm"), reason="without raqm such scripts are not drawn at all")
@pytest.mark.parametrize(("advance", "widest", "kept"), [(0, 700, True), (700, 700, False), (700, 3000, False)])
def test_marks_that_stand_beside_their_letter_are_struck_off(make_font, advance, widest, kept):
    def bengali(font):
        for table in (table for table in font["cmap"].tables if table.isUnicode()):
            table.cmap |= {0x995: table.cmap[ord("A")], 0x9C3: table.cmap[ord("j")], 0x9B2: table.cmap[ord("L")]}
            table.cmap |= {0x996: table.cmap[ord("B")]}
        for letter, width in (("j", advance), ("L", widest)):
            name = font.getBestCmap()[ord(letter)]
            font["hmtx"][name] = (width, font["hmtx"][name][1])

    (font,) = scan_fonts([make_font("marks.ttf", change=bengali)]).fonts
    assert "\u0995" in font and "\u09b2" in font
    assert ("\u09c3" in font) == kept


@pytest.mark.parametrize("change", [remap_lower_to_upper, small_capitals])
def test_capitals_in_the_place_of_lower_case_are_struck_off(make_font, change):
    characters = covered(scan_fonts([make_font("caps.ttf", change=change)]))
    assert not characters & set(string.ascii_lowercase)
    assert set(string.ascii_uppercase + string.digits) <= characters


@pytest.mark.parametrize("change", [empty_q, giant_q])
def test_blank_and_monstrous_glyphs_are_struck_off(make_font, change):
    characters = covered(scan_fonts([make_font("q.ttf", change=change)]))
    assert "Q" not in characters and set(string.ascii_letters) - {"Q"} <= characters


@pytest.mark.parametrize("drawn", ["all", "some", "none"])
def test_a_font_that_maps_han_must_draw_it(make_font, drawn):
    """200 Han characters mapped: to the shape of "A", or, every second one or all, to that of the space."""

    def map_han(font):
        shape, blank = font.getBestCmap()[ord("A")], font.getBestCmap()[ord(" ")]
        for table in filter(lambda table: table.isUnicode(), font["cmap"].tables):
            for place in range(200):
                empty = drawn == "none" or (drawn == "some" and place % 2)
                table.cmap[0x4E00 + place] = blank if empty else shape

    scan = scan_fonts([make_font("han.ttf", change=map_han)])
    found = {char for char in covered(scan) if "\u4e00" <= char < "\ua000"}
    inked = {"all": range(0, 200), "some": range(0, 200, 2), "none": range(0)}[drawn]
    assert found == {chr(0x4E00 + place) for place in inked}


def test_the_cache_spares_the_second_look_until_the_file_changes(make_font, monkeypatch, tmp_path):
    path = make_font("a.ttf")
    first = scan_fonts([path])
    looks = []
    inspect = module.inspect_font_file
    monkeypatch.setattr(module, "inspect_font_file", lambda file: looks.append(file) or inspect(file))
    assert scan_fonts([path]) == first and looks == []
    make_font("a.ttf", change=empty_q)
    assert "Q" not in covered(scan_fonts([path])) and looks == [path]
    cache = tmp_path / "cache/dptr/fonts.json"
    for damage in ("{", "[]", '{"version": 0, "files": {}}', f'{{"version": {module.CACHE_VERSION}}}'):
        cache.write_text(damage)
        assert len(scan_fonts([path]).fonts) == 1
    assert len(looks) == 5


def test_a_cache_that_cannot_be_written_is_no_error(font_file, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(scan_fonts([font_file]).fonts) == 1


def test_no_fonts_and_missing_paths_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"no usable font in .*scripts/fonts\.sh.*render\.fonts="):
        find_fonts([tmp_path])
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        find_fonts([tmp_path / "nowhere"])


@pytest.mark.parametrize("variable", ["XDG_DATA_HOME", "XDG_DATA_DIRS", "HOME"])
def test_fonts_are_found_in_the_system_folders_alone(variable, make_font, tmp_path, monkeypatch):
    """Named by any of the variables (``HOME``: its folder ``.fonts``); what others name is not looked at."""
    path = make_font("a.ttf")
    if variable == "HOME":
        path = path.parent.rename(tmp_path / ".fonts") / path.name
    for name in ("XDG_DATA_HOME", "XDG_DATA_DIRS", "HOME"):
        monkeypatch.setenv(name, str(tmp_path if name == variable else tmp_path / "none"))
    font, *others = find_fonts()
    assert font.path == str(path) and describe_embedded([font]) == []
    assert {Path(other.path).parent for other in others} == {EMBEDDED}
    (line,) = describe_embedded([font, *others])
    assert line.startswith("few fonts (1 families) on this system: the 20 embedded ones are used too")


def test_a_system_with_many_families_uses_them_alone(tmp_path, monkeypatch):
    few = [plain(f"Family{number} Sans") for number in range(module.FEW_FAMILIES - 1)]
    whole = module._scan

    def scan(paths, found):
        return whole(paths) if EMBEDDED in paths else module.FontScan(found, {})

    monkeypatch.setattr(module, "_scan", lambda paths: scan(paths, few))
    assert len(find_fonts()) == len(few) + 20
    many = [*few, plain("Another Sans")]
    monkeypatch.setattr(module, "_scan", lambda paths: scan(paths, many))
    assert find_fonts() == many and describe_embedded(many) == []


def test_a_system_without_fonts_uses_the_embedded_ones(make_font, tmp_path, monkeypatch):
    """Also where those it has are of no use, which is told."""
    embedded = sorted(str(path) for path in EMBEDDED.glob("*.ttf"))
    assert [font.path for font in find_fonts()] == embedded and scan_fonts().left_out == {}
    (line,) = describe_embedded(find_fonts())
    assert line == "no fonts on this system: the 20 embedded ones are used; scripts/fonts.sh installs more"
    assert describe_embedded(find_fonts([EMBEDDED]), [EMBEDDED]) == [], "asked for"
    path = make_font("a.ttf", change=no_outlines)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    scan = scan_fonts()
    assert [font.path for font in scan.fonts] == embedded and scan.left_out == {font_file.BITMAP: [str(path)]}


def test_embedded_fonts_are_of_distinct_families_with_some_held_out():
    fonts = find_fonts([EMBEDDED])
    assert len({font.group for font in fonts}) == len(fonts) == 20
    asked = resolve_charset("94").characters
    for split, at_least in (("train", 10), ("heldout", 4)):
        assert sum(all(c in font for c in asked) for font in FontIndex(fonts, split).fonts) >= at_least


@pytest.mark.parametrize("folder", [EMBEDDED, Path(__file__).parents[1] / "fonts"], ids=lambda path: path.name)
def test_every_font_that_the_project_brings_has_its_license_and_source(folder):
    messages = (folder / "FONTS.md").read_text(encoding="utf-8")
    for path in folder.glob("*.ttf"):
        license = path.with_suffix(".LICENSE").read_text(encoding="utf-8")
        assert re.search("SIL OPEN FONT LICENSE Version 1.1|Apache License\\s+Version 2.0", license)
        assert f"| `{path.name}` | " in messages and f"({path.stem}.LICENSE)" in messages
        reserved = re.findall(r"Reserved Font Names?:? *['\"“]([^'\"”]+)", license.partition("PREAMBLE")[0])
        with TTFont(path, lazy=True) as font:
            assert not [name for name in reserved if name in font["name"].getBestFamilyName()]


def test_choice_follows_the_family_weights():
    index = FontIndex([*(plain("Big Family", weight=400) for _ in range(9)), plain("Lone", weight=400)])
    drawn = [index.choose("word", fraction).family for fraction in (np.arange(4000) + 0.5) / 4000]
    assert drawn.count("Big Family") / 4000 == pytest.approx(3 / 4, abs=1e-3)  # sqrt(9) : sqrt(1)
    index = FontIndex([plain("One", weight=700), plain("One", weight=400), plain("One", weight=100)])
    share = [index.choose("word", fraction).weight for fraction in (np.arange(3200) + 0.5) / 3200]
    assert [share.count(weight) for weight in (700, 400, 100)] == [2000, 1000, 200]
    index = FontIndex([plain("One"), plain("Two", traits=("sans",)), plain("Three", traits=("italic", "mono"))])
    share = [index.choose("word", fraction).family for fraction in (np.arange(3200) + 0.5) / 3200]
    assert [share.count(family) for family in ("One", "Two", "Three")] == [1000, 2000, 200]


def test_choice_takes_only_fonts_that_cover_the_word():
    latin, greek = plain("Latin"), plain("Greek", ((0x370, 0x3FF),))
    index = FontIndex([latin, greek])
    for fraction in (0.0, 0.3, 0.999999):
        assert index.choose("λόγος", fraction) is greek
        assert index.choose("two words", fraction) is latin
    assert index.covering("aλ").tolist() == [False, False] and not index.can_draw("aλ")
    assert not index.can_draw("") and not index.can_draw("  ")
    with pytest.raises(UserError, match=r"'aλ': no single font has all its characters"):
        index.choose("aλ", 0.5)
    with pytest.raises(UserError, match=r"no font has 漢.*scripts/fonts\.sh"):
        index.choose("a漢", 0.5)


@pytest.mark.parametrize(
    ("family", "styles"),
    [
        ("Abel", {"condensed"}), ("Isabella", set()), ("Saira Condensed", {"condensed"}), ("Great Primer", set()),
        ("OCRA", {"printer"}), ("Courier Prime", {"printer"}), ("Monoton", set()), ("Cabin Sketch", set()),
        ("Roboto", {"plain", "printer"}), ("Nimbus Sans Narrow", {"plain", "printer", "condensed"}),
    ],
)  # fmt: skip
def test_styles_are_told_by_whole_words_of_the_name(family, styles):
    assert {name for name, fits in FONT_STYLES.items() if fits(plain(family))} == styles


def test_a_style_goes_before_plain_fonts_and_these_before_all_others():
    narrow, usual, letter = plain("Oswald"), plain("Roboto"), plain("Isabella")
    assert FontIndex([letter, usual, narrow]).choose("W", 0.1, "condensed") is narrow
    assert FontIndex([letter, usual]).choose("W", 0.1, "condensed") is usual
    assert FontIndex([letter]).choose("W", 0.1, "condensed") is letter
    assert FontIndex([letter, usual, narrow]).choose("W", 0.0) is letter


def test_scripts_that_need_shaping_need_raqm(monkeypatch):
    index = FontIndex([plain("All", ((0x21, 0xFFFF),))])
    assert not any(map(needs_shaping, ("Ärger", "Ελλάδα", "мир", "漢字", "한글", "かな")))
    assert all(map(needs_shaping, ("שלום", "سلام", "नमस्ते", "ไทย", "e\u0301", "\U0001e922\U0001e923")))
    monkeypatch.setattr(features, "check", lambda name: False)
    assert index.can_draw("мир") and not index.can_draw("سلام")
    monkeypatch.setattr(features, "check", lambda name: name == "raqm")
    assert index.can_draw("سلام")


def test_the_held_out_split_is_by_family_and_one_in_ten():
    many = [plain(f"Family{i} Sans {style}") for i in range(1500) for style in ("Wide", "Tall")]
    parts = {split: FontIndex(many, split).fonts for split in ("train", "heldout", "all")}
    groups = {split: {font.group for font in part} for split, part in parts.items()}
    assert not groups["train"] & groups["heldout"] and groups["train"] | groups["heldout"] == groups["all"]
    assert len(parts["train"]) + len(parts["heldout"]) == len(many)
    assert abs(len(groups["heldout"]) - 1500 * 26 / 256) < 4 * (1500 * 0.1 * 0.9) ** 0.5
    lone = next(font for font in many if font in parts["heldout"])
    with pytest.raises(UserError, match="font_split=all"):
        FontIndex([lone], "train")


def test_coverage_agrees_with_pillow(font_file):
    """Every character that Pillow draws other than as the missing glyph is covered, and no other."""
    (font,) = scan_fonts([font_file]).fonts
    face = ImageFont.truetype(str(font_file), 40, layout_engine=ImageFont.Layout.BASIC)
    missing = bytes(face.getmask("\U000e0fff"))
    for code in (*range(0x21, 0x7F), *range(0xA1, 0x180), 0x2018, 0x2122):
        if code != 0xAD:
            ink = face.getmask(chr(code))
            assert (chr(code) in font) == (bytes(ink) != missing and ink.getbbox() is not None), chr(code)
