"""The reproducer's path, walked dry: scripts/reproduce.py from tiny data in the official formats to its tables."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers_clip import make_tiny_clip
from helpers_docs import parsed
from helpers_train import write_photographs
from PIL import Image

from dptr.config.render import RenderConfig, plain_render
from dptr.data.labeled import open_labeled
from dptr.data.lmdb import write_lmdb
from dptr.synth import Renderer
from dptr.text.charset import resolve_charset

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "reproduce.py"
WORDS = ["apple", "Bread", "candy", "Delta", "eagle", "flame", "1999", "honey", "Ivory", "jolly", "koala", "lemon"]
MORE = [f"{word}{number}" for word in WORDS for number in range(8)]
HAN = "一万三上下不与且世业东两个中为主么之也买了事于些产京人什今从他代以们任企会但位何"
CHINESE = [HAN[start : start + 3] for start in range(0, 36, 3)]
TOO_LONG = HAN[:25]  # 75 tokens of bytes, and the prompt
SIX = ("IIIT5k", "SVT", "IC13_857", "IC13_1015", "IC15_1811", "IC15_2077", "SVTP", "CUTE80")
TINY = ("run.device=cpu", "run.precision=no", "run.batch_size=8", "run.tensorboard=false", "run.validate_every=5")
DECODER = ("model.decoder.dim=16", "model.decoder.depth=1", "model.decoder.heads=2")
ENCODER = ('model.encoder={kind="svtr", size="nano", height=32, width=128}', "model.fmu.heads=2", "run.workers=0")


def load() -> Any:
    spec = importlib.util.spec_from_file_location("reproduce", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduce"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    yield load()
    del sys.modules["reproduce"]


def main(script: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *arguments])
    try:
        script.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("track", ["english", "chinese", "mlt17", "mlt19"])
def test_nothing_there_says_who_has_it_and_shows_commands_that_parse(
    track: str, script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(tmp_path / "d"), "--photographs", str(tmp_path / "p"), "--out", str(tmp_path / "o")]
    where += ["--model", "nobody/has-this"]
    assert main(script, monkeypatch, track, *where) == 2
    assert "fetch what is missing" in capsys.readouterr().err
    assert main(script, monkeypatch, track, *where, "--dry", "--control") == 0
    out = capsys.readouterr().out
    assert not (tmp_path / "o").exists()
    for path, source in script.TRACKS[track].needs.items():
        assert f"missing: {tmp_path / 'd' / path}, from {source}" in out
    assert "a folder of photographs" in out and "nobody/has-this" in out
    commands = re.findall(r"^(\w+): (dptr .*)$", out, flags=re.MULTILINE)
    assert [name for name, _ in commands][:4] == ["bank", "pretrain", "finetune", "control"]
    for _, line in commands:
        parsed(shlex.split(line)[1:])


def test_a_setting_that_does_not_exist_ends_it_before_anything_runs(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(tmp_path), "--photographs", str(tmp_path), "--out", str(tmp_path / "o"), "--dry"]
    assert main(script, monkeypatch, "english", *where, "--finetune", "run.epoch=2") == 2
    assert "did you mean 'run.epochs'" in capsys.readouterr().err


def test_the_published_characters_become_a_charset(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published list holds U+3000 and two compatibility ideographs whose normal form it holds as well."""
    (tmp_path / "ppocr_keys_v1.txt").write_text("\n".join(["'", "疗", "郎", "\u3000", "\uf92c", "A"]), encoding="utf-8")
    options = type("Options", (), {"out": tmp_path / "out", "data": tmp_path})
    script.Run(options, script.TRACKS["chinese"]).write_charset()
    assert resolve_charset(str(tmp_path / "out" / "charset.txt")).characters == ("'", "疗", "郎", "A")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "charset: U+3000 left out: white space, or U+3000 in NFC",
        "charset: U+F92C left out: white space, or U+90CE in NFC",
        "charset: 4 of 6 characters",
    ]


# --- all of it --------------------------------------------------------------------------------------------------------


def pictures(words: Sequence[str], font: str) -> list[bytes]:
    renderer = Renderer(plain_render(RenderConfig(fonts=(str(ROOT / "tests" / "fonts" / font),))), seed=3)
    found = []
    for index, word in enumerate(words):
        buffer = io.BytesIO()
        Image.fromarray(renderer.render(word[:8], index)).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def write_sets(root: Path, names: Sequence[str], words: Sequence[str], font: str = "NotoSans.ttf") -> None:
    shown = pictures(words, font)
    for name in names:
        write_lmdb(root / name, zip(shown, words, strict=True))


