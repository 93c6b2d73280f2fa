"""The page's arithmetic beside Python's, in Node.js, which needs no browser."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers_docs import ROOT, blocks
from PIL import Image

from dptr.browser import FOLDER
from dptr.inference.prediction import Prediction
from dptr.inference.reader import Reader
from dptr.photo.align import align_characters
from dptr.photo.beside import UNSPACED, is_wide_sign, join_unspaced, read_in_line
from dptr.photo.detect import is_blank
from dptr.photo.order import order_boxes
from dptr.photo.page import Character, Word
from dptr.photo.spaces import Columns
from dptr.photo.split import Gaps, split_reading
from dptr.photo.views import View
from dptr.photo.widths import measure_widths
from dptr.text.languages import LANGUAGES
from dptr.text.scripts import script_of
from dptr.text.unicode import graphemes
from dptr.utils.resize import to_pixels

NODE = shutil.which("node")
BOX = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
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


def test_words_are_joined_where_python_joins_them(tmp_path: Path) -> None:
    draw, cases, wanted = random.Random(4), [], []
    for _ in range(300):
        texts = ["".join(draw.choices("上海ー。、「ABはカ々〆〇,서", k=draw.randint(1, 3))) for _ in range(4)]
        pieces = tuple((index / 4 + draw.uniform(0, 0.12), (index + 1) / 4) for index in range(4))
        likely = tuple(draw.choice((0.4, 0.4, 0.6)) for _ in range(3))
        view = View(
            np.zeros((4, 2)), Columns(np.zeros(160), np.zeros(160), 16.0), Gaps(pieces, (0.5,) * 3), [],
        )  # fmt: skip
        view.likely_gaps = Gaps(pieces, likely)
        bounds = [(left, right) for left, right in pieces]
        sure = draw.choices((0.7, 0.95), (1, 4), k=4)
        readings = [
            Prediction(text, each, tuple((one, 0.5) for one in text)) for text, each in zip(texts, sure, strict=True)
        ]
        wanted.append([each.text for _, each in join_unspaced(view, [*zip(bounds, readings, strict=True)])])
        gaps = {"pieces": pieces, "spaces": [0.5] * 3}
        shown = {"gaps": gaps, "likelyGaps": {"pieces": pieces, "spaces": likely}}
        words = [
            [place, {"text": reading.text, "confidence": reading.confidence, "characters": [], "runaway": False}]
            for place, reading in zip(bounds, readings, strict=True)
        ]
        cases.append([{**shown, "columns": {"blank": [0] * 160, "height": 16}}, words])
    found = call(tmp_path, "beside", "joinUnspaced", cases)
    assert [[reading["text"] for _, reading in words] for words in found] == wanted
    assert {len(words) for words in wanted} == {1, 2, 3, 4}


def test_letters_and_signs_of_scripts_without_spaces_are_those_of_python(tmp_path: Path) -> None:
    characters = [*LANGUAGES["ja"].charset, *LANGUAGES["zh"].charset, *"ｱ゛〆〇‥…—～"]
    assert call(tmp_path, "script", "isUnspaced", [[each] for each in characters]) == [
        script_of(each) in UNSPACED for each in characters
    ]
    assert call(tmp_path, "script", "isWideSign", [[each] for each in characters]) == [
        is_wide_sign(each) for each in characters
    ]


def test_words_are_read_in_their_line_as_in_python(tmp_path: Path) -> None:
    draw, cases, wanted = random.Random(6), [], []
    for _ in range(300):
        texts = ["".join(draw.choices("אבجد12%().-+A", k=draw.randint(1, 5))) for _ in range(4)]
        words = [Word(text, 1.0, BOX, tuple(Character(each, 1.0, BOX) for each in text)) for text in texts]
        line = draw.choice(("rtl", "rtl", "ltr"))
        wanted.append([word.text for word in read_in_line(words, line)])
        cases.append([[{"text": each, "characters": [{"text": sign} for sign in each]} for each in texts], line])
    found = call(tmp_path, "beside", "readInLine", cases)
    assert [[word["text"] for word in words] for words in found] == wanted
    assert any(texts != [word["text"] for word in case[0]] for texts, case in zip(wanted, cases, strict=True))


@pytest.mark.parametrize("text", ["נוסדה בשנת 2024.", "خصم 50% على (9-17)", "see Main St. 12!", "רק 5 GB!"])
def test_the_reading_of_a_line_is_split_as_in_python(tmp_path: Path, text: str) -> None:
    reading = Prediction(text, 0.5, tuple((each, 0.9) for each in text), uncalibrated=0.25)
    case = [{"text": text, "confidence": 0.5, "product": 0.25, "characters": [*map(list, reading.characters)]}, "rtl"]
    (found,) = call(tmp_path, "split", "splitReading", [case])
    assert [each["text"] for each in found] == [each.text for each in split_reading(reading)]


RUNTIME = """
import { readFileSync } from "node:fs";
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const run = async ({ pixels }, names) => {
  const known = JSON.parse(readFileSync("outputs.json"));
  const differs = pixels.data.findIndex((value, index) => value !== known.pixels[index]);
  if (differs !== -1 || pixels.data.length !== known.pixels.length) throw new Error("other pixels");
  const tensor = ({ dims, data }) => ({ dims, data: Float32Array.from(data) });
  return Object.fromEntries(names.map((name) => [name, tensor(known[name])]));
};
export default { Tensor, InferenceSession: { create: async () => ({ run }) } };
"""
PICTURES = """
import {{ readFileSync }} from "node:fs";
const decoded = {{ rotate: () => decoded, flatten: () => decoded, toColourspace: () => decoded, raw: () => decoded,
  toBuffer: async () => ({{ data: readFileSync("decoded.rgb"), info: {{ width: {width}, height: {height} }} }}) }};
