"""Tiny trainings, and the command line in a process that has imported everything: a command starts in no time there.

``python tests/helpers_train.py`` is that process: a JSON line in (arguments, files for output and errors, a limit on the
size of files), a forked child that runs ``dptr``, two JSON lines out: its process id and, when it has ended, its status.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

WORDS = "apple bread candy delta eagle flame grape honey ivory jolly koala lemon mango noble ocean piano queen river".split()
STEPS = 12
VALIDATION = 24  # instead of hundreds
RUN = [
    f"run.steps={STEPS}", "run.batch=4", "run.workers=0", "run.device=cpu", "run.save_every=3", "run.validate_every=4",
    "run.log_every=1", "optim.ema=0.9", "optim.warmup=0.25", "optim.lr=3e-3",
]  # fmt: skip
ENCODER = '{kind="svtr", size="nano", height=16, width=32}'
MODEL = [
    'model.charset="36"', "model.max_length=5", "model.decoder.dim=16", "model.decoder.depth=1",
    "model.decoder.heads=2", f"model.encoder={ENCODER}", "model.fmu.queries=6", "model.fmu.heads=2",
]  # fmt: skip


def corpus(folder: Path) -> list[str]:
    """Eighteen words of five letters, a fifth of them held out."""
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    return [f'corpus.sources=[{{kind="file", path={_quoted(folder / "words.txt")}}}]', "corpus.heldout=0.3"]


def align_settings(folder: Path, fonts: Path) -> list[str]:
    glyph = ["glyph.dim=16", "glyph.heads=2", "glyph.max_length=5", 'glyph.charset="36"', f"glyph.encoder={ENCODER}"]
    return [*RUN, *glyph, *corpus(folder), f"render.fonts=[{_quoted(fonts)}]"]


def pretrain_settings(folder: Path, glyph: Path, bank: Path) -> list[str]:
    return [*RUN, *MODEL, *corpus(folder), "bucket=2", f"dual.model={_quoted(glyph)}", f"orp.bank={_quoted(bank)}"]


def finetune_settings(folder: Path, fonts: Path, glyph: Path, decoder: Path, crops: Path) -> list[str]:
    init = [f"init.glyph={_quoted(glyph)}", f"init.decoder={_quoted(decoder)}", "encoder_lr=0.5"]
    data = [f"data.train=[{_quoted(crops)}]", "data.rendered=0.5", "data.validation_share=0.3"]
    return [*RUN, *MODEL, *corpus(folder), f"render.fonts=[{_quoted(fonts)}]", *init, *data]


def _quoted(path: Path) -> str:
    return json.dumps(str(path))


def as_arguments(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def write_crops(folder: Path, fonts: Path, words: list[str]) -> Path:
    """A folder with labels.tsv: words rendered plainly."""
    from PIL import Image

    from dptr.config import RenderConfig
    from dptr.data.synth import Renderer

    renderer = Renderer(RenderConfig(fonts=(str(fonts),)), seed=3)
    folder.mkdir(parents=True)
    for index, word in enumerate(words):
        Image.fromarray(renderer.render(word, index)).save(folder / f"{index}.png")
    (folder / "labels.tsv").write_text("".join(f"{index}.png\t{word}\n" for index, word in enumerate(words)))
    return folder


def write_photographs(folder: Path, count: int) -> Path:
    from PIL import Image

    folder.mkdir(parents=True)
    for index, array in enumerate(np.random.default_rng(0).integers(0, 256, (count, 24, 48, 3), dtype=np.uint8)):
        Image.fromarray(array).save(folder / f"{index}.png")
    return folder


def records(out: Path) -> list[dict[str, Any]]:
    """The log, without what depends on the clock."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("_per_second")} for line in lines]


def contents(out: Path) -> dict[str, bytes]:
    """All files of a finished run that do not depend on the clock."""
    files = {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes() for name, path in files.items() if name != "log.jsonl" and "tensorboard/" not in name
    }


def check_whole(out: Path) -> None:
    """Nothing is half-written under a final name."""
    from dptr.files import PARTIAL, REPLACED, load_tensors

    for path in out.rglob("*"):
        unfinished = any(part.startswith((PARTIAL, REPLACED)) for part in path.relative_to(out).parts)
        if unfinished or not path.is_file():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            assert load_tensors(path, "tensors"), path
    for folder in [out / "model", *sorted((out / "state").glob("step-*"))[-1:]]:
        names = {path.name for path in folder.glob("*")}
        whole = ({"config.json", "model.safetensors", "card.json"}, {"state.json", "tensors.safetensors"})
        assert not names or names in whole, names


@dataclass
class Warm:
    """The warmed-up command line."""

    folder: Path
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._line() == "ready"

    def _line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def start(self, *arguments: str, file_limit: int = 0) -> int:
        """Begin ``dptr ARGUMENTS``; its process id. To be followed by ``end``."""
        assert self.process.stdin is not None
        request = {"arguments": arguments, "folder": str(self.folder), "file_limit": file_limit}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._line()

    def end(self) -> tuple[int, str, str]:
        """Wait: exit code (negative: the signal that ended it), output, errors."""
        code = os.waitstatus_to_exitcode(self._line())
        return code, (self.folder / "stdout").read_text(), (self.folder / "stderr").read_text()

    def run(self, *arguments: str, file_limit: int = 0) -> tuple[int, str, str]:
        self.start(*arguments, file_limit=file_limit)
        return self.end()

    def kill_after(self, seconds: float, *arguments: str) -> int:
        """Begin a command and kill it -9 after some seconds; its exit code: -9, or 0 if it was quicker."""
        process = self.start(*arguments)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)  # a zombie takes it too
        return self.end()[0]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


def _serve() -> None:
    import torch

    import dptr.dual.glyph
    import dptr.orp
    from dptr.train import align, crops, finetune, pretrain

    assert dptr.orp and dptr.dual.glyph and finetune
    torch.set_num_threads(1)
    align.RENDERED_VALIDATION = crops.RENDERED_VALIDATION = pretrain.VALIDATION = VALIDATION
    for name in ("accelerate", "tensorboard.summary.writer.record_writer", "rich.progress", "lmdb", "torch._dynamo"):
        __import__(name)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            _command(**json.loads(line))
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


def _command(arguments: list[str], folder: str, file_limit: int) -> None:
    from dptr.cli import main

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    _serve()
