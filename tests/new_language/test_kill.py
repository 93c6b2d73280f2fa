"""``dptr new-language`` under kill -9 in each of its stages: ``--resume`` ends as if nobody had disturbed it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers_train import Parts, Warm, check_whole, contents, make_parts, records

from dptr.data.labeled import open_labeled
from dptr.inference.onnx_backend import OnnxModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
STAGES = {
    "rendered": ["rendered crops", "training", "test", "ONNX"],
    "text": ["rendered crops", "alignment", "ORP", "stage 1", "stage 2", "test", "ONNX"],
}
"""What is in the lines that say which stage has begun, by method."""
KILLS = 3  # of each stage
TRAINED = "align", "pretrain", "finetune"


@dataclass(frozen=True)
class Whole:
    """A chain that nobody disturbed: its stages, the seconds after its start at which each began, and at its end."""

    method: str
    out: Path
    stages: list[str]
    moments: list[float]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"), ["helpers_chain", "dptr.evaluation.evaluate"])
    yield process
    process.close()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> Parts:
    """A recognizer with random weights, and 300 words of five letters."""
    made = make_parts(tmp_path_factory.mktemp("parts"), font_folder)
    drawn = random.Random(0)
    words = {"".join(drawn.choices("abcdefgh", k=5)) for _ in range(300)}
    (made.folder / "language.txt").write_text("\n".join(sorted(words)) + "\n")
    return made


def command(method: str, parts: Parts, out: Path) -> list[str]:
    words = ["--words", str(parts.folder / "language.txt"), "--fonts", str(parts.fonts)]
    start = ["--model", str(parts.folder / "recognizer")]
    return ["new-language", *words, *start, "--method", method, "--minutes", "4", "-o", str(out), "--resume"]


def start(warm: Warm, given: list[str]) -> int:
    (warm.folder / "stderr").write_text("")  # what an earlier command said
    return warm.start(*given)


def begun_stages(warm: Warm) -> list[str]:
    """What the command that runs says of its stages so far."""
    return re.findall(r"^== (.+)$", (warm.folder / "stderr").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, warm: Warm, parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole") / "run"
    process = start(warm, command(request.param, parts, out))
    begun, moments = time.monotonic(), []
    while not has_ended(process):
        moments += [time.monotonic() - begun] * (len(begun_stages(warm)) - len(moments))
        time.sleep(0.01)
    code, _, said = warm.end()
    assert code == 0, said
    names = begun_stages(warm)
    assert all(part in name for part, name in zip(STAGES[request.param], names, strict=True)), said
    return Whole(request.param, out, names, [*moments, time.monotonic() - begun])


def has_ended(process: int) -> bool:
    """Whether it waits for its status to be asked for."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def check_after_kill(out: Path) -> None:
    for name in TRAINED:
        check_whole(out / name)
    if (out / "test" / "labels.tsv").exists():
        crops = open_labeled(out / "test")
        assert all(crops.image(row).size for row in range(len(crops)))
    if (out / "model.onnx").exists():
        OnnxModel(out / "model.onnx")


def placeless(out: Path, name: str) -> dict[str, bytes]:
    """The files of a stage; recipes name the charset's file, in ``out``, and a bank its dual encoder."""
    files = contents(out / name)
    for path, content in files.items():
        if path.endswith(".safetensors"):
            size = int.from_bytes(content[:8], "little")  # of the header, which ends in blanks
            content = content[8 : 8 + size].rstrip() + content[8 + size :]
        files[path] = content.replace(str(out).encode(), b"OUT")
    return files


def exported(out: Path) -> str:
    """What the ONNX file says of itself, its weights by their digest."""
    return json.dumps(OnnxModel(out / "model.onnx").metadata).replace(str(out), "OUT")


def check_same(whole: Whole, out: Path) -> None:
    """All that was made; a report has times in it, and the bytes of an export are in no fixed order."""
    for name in TRAINED:
        assert (out / name).exists() == (whole.out / name).exists()
        if (out / name).exists():
            assert records(out / name) == records(whole.out / name)
            assert placeless(out, name) == placeless(whole.out, name)
    for name in ("test", "pack"):
        assert placeless(out, name) == placeless(whole.out, name)
    assert (out / "sheet.png").read_bytes() == (whole.out / "sheet.png").read_bytes()
    assert exported(out) == exported(whole.out)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.out.iterdir()}
    assert not [path for path in out.rglob("*") if path.name.startswith((".partial-", ".replaced-"))]


@pytest.mark.parametrize("whole", STAGES, indirect=True)
def test_killed_in_each_stage(whole: Whole, warm: Warm, parts: Parts, tmp_path: Path) -> None:
    """One run that is killed at random moments of each of its stages."""
    moments = random.Random(whole.method)
    out = tmp_path / "run"
    given = command(whole.method, parts, out)
    for number, stage in enumerate(whole.stages):
        for _ in range(KILLS):
            process = start(warm, given)
            while stage not in begun_stages(warm) and not has_ended(process):
                time.sleep(0.005)
            time.sleep(moments.uniform(0, whole.moments[number + 1] - whole.moments[number]))
            os.kill(process, signal.SIGKILL)
            code, _, said = warm.end()
            assert code in (0, -signal.SIGKILL), said
            check_after_kill(out)
    code, _, said = warm.run(*given)
    assert code == 0, said
    check_same(whole, out)