export default () => decoded;
"""


def test_the_program_of_the_guide_reads_what_python_reads(tmp_path: Path) -> None:
    """``read.mjs`` with stand-ins for its two packages: one has the decoded picture, one the network's outputs."""
    (program,) = [each.text for each in blocks(ROOT / "docs" / "export.md") if each.file == "read.mjs"]
    shutil.copytree(FOLDER, tmp_path / "page")
    (tmp_path / "page" / "package.json").write_text('{"type": "module"}')
    (tmp_path / "read.mjs").write_text(program)
    crop, model = (
        ROOT / "tests" / "golden" / "crops" / "clean.png",
        ROOT / "dptr" / "weights" / "dptr-latin" / "model.onnx",
    )
    reader = Reader(str(model))
    picture = Image.open(crop).convert("RGB")
    (tmp_path / "decoded.rgb").write_bytes(picture.tobytes())
    pixels = to_pixels(reader.fit(picture)[None])
    session = onnxruntime.InferenceSession(model)
    outputs = dict(
        zip(("probabilities", "paths"), session.run(["probabilities", "paths"], {"pixels": pixels}), strict=True)
    )
    held = {name: {"dims": each.shape, "data": each.ravel().tolist()} for name, each in outputs.items()}
    (tmp_path / "outputs.json").write_text(json.dumps({"pixels": pixels.ravel().tolist(), **held}))
    for name, script in (
        ("onnxruntime-node", RUNTIME),
        ("sharp", PICTURES.format(width=picture.width, height=picture.height)),
    ):
        package = tmp_path / "node_modules" / name
        package.mkdir(parents=True)
        (package / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
        (package / "index.js").write_text(script)
    done = subprocess.run(
        ["node", "read.mjs", str(model), str(crop)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    expected = reader.read(crop)
    path, text, confidence = done.stdout.rstrip("\n").split("\t")
    assert (path, text) == (str(crop), expected.text)
    assert float(confidence) == pytest.approx(expected.confidence, abs=1e-4)
