"""Planted faults are found, each once and by its name; what is sound is not accused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from dptr.cli.app import run
from dptr.data.check import checks as module
from dptr.data.check.checks import check, is_mojibake, sizes
from dptr.data.check.near_duplicates import difference_hash, fingerprint, near_duplicates, same_pictures, thumbnail
from dptr.data.check.page import render_check
from dptr.text.charset import BARE_MARK, EMPTY, MIXED, OUTSIDE, TOO_LONG, resolve_charset
from dptr.utils.errors import UserError

WORDS = ["Salt", "Rome", "Exit", "Taxi", "Open", "Sale", "Hotel", "Bank", "Pizza", "Metro", "Kiosk", "Berlin"]


def picture(word: str, seed: int = 0, size: tuple[int, int] = (96, 32)) -> Image.Image:
    """A word on a ground of its own."""
    values = np.random.default_rng([seed, *word.encode()])
    ground = Image.fromarray(values.integers(120, 255, (4, 8, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    ImageDraw.Draw(ground).text((values.integers(2, 14), 2), word, fill=(20, 20, 60), font=ImageFont.load_default(24))
    return ground


def write(folder: Path, crops: list[tuple[Image.Image | bytes, str]]) -> Path:
    folder.mkdir()
    lines = []
    for number, (image, label) in enumerate(crops):
        name = f"{number}.png"
        if isinstance(image, bytes):
            (folder / name).write_bytes(image)
        else:
            image.save(folder / name)
        lines.append(f"{name}\t{label}\n")
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


ALTERED = {
    "jpeg": lambda image: recompressed(image, 30),
    "smaller": lambda image: image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.BILINEAR),
    "larger": lambda image: image.resize((image.width * 3, image.height * 3), Image.Resampling.BICUBIC),
    "stretched": lambda image: image.resize((image.width, image.height * 2)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "grayer": lambda image: image.convert("L").convert("RGB"),
}


def looks(images: list[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([difference_hash(image) for image in images]), np.stack([thumbnail(image) for image in images])


@pytest.mark.parametrize("change", ALTERED)
def test_an_altered_copy_is_found_among_others(change: str) -> None:
    ours = [picture(word) for word in WORDS]
    theirs = [picture(word, seed=1) for word in WORDS] + [ALTERED[change](ours[4])]
    pairs = near_duplicates(*looks(ours), *looks(theirs))
    assert [pair[:2] for pair in pairs] == [(4, len(WORDS))]
    assert pairs[0][2] >= 0.95


def test_copies_of_noisy_labels_are_found_and_similar_labels_are_not() -> None:
    """Flat ground: which of two cells is brighter is chance there, and compression changes it."""

    def label(text: str, rng: np.random.Generator) -> Image.Image:
        image = Image.new("RGB", (180, 40), (215, 210, 200))
        ImageDraw.Draw(image).text((6, 4), text, fill=(40, 40, 50), font=ImageFont.load_default(28))
        noise = rng.normal(0, 12, (40, 180, 1))
        return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))

    rng = np.random.default_rng(0)
    ours = [label(f"SN-{rng.integers(1000, 9999)}/{letter}", rng) for letter in "ABCDEFGHIJKLMNOPQRST"]
    copies = [recompressed(image, 40) for image in ours]
    pairs = near_duplicates(*looks(ours), *looks(copies))
    assert sorted(pair[:2] for pair in pairs) == [(row, row) for row in range(len(ours))]


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [picture(word) for word in WORDS]
    expected = [(row, row) for row in range(len(WORDS))]
    for block in (1, 5, 100):
        monkeypatch.setattr("dptr.data.check.near_duplicates._BLOCK", block)
        assert sorted(pair[:2] for pair in near_duplicates(*looks(ours), *looks(ours))) == expected


def test_hash_is_the_sign_of_differences() -> None:
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 170).astype(np.uint8), (17, 1)))
    across, down = np.split(difference_hash(ramp), 2)
    assert across.all() and not down.any()
    across, down = np.split(difference_hash(ramp.transpose(Image.Transpose.ROTATE_270)), 2)
    assert not across.any() and down.all()


def test_plain_pictures_are_no_copies_of_each_other() -> None:
    plain = [Image.new("RGB", (40, 20), color) for color in ("red", "blue")]
    assert near_duplicates(*looks(plain[:1]), *looks(plain[1:])) == []


def test_fingerprints_tell_pixels_and_shapes_apart() -> None:
    base = Image.new("RGB", (6, 4))
    changed = base.copy()
    changed.putpixel((5, 3), (0, 0, 1))
    turned = Image.new("RGB", (4, 6))
    prints = [fingerprint(image) for image in (base, changed, turned, base.copy())]
    assert same_pictures(prints) == [[0, 3]]


@pytest.mark.parametrize(
    ("label", "damaged"),
    [
        ("é".encode().decode("cp1252"), True),
        ("Größe".encode().decode("latin-1"), True),
        ("日本".encode().decode("latin-1"), True),
        ("caf\ufffd", True),
        *((label, False) for label in ("é", "Größe", "plain", "日本", "Ã", "£5")),
    ],
)  # fmt: skip
def test_mojibake(label: str, damaged: bool) -> None:
    assert is_mojibake(label) == damaged


def test_every_fault_is_found_once(tmp_path: Path) -> None:
    good = [(picture(word), word) for word in WORDS[:6]]
    folder = write(
        tmp_path / "crops",
        [
            *good,
            (b"no picture", "Bank"),  # 6
            (picture("Nil"), ""),  # 7
            (picture("Long"), "x" * 30),  # 8
            (picture("Cafe"), "Caf\u00c3\u00a9"),  # 9: mojibake, and outside
            (picture("Euro"), "5€"),  # 10: outside
            (picture("Bell"), "Be\x07ll"),  # 11: control, and outside
            (picture("Dot").resize((30, 5)), "Dot"),  # 12: tiny
            (picture("Up").resize((20, 90)), "Up"),  # 13: turned
            (good[0][0], good[0][1]),  # 14: repeated
            (good[1][0], "Oslo"),  # 15: contradicting
        ],
    )  # fmt: skip
    test = write(tmp_path / "test", [(picture("Other"), "Other"), (recompressed(good[2][0], 60), good[2][1])])
    found = check([folder], resolve_charset("94"), 25, [test])
    where = {reason: [int(Path(key).stem) for key, _ in named] for reason, named in found.problems.examples.items()}
    assert where == {
        module.UNREADABLE: [6], EMPTY: [7], TOO_LONG: [8], module.MOJIBAKE: [9], OUTSIDE: [9, 10, 11],
        module.CONTROL: [11], module.TINY: [12], module.TURNED: [13], module.REPEATED: [14], module.CONTRADICTING: [15],
        module.SEEN: [2],
    }  # fmt: skip
    assert dict(found.outside) == {"\u00c3": 1, "\u00a9": 1, "€": 1, "\x07": 1}
    (twin,) = found.twins
    assert (Path(twin.key).name, Path(twin.other_key).name, twin.label) == ("2.png", "1.png", WORDS[2])
    contents = found.contents
    assert (contents.count, len(contents.sizes)) == (16, 15)
    assert sum(contents.characters.values()) == sum(length * count for length, count in contents.lengths.items())
    assert sizes(contents) == {"smallest": "20x5", "median": "96x32", "largest": "96x90"}
    stored = json.loads(json.dumps(found.to_json()))
    assert stored["problems"][OUTSIDE]["count"] == 3
    assert stored["twins"][0]["likeness"] >= 0.95


def test_marks_alone_and_mixed_directions_are_told(tmp_path: Path) -> None:
    labels = ["\u0651سلام", "سلامabc", "سلام"]
    crops = [(picture(word), label) for word, label in zip(WORDS[:3], labels, strict=True)]
    found = check([write(tmp_path / "crops", crops)], resolve_charset("ar"))
    assert {reason: [key[-5] for key, _ in named] for reason, named in found.problems.examples.items()} == {
        BARE_MARK: ["0"], MIXED: ["1"],
    }  # fmt: skip


def test_sound_crops_are_not_accused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write(tmp_path / "crops", [(picture(word), word) for word in WORDS])
    other = write(tmp_path / "test", [(picture(word, seed=1), word) for word in WORDS])
    assert run(["data", "check", str(folder), "--against", str(other), "--charset", "94"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{folder}: 12 crops, ") and out.endswith("\nno problem found\n")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write(tmp_path / "crops", [(picture("Rome"), "Rome"), (b"", "<b>Nil</b>")])
    page, stored = tmp_path / "page.html", tmp_path / "found.json"
    assert run(["data", "check", str(folder), "--html", str(page)]) == 1
    out = capsys.readouterr().out
    assert "found 1 (unreadable image)" in out and "no problem" not in out
    assert run(["data", "check", str(folder), "--json", "-o", str(stored)]) == 1
    assert json.loads(stored.read_text())["count"] == 2
    html = page.read_text()
    assert html.count("data:image/jpeg") == 1 and "&lt;b&gt;Nil&lt;/b&gt;" in html and "<b>Nil" not in html
    assert run(["data", "stats", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["characters"]["R"] == 1
    assert run(["data", "check", str(tmp_path / "none")]) == 2
    assert run(["data", "check", str(folder), "--html", str(tmp_path)]) == 2
    assert run(["data", "check", str(folder), "--charset", "95"]) == 2


def test_command_takes_charset_and_length_of_a_recognizer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ("Straße", "twelve euros and fifty cents", "東京")
    crops = write(tmp_path / "crops", [(picture(word, seed), word) for seed, word in enumerate(words)])
    assert run(["data", "check", str(crops), "--charset", "94"]) == 1
    assert "'Straße'" in capsys.readouterr().out
    assert run(["data", "check", str(crops), "--model", "dptr-latin"]) == 1
    told = capsys.readouterr().out
    assert "'東京'" in told and "Straße" not in told and "twelve" not in told


def test_no_data_set_is_an_error() -> None:
    with pytest.raises(UserError, match="no data set given"):
        check([])


def test_page_shows_twins_side_by_side(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [(picture("Rome"), "Rome")])
    two = write(tmp_path / "two", [(picture("Rome"), "Roma")])
    found = check([one], None, 25, [two])
    page = render_check(found, [], lambda name: picture(name[-5:]))
    assert page.index("Rome") < page.index("Roma")
    assert "Seen in both" in page
