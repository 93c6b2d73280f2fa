"""Make the font for the invisible text in searchable PDFs: one empty glyph for all characters.

    python scripts/blank_font.py dptr/photo/outputs/blank.ttf

The glyph is a line of zero width from corner to corner of its cell. Viewers do not draw it, but know its size. The font
was made for DPTR and is licensed under Apache-2.0, like the code.
"""

from __future__ import annotations

import sys

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

UNITS, ADVANCE, ASCENT, DESCENT = 1000, 500, 800, -200  # dptr/photo/outputs/pdf.py relies on these
CREATED = 3_786_912_000  # seconds from 1904 to 2024; a fixed time makes the file reproducible


def draw() -> FontBuilder:
    pen = TTGlyphPen(None)
    pen.moveTo((0, DESCENT))
    pen.lineTo((ADVANCE, ASCENT))
    pen.closePath()
    glyphs = dict.fromkeys((".notdef", "blank"), pen.glyph())
    font = FontBuilder(UNITS, isTTF=True)
    font.setupGlyphOrder(list(glyphs))
    font.setupCharacterMap({0x20: "blank"})
    font.setupGlyf(glyphs)
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (ADVANCE, 0)))
    font.setupHorizontalHeader(ascent=ASCENT, descent=DESCENT)
    font.setupNameTable({"familyName": "DPTR Blank", "styleName": "Regular", "psName": "DPTRBlank"})
    font.setupOS2(sTypoAscender=ASCENT, sTypoDescender=DESCENT, usWinAscent=ASCENT, usWinDescent=-DESCENT)
    font.setupPost()
    font.font["head"].created = font.font["head"].modified = CREATED
    font.font.recalcTimestamp = False
    return font


if __name__ == "__main__":
    draw().save(sys.argv[1])
