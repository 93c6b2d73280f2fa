"""The page's arithmetic beside Python's, in Node.js, which needs no browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dptr.browser import FOLDER
from dptr.photo.align import align_characters
from dptr.photo.detect import is_blank
from dptr.photo.order import order_boxes
from dptr.photo.spaces import Columns
from dptr.photo.widths import measure_widths
from dptr.text.unicode import graphemes

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")


def run(folder: Path, code: str) -> Any:
    """What a script prints, as JSON; the page's scripts lie beside it."""
    for path in FOLDER.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def call(folder: Path, module: str, function: str, cases: list[Any]) -> list[Any]:
    """What a function of a script returns for each list of arguments."""
    (folder / "cases.json").write_text(json.dumps(cases))
    code = (
        f'import {{ {function} }} from "./{module}.js"; import {{ readFileSync }} from "node:fs";'
        f'console.log(JSON.stringify(JSON.parse(readFileSync("cases.json")).map((each) => {function}(...each))));'
    )
    found: list[Any] = run(folder, code)
    return found


@pytest.mark.parametrize("size", [(80, 60), (61, 47), (203, 9), (13, 7), (30, 140)])
def test_blank_paper_is_what_python_takes_for_it(tmp_path: Path, size: tuple[int, int]) -> None:
    """Pictures whose grain or stroke is at the limit, so that a mean that is rounded otherwise tells."""
    draw, (width, height) = np.random.default_rng(size[0]), size
    shading = 0.3 * np.arange(width)[None, :, None]
    pictures = []
    for ink in np.linspace(5, 25, 150):
        pixels = 150 + shading + draw.normal(0, 2, (height, width, 3))
        pixels[height // 8 * 4 :, width // 8 * 4 : width // 8 * 4 + 4] -= ink
        pictures.append(pixels.clip(0, 255).astype(np.uint8))
    blank = [is_blank(Image.fromarray(pixels)) for pixels in pictures]
    cases = [[{"width": width, "height": height, "data": pixels.ravel().tolist()}] for pixels in pictures]
    assert call(tmp_path, "blank", "isBlank", cases) == blank and len({*blank}) == 2


def test_blank_paper_is_searched_once(tmp_path: Path) -> None:
    """Of a picture of this size the network looks at the whole and, unless it is blank, at two parts."""
    code = """
        import { Detector } from "./detect.js";
        let runs = 0;
        const ort = { Tensor: class { constructor(kind, data, dims) { this.dims = dims; } } };
        const session = { inputNames: ["x"], outputNames: ["y"], run: async ({ x }) => {
            runs += 1;
            return { y: { data: new Float32Array(x.dims[2] * x.dims[3]) } };
        } };
        const searched = [];
        for (const ink of [false, true]) {
            const data = new Uint8Array(2100 * 400 * 3).fill(200);
            if (ink) data.fill(0, 300000, 300060);
            runs = 0;
            await new Detector(ort, session).find({ width: 2100, height: 400, data }, () => {});
            searched.push(runs);
        }
        console.log(JSON.stringify(searched));
    """
    assert run(tmp_path, code) == [1, 3]


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
