"""Tiny trainings, and the command line in a process that has imported everything: a command starts in no time there.

``python tests/helpers_train.py MODULE...``, which imports these too, is that process: a JSON line in (arguments, where
output goes, a limit on the size of files, system calls that fail), a forked child that runs ``dptr``, a JSON line out,
its process id; an empty line in, and when the child has ended its status out.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dptr.utils.seccomp import Refusal, install

WORDS = [
    "apple", "bread", "candy", "delta", "eagle", "flame", "grape", "honey", "ivory", "jolly", "koala", "lemon", "mango",
    "noble", "ocean", "piano", "queen", "river",
]  # fmt: skip
DOMAIN = ["ab12", "cd34", "ef56", "gh78"]
STEPS = 12
VALIDATION = 24  # instead of hundreds
RUN = [
    f"run.steps={STEPS}", "run.batch_size=4", "run.device=cpu", "run.save_every=3", "run.validate_every=4",
    "run.precision=no", "run.log_every=1", "optim.ema_decay=0.9", "optim.warmup=0.25", "optim.lr=3e-3",
]  # fmt: skip
ENCODER = '{kind="svtr", size="nano", height=16, width=32}'
DECODER = [
    'model.charset="36"', "model.max_length=5", "model.decoder.dim=16", "model.decoder.depth=1",
    "model.decoder.heads=2",
]  # fmt: skip
MODEL = [*DECODER, f"model.encoder={ENCODER}", "model.fmu.queries=6", "model.fmu.heads=2"]
TEACH = [
    "co_training.text=1", "co_training.images=1", "co_training.residuals=1", "co_training.words=6",
    "co_training.decoder.depth=1", "co_training.decoder.heads=2",
]  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """What trainings start from: a random dual encoder with a bank, a random decoder, words, crops, photographs."""

    folder: Path
    fonts: Path

    def settings(self, command: str) -> list[str]:
        """The tiny recipe of a training command, as ``--set`` takes it."""
        words = f'corpus.sources=[{{kind="file", path={_quoted(self.folder / "words.txt")}}}]'
        glyph = [
            "glyph.dim=16",
            "glyph.heads=2",
            "glyph.max_length=5",
            'glyph.charset="36"',
            f"glyph.encoder={ENCODER}",
        ]
        workers = "run.workers=0"
        fonts = f"render.fonts=[{_quoted(self.fonts)}]"
        shapes = f"decomposition={_quoted(self.folder / 'shapes.tsv')}"
        tower, bank = _quoted(self.folder / "glyph"), _quoted(self.folder / "bank.safetensors")
        init = [f"init.glyph={tower}", f"init.decoder={_quoted(self.folder / 'decoder')}", "encoder_lr_scale=0.5"]
        data = [f"data.train=[{_quoted(self.folder / 'crops')}]", "data.rendered=0.5", "data.validation_share=0.3"]
        own = {
            "align": [*glyph, fonts, workers],
            "teach": [*glyph, fonts, workers, *TEACH, shapes],
            "pretrain": [*DECODER, f"dual.model={tower}", f"orp.bank={bank}", "bucket=2", shapes],
            "finetune": [*MODEL, *init, *data, fonts, workers, shapes],
            "adapt": [
                f"init.model={_quoted(self.folder / 'recognizer')}",
                f"text=[{_quoted(self.folder / 'domain.txt')}]",
                fonts,
                "domain_crops=12",
                "language_crops=16",
            ],
        }
        return [*RUN, words, "corpus.heldout=0.3", *own[command]]

    def arguments(self, command: str, out: Path, *more: str) -> list[str]:
        """The command line of a command; ``more`` settings count before its own."""
        if command == "bank":
            photographs = ["--images", str(self.folder / "photographs"), "--model", str(self.folder / "glyph")]
            return ["bank", *photographs, "--out", str(out)]
        settings = {setting.partition("=")[0]: setting for setting in (*self.settings(command), *more)}
        sets = [part for setting in settings.values() for part in ("--set", setting)]
        return [command, "--out", str(out), *sets]

    def recipe(self, command: str, *more: str) -> Any:
        """The recipe of a training command."""
        from dptr.config.load import load_recipe
        from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe

        schemas = {
            "align": AlignRecipe, "teach": AlignRecipe, "pretrain": PretrainRecipe, "finetune": FinetuneRecipe,
            "adapt": AdaptRecipe,
        }  # fmt: skip
        return load_recipe(schemas[command], None, [*self.settings(command), *more])


def make_parts(folder: Path, fonts: Path) -> Parts:
    """Random weights and rendered words: nothing is trained."""
    import torch

    from dptr.config.model import GlyphDualConfig
    from dptr.dual.glyph.model import build_glyph, load_glyph, save_glyph
    from dptr.dual.orp.bank import build_bank
    from dptr.models.checkpoint import save_checkpoint
    from dptr.models.recognizer import build_decoder, build_recognizer
    from dptr.text.charset import resolve_charset

    parts = Parts(folder, fonts)
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "shapes.tsv").write_text("".join(f"{letter}\tol\n" for letter in "abdgpq"))  # a bowl and a stem
    (folder / "domain.txt").write_text("\n".join(DOMAIN) + "\n")
    write_crops(folder / "crops", fonts, WORDS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = parts.recipe("align").glyph
        save_glyph(folder / "glyph", *build_glyph(config), config, {})
        model = parts.recipe("finetune").model
        charset = resolve_charset(model.charset)
        decoder = build_decoder(model, len(charset))
        save_checkpoint(folder / "decoder", "decoder", decoder, model, charset, {}, {})
        whole = build_recognizer(model, len(charset))
        save_checkpoint(folder / "recognizer", "recognizer", whole, model, charset, {}, {})
    photographs = write_photographs(folder / "photographs", 120)
    dual = load_glyph(GlyphDualConfig(model=str(folder / "glyph")))
    build_bank(dual, sorted(photographs.iterdir()), folder / "bank.safetensors")
    return parts


def resolved_recipe(recipe: Any) -> tuple[Any, Any]:
    """The recipe that ``dptr finetune`` makes of one, and the charset; without data sets it is of rendered words."""
    resolved = _resolved(recipe)
    return resolved.recipe, resolved.charset


def initialized(model: Any, recipe: Any, charset: Any = None) -> list[str]:
    """What ``dptr finetune`` puts into ``model`` before it trains, and lines for the log.

    Args:
        charset: in place of the recipe's.
    """
    from dptr.training.initialize import initialize

    resolved = _resolved(recipe)
    return initialize(model, replace(resolved, charset=charset) if charset else resolved)


def _resolved(recipe: Any) -> Any:
    from dptr.training.resolve import resolve_finetune

    if not recipe.data.train:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"rendered": 1.0})})
    return resolve_finetune(recipe)


def _quoted(path: Path) -> str:
    return json.dumps(str(path))


def write_crops(folder: Path, fonts: Path, words: list[str]) -> Path:
    """A folder with labels.tsv: words rendered plainly."""
    from PIL import Image

    from dptr.config.render import RenderConfig
    from dptr.synth import Renderer

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
    from dptr.utils.outputs import PARTIAL, REPLACED
    from dptr.utils.tensors import load_tensors

    for path in out.rglob("*"):
        unfinished = any(part.startswith((PARTIAL, REPLACED)) for part in path.relative_to(out).parts)
        if unfinished or not path.is_file():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            assert load_tensors(path, "tensors"), path
    for folder in [out / "model", *sorted((out / "state").glob("step-*"))[-1:]]:
        names = {path.name for path in folder.glob("*")} - {"residuals.safetensors"}  # a bank beside a dual encoder
        whole = ({"config.json", "model.safetensors", "card.json"}, {"state.json", "tensors.safetensors"})
        assert not names or names in whole, names


@dataclass
class Warm:
    """The warmed-up command line.

    Attributes:
        folder: for what commands print.
        modules: imported before the first command.
    """

    folder: Path
    modules: Sequence[str] = ()
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, *self.modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._line() == "ready"

    def _line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def start(self, *arguments: str, file_limit: int = 0, failing: Sequence[Refusal] = ()) -> int:
        """Begin ``dptr ARGUMENTS``; its process id. To be followed by ``end``."""
        assert self.process.stdin is not None
        request = {"arguments": arguments, "folder": str(self.folder), "file_limit": file_limit}
        request["failing"] = [asdict(each) for each in failing]
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._line()

    def end(self) -> tuple[int, str, str]:
        """Wait: exit code (negative: the signal that ended it), output, errors."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        code = os.waitstatus_to_exitcode(self._line())
        return code, (self.folder / "stdout").read_text(), (self.folder / "stderr").read_text()

    def run(self, *arguments: str, file_limit: int = 0, failing: Sequence[Refusal] = ()) -> tuple[int, str, str]:
        self.start(*arguments, file_limit=file_limit, failing=failing)
        return self.end()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


def _serve() -> None:
    import torch

    import dptr.dual.glyph.model
    import dptr.dual.orp.bank
    from dptr.training import align, finetune, pretrain, sources

    assert dptr.dual.orp.bank and dptr.dual.glyph.model and finetune
    torch.set_num_threads(1)
    align.RENDERED_VALIDATION = sources.RENDERED_VALIDATION = pretrain.VALIDATION = VALIDATION
    for name in (
        "accelerate",
        "dptr.cli.app",
        "PIL.ImageFile",
        "tqdm",
        "torch._dynamo",
        "tensorboard.summary",
        *sys.argv[1:],
    ):
        __import__(name)
    gc.freeze()  # a collection in a child would touch, and so copy, all of it
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            _command(**json.loads(line))
        print(process, flush=True)
        sys.stdin.readline()  # until then it is there to be killed, be it as a zombie
        print(os.waitpid(process, 0)[1], flush=True)


def _command(arguments: list[str], folder: str, file_limit: int, failing: list[dict[str, Any]]) -> None:
    from dptr.cli.app import main

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    if failing:
        assert install([Refusal(**each) for each in failing]), "this kernel has no filters of system calls"
    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    _serve()
