"""The page's arithmetic beside Python's, in Node.js, which needs no browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dptr.browser import FOLDER
from dptr.photo.align import align_characters
from dptr.photo.order import order_boxes
from dptr.photo.spaces import Columns
from dptr.photo.widths import measure_widths
from dptr.text.unicode import graphemes

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")


def call(folder: Path, module: str, function: str, cases: list[Any]) -> list[Any]:
    """What a function of a script returns for each list of arguments."""
    for path in FOLDER.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "cases.json").write_text(json.dumps(cases))
    code = (
        f'import {{ {function} }} from "./{module}.js"; import {{ readFileSync }} from "node:fs";'
        f'console.log(JSON.stringify(JSON.parse(readFileSync("cases.json")).map((each) => {function}(...each))));'
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("degrees", [0, 3, 90, 180, 181, 270])
def test_the_reading_order_is_that_of_python(tmp_path: Path, degrees: int) -> None:
    draw, turn = np.random.default_rng(degrees), np.radians(degrees)
    cases = []
    for _ in range(40):
        count = draw.integers(2, 12)
        left, top = draw.uniform(0, 600, count), draw.uniform(0, 400, count)
        right, bottom = left + draw.uniform(4, 200, count), top + draw.uniform(10, 30, count)
        boxes = np.stack((left, top, right, top, right, bottom, left, bottom), 1).reshape(-1, 4, 2)
        turned = boxes @ np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))))
        cases.append([turned.tolist(), bool(draw.integers(2))])
    for (boxes, leftward), found in zip(cases, call(tmp_path, "order", "orderBoxes", cases), strict=True):
        wanted = [{"boxes": [*row.boxes], "block": row.block} for row in order_boxes(np.array(boxes), leftward)]
        assert found == wanted


def test_clusters_and_widths_are_those_of_python(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    letters = [
        "कषि्\u093c\u094d\u200d", "বিশ্বের", "മലയാളം", "తెలుగు", "ଓଡ଼ିଆ", "ગુજરાતી", "மொழி", "น้ำ", "မြန်မား",
        "سشصضبتلايىءأ، \u064e\u200c؟ء", "שינוםלזגָ", "aw1 .é日本",
    ]  # fmt: skip
    texts = ["".join(draw.choice([*some], 12)) for some in letters for _ in range(20)]
    found = call(tmp_path, "script", "graphemes", [[[*text]] for text in texts])
    assert found == [graphemes(text) for text in texts]
    assert call(tmp_path, "widths", "measureWidths", [[clusters] for clusters in found]) == [
        measure_widths(clusters) for clusters in found
    ]


@pytest.mark.parametrize("text", ["hello", "a b.", "नमस्ते", "हिन्दी", "น้ำที่", "שָׁלוֹם", "می\u200cروم"])
def test_characters_stand_where_python_sees_them(tmp_path: Path, text: str) -> None:
    draw = np.random.default_rng(len(text))
    cases = []
    for _ in range(20):
        blank, edges = draw.uniform(0, 1, (2, draw.integers(40, 80)))
        left, right = float(draw.uniform(0, 0.2)), float(draw.uniform(0.8, 1))  # room enough: narrow ones have ties
        cases.append([[*text], {"blank": blank.tolist(), "edges": edges.tolist()}, left, right])
    for case, found in zip(cases, call(tmp_path, "align", "alignCharacters", cases), strict=True):
        _, columns, left, right = case
        seen = Columns(np.array(columns["blank"]), np.array(columns["edges"]), 8.0)
        np.testing.assert_allclose(found, align_characters(text, seen, left, right), atol=1e-9)