def write_task_2(folder: Path, words: Sequence[tuple[str, str]], font: str) -> None:
    """MLT's word crops: ``word_N.png,script,text`` lines of gt.txt."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures([word for _, word in words], font), start=1):
        (folder / f"word_{number}.png").write_bytes(picture)
    lines = [f"word_{number}.png,{script},{word}" for number, (script, word) in enumerate(words, start=1)]
    (folder / "gt.txt").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets laid out as published, a CLIP of random weights, photographs."""
    folder = tmp_path_factory.mktemp("data")
    parts = ("easy", "medium", "hard", "normal", "challenging")
    write_sets(folder / "Union14M-L-LMDB-Filtered", [f"train_{part}" for part in parts], [*WORDS, "ünïcödé", "x" * 26])
    write_sets(folder / "val", ("IC15", "IIIT5k"), WORDS[:5])
    write_sets(folder / "test", (*SIX, "ArT"), WORDS[:3])
    chinese = folder / "benchmark_bctr"
    kinds = ("scene", "web", "document", "handwriting")
    words = [*CHINESE, "ABC", TOO_LONG]
    write_sets(chinese / "benchmark_bctr_train", [f"{kind}_train" for kind in kinds], words, "NotoSansSC.ttf")
    write_sets(chinese / "benchmark_bctr_test", [f"{kind}_test" for kind in kinds], CHINESE[:2], "NotoSansSC.ttf")
    (folder / "ppocr_keys_v1.txt").write_text("\n".join([*HAN, "\u3000", *"ABC"]), encoding="utf-8")
    latin = [("Latin", word) for word in WORDS] + [("Symbols", "###"), ("None", "")]
    for part in ("train/part_1", "validation"):
        write_task_2(folder / "mlt17" / part, latin, "NotoSans.ttf")
    write_task_2(folder / "mlt19" / "train", [("Latin", word) for word in MORE], "NotoSans.ttf")
    write_task_2(folder / "mlt17" / "train" / "part_2", [("Arabic", "سوق"), ("Arabic", "باب")], "NotoNaskhArabic.ttf")
    write_photographs(folder / "photographs", 30)
    make_tiny_clip(folder / "clip", width=16)
    return folder


def walk(data: Path, out: Path, track: str, *more: str) -> str:
    command = [sys.executable, str(SCRIPT), track, "--data", str(data), "--photographs", str(data / "photographs")]
    command += ["--model", str(data / "clip"), "--out", str(out)]
    for option, settings in (("--pretrain", DECODER), ("--finetune", (*DECODER, *ENCODER))):
        command += [part for one in (*settings, *TINY, "run.epochs=2") for part in (option, one)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'weights'}"}
    done = subprocess.run([*command, *more], env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check_again(data: Path, out: Path, track: str, *more: str) -> None:
    """Finished steps are not done again; a training whose end was not recorded goes on from its state."""
    record = json.loads((out / "steps.json").read_text())
    log = (out / "finetune" / "log.jsonl").read_text()
    kept = {line: seconds for line, seconds in record.items() if not line.endswith(f"--out {out / 'finetune'}")}
    assert len(kept) == len(record) - 1
    (out / "steps.json").write_text(json.dumps(kept))
    said = walk(data, out, track, *more)
    assert "pretrain: finished before" in said and "bank: finished before" in said
    assert "goes on after step" in said
    assert (out / "finetune" / "log.jsonl").read_text() == log


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_english_from_data_to_the_table(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = walk(data, out, "english", "--control")
    assert "labels of 5 data sets: train_challenging, train_easy" in said and ": 70 entries" in said
    assert "70 crops in 5 data sets: train_challenging 14, train_easy 14" in said
    # of 14 labels in each set, 12 are within charset and length; both stages and the control say so
    assert said.count("2 epochs of 60 samples: 15 steps of 8") == 3
    assert "of validation words" in said
    table = (out / "table.md").read_text()
    assert table.count("DPTR, measured here") == 2 and table.count("the same with a fresh decoder") == 2
    assert "| DPTR (published: arXiv 2408.05706) | 99.50 | 99.20 | 98.50 | 91.80 | 97.10 | 98.60 | 97.45 |" in table
    assert "IC13_857" in table and "IC15_2077" in table and "M parameters (published: 68 M)" in table
    check_again(data, out, "english", "--control")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_chinese_from_data_to_the_table(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = walk(data, out, "chinese", "--finetune", "data.validation_share=0.3")
    assert "left out: prompt too long 4" in said
    assert "U+3000 left out" in said and (out / "charset.txt").read_text() == HAN + "ABC"
    table = (out / "table.md").read_text()
    assert "| DPTR (published: arXiv 2408.05706) | - | - | - | - | 80.73 |" in table and "| 82.37 |" in table
    assert "scene_test" in table


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("track", ["mlt17", "mlt19"])
def test_multi_language_from_data_to_the_table(track: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    walk(data, out, track, "--finetune", "data.validation_share=0.3", "--finetune", "model.decoder.permutations=2")
    train = open_labeled(out / f"{track}-train")
    test = open_labeled(out / {"mlt17": "mlt17-validation", "mlt19": "mlt19-test"}[track])
    labels = [train.label(index) for index in range(len(train))]
    tested = [test.label(index) for index in range(len(test))]
    if track == "mlt17":
        assert labels == [*WORDS, "سوق", "باب"] and tested == WORDS
    else:
        assert sorted(labels + tested) == sorted(MORE) and tested
    assert f"{track}: no published row is known to this project" in (out / "table.md").read_text()
