"""Train the network that says which script a crop shows (``dptr.inference.scripts``), and write it as ONNX.

    python research/photo/train_scripts.py --fonts FONTS --backgrounds $DPTR_DATA/natural --work runs/scripts \\
        --out dptr/inference/scripts.onnx

draws words of every script that the toolkit has languages of, trains on them for ``--minutes``, and goes on where it
was stopped: crops and weights are in ``--work``. One word in ten is held out, and so is of each script's families of
fonts what ``dptr.synth`` holds out (one in ten), or else the family of fewest faces. What ships was trained
for 25 minutes of one core, in two goes (``--minutes 33``, stopped after 10, then 25), on 6,000 crops a script, drawn in
7 more.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dptr.config.load import load_recipe
from dptr.config.render import SourceConfig
from dptr.config.train import SynthRecipe
from dptr.inference.scripts import HEIGHT, MAX_WIDTH, MIN_WIDTH, NAMES, WIDTH_STEP, normalize
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.font_file import Font
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.languages import LANGUAGES
from dptr.text.scripts import NO_SCRIPT, languages_of, script_of_text
from dptr.training.resolve import resolve_synth
from dptr.utils.sizes import CropSizes

RECIPE = Path(__file__).parents[1] / "recipes" / "synth-language.toml"
SIZE = CropSizes(HEIGHT, MIN_WIDTH, 320)
HELD_OUT = 0.1  # of the words
NUMBERS = ("number", "price", "date", "time", "phone")
CHANNELS = 24, 48, 48, 128, 128
BATCH_SIZE = 64
SAVE_EVERY = 12_800  # samples
RATE = 4e-3
WINDOW, WHOLE = 64, 0.25  # pixels that are learned from at once, which is cheap, but for a share of whole crops
LOOKED_AT = 40  # words that say which families draw a script

Split = Literal["train", "heldout"]


@dataclass(frozen=True)
class Crops:
    """Gray crops of one script; a picture is ``pixels[:, start:start + width]``."""

    pixels: np.ndarray
    starts: np.ndarray
    widths: np.ndarray
    words: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def crop(self, index: int) -> np.ndarray:
        start = self.starts[index]
        return self.pixels[:, start : start + self.widths[index]]


def draw_script(script: str, split: Split, count: int, seed: int, fonts: Sequence[Font], photographs: str) -> Crops:
    """Crops of words of a script, evenly from its languages."""
    codes = _languages(script)
    crops: list[np.ndarray] = []
    words: list[str] = []
    for code, share in zip(codes, np.diff(np.linspace(0, count, len(codes) + 1).round().astype(int)), strict=True):
        recipe = resolve_synth(load_recipe(SynthRecipe, RECIPE, [f"charset={code}+space"]))
        config = recipe.corpus.model_copy(update={"heldout": HELD_OUT})
        if script == NO_SCRIPT:
            numbers = SourceConfig(kind="pattern", patterns=NUMBERS)
            config = config.model_copy(update={"sources": (numbers,), "phrases": 0.0})
        corpus = Corpus(config, resolve_charset(recipe.charset), 25, seed, split)
        probe = [word for word in map(corpus.word, range(20 * LOOKED_AT)) if script_of_text(word) == script]
        own = FontIndex(split_fonts(fonts, probe[:LOOKED_AT], split))
        empty = 0.15 if script == NO_SCRIPT else 0.0
        render = recipe.render.model_copy(
            update={"backgrounds": photographs, "effects": recipe.render.effects | {"empty": 0.0}}
        )
        renderer = Renderer(render, seed, own, SIZE)
        rng = np.random.default_rng(seed)
        index, last = 0, len(crops) + share
        while len(crops) < last:
            word = "" if rng.random() < empty else corpus.word(index)
            if script_of_text(word) == script and renderer.can_draw(word):
                crops.append(cv2.cvtColor(renderer.render(word, index), cv2.COLOR_RGB2GRAY))
                words.append(word)
            index += 1
    widths = np.array([crop.shape[1] for crop in crops])
    return Crops(np.concatenate(crops, 1), np.cumsum(widths) - widths, widths, np.array(words))


def split_fonts(fonts: Sequence[Font], words: Sequence[str], split: Split) -> list[Font]:
    """The faces that draw half of the words, of families that are held out or of the others."""
    able = [font for font in fonts if 2 * sum(all(each in font for each in word) for word in words) >= len(words)]
    held = {font.group for font in able} - {font.group for font in FontIndex(able, "train").fonts}
    if not held:
        sizes = Counter(font.group for font in able)
        held = {min(sizes, key=lambda group: (sizes[group], group))}
    return [font for font in able if (font.group in held) == (split == "heldout")]


def _languages(script: str) -> list[str]:
    """The codes that words of a script are drawn in: its union, or each language."""
    if script == NO_SCRIPT:
        return ["latin"]
    codes = languages_of(script)
    unions = [code for code in codes if LANGUAGES[code].parts]
    return unions or [*codes]


def open_crops(script: str, split: Split, count: int, options: argparse.Namespace, fonts: Sequence[Font]) -> Crops:
    """Those of an earlier call, or new ones."""
    file = options.work / f"{script}-{split}-{count}.npz"
    if not file.is_file():
        seed = options.seed + (split == "heldout") * 1_000_003
        crops = draw_script(script, split, count, seed, fonts, options.backgrounds)
        np.savez(file.with_suffix(".part.npz"), **vars(crops))
        file.with_suffix(".part.npz").rename(file)
    with np.load(file) as held:
        return Crops(*(held[name] for name in ("pixels", "starts", "widths", "words")))


def separable(before: int, after: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Sequential:
    padding = kernel[0] // 2, kernel[1] // 2
    return nn.Sequential(
        nn.Conv2d(before, before, kernel, stride, padding, groups=before, bias=False), nn.BatchNorm2d(before),
        nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class ScriptNet(nn.Module):
    """Pixels (b, 1, 32, w), normalized, to logits (b, scripts). 118,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = CHANNELS

        def plain(before: int, after: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        self.body = nn.Sequential(
            *plain(1, a, 2), *plain(a, b, 2), *plain(b, c, 1),
            separable(c, d, (5, 5), (2, 1)), Residual(separable(d, d, (3, 3))), Residual(separable(d, d, (3, 3))),
            nn.Conv2d(d, d, (4, 3), padding=(0, 1), groups=d, bias=False), nn.BatchNorm2d(d),
            nn.Conv2d(d, e, 1, bias=False), nn.BatchNorm2d(e), nn.ReLU(), Residual(separable(e, e, (1, 7))),
        )  # fmt: skip
        self.head = nn.Linear(2 * e, len(NAMES))

    def forward(self, pixels: Tensor) -> Tensor:
        columns = self.body(pixels)[:, :, 0]
        return self.head(torch.cat((columns.mean(2), columns.amax(2)), 1))


class _Probabilities(nn.Module):
    def __init__(self, net: ScriptNet, temperature: float) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    def forward(self, pixels: Tensor) -> Tensor:
        return (self.net(pixels) / self.temperature).softmax(1)


def make_sample(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A crop with margins as detectors leave them, a little stretched, blurred, and inverted."""
    height, width = crop.shape
    above, below = rng.uniform(-0.08, 0.2, 2) * height
    left, right = rng.uniform(-0.05, 0.35, 2) * height if rng.random() < 0.5 else (0, 0)
    cut = crop[max(0, int(-above)) : height - max(0, int(-below)), max(0, int(-left)) : width - max(0, int(-right))]
    border = cv2.BORDER_REPLICATE if rng.random() < 0.6 else cv2.BORDER_REFLECT_101
    top, bottom, before, behind = (max(0, int(each)) for each in (above, below, left, right))
    crop = cv2.copyMakeBorder(cut, top, bottom, before, behind, border)
    if rng.random() < 0.3:
        scale = rng.uniform(0.3, 0.8)
        crop = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    wide = crop.shape[1] * HEIGHT / crop.shape[0] * rng.uniform(0.8, 1.25)
    wide = max(MIN_WIDTH, round(wide / WIDTH_STEP) * WIDTH_STEP)
    crop = cv2.resize(crop, (wide, HEIGHT), interpolation=cv2.INTER_LINEAR)
    most = MAX_WIDTH if rng.random() < WHOLE else WINDOW
    if wide > most:
        first = int(rng.integers(0, wide - most + 1))
        crop = crop[:, first : first + most]
    return 255 - crop if rng.random() < 0.3 else crop


def make_batches(every: Sequence[Crops], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """At most ``SAVE_EVERY`` of all crops, those of one width together."""
    places = rng.permutation([(script, index) for script, crops in enumerate(every) for index in range(len(crops))])
    places = places[:SAVE_EVERY]
    waiting: dict[int, list[tuple[np.ndarray, int]]] = defaultdict(list)
    for script, index in places:
        sample = make_sample(every[script].crop(index), rng)
        own = waiting[sample.shape[1]]
        own.append((normalize(sample), int(script)))
        if len(own) == BATCH_SIZE:
            yield _stack(own)
            own.clear()
    for own in waiting.values():
        if len(own) > BATCH_SIZE // 8:
            yield _stack(own)


def _stack(samples: Sequence[tuple[np.ndarray, int]]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.stack([pixels for pixels, _ in samples])), torch.tensor([each for _, each in samples])


def train(every: Sequence[Crops], minutes: float, seed: int, file: Path) -> ScriptNet:
    """Train for a time of this process; what was done is in ``file``, from which it goes on."""
    torch.manual_seed(seed)
    net = ScriptNet()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # takes two thirds of the time
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.02)
    spent, part = 0.0, 0
    if file.is_file():
        held = torch.load(file, weights_only=True)
        net.load_state_dict(held["net"])
        optimizer.load_state_dict(held["optimizer"])
        spent, part = held["spent"], held["part"]
    while (done := spent / (60 * minutes)) < 1:
        begun, losses, right = time.process_time(), [], 0
        for pixels, scripts in make_batches(every, np.random.default_rng((seed, part))):
            done = (spent + time.process_time() - begun) / (60 * minutes)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(done / 0.05, 0.5 * (1 + math.cos(math.pi * done))) + 1e-6
            logits = net(pixels)
            loss = F.cross_entropy(logits, scripts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            right += int((logits.argmax(1) == scripts).sum())
        spent, part = spent + time.process_time() - begun, part + 1
        share = right / max(1, BATCH_SIZE * len(losses))
        print(f"part {part}, {spent / 60:.1f} min: loss {np.mean(losses):.3f}, right {share:.1%}", flush=True)
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "spent": spent, "part": part}
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").rename(file)
    return net.eval()


def fit_temperature(net: ScriptNet, every: Sequence[Crops]) -> float:
    """What the logits are divided by, so that the probabilities of held-out crops are the likeliest."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        seen = [(net(pixels), scripts) for pixels, scripts in make_batches(every, rng)]
    logits, scripts = torch.cat([each for each, _ in seen]), torch.cat([each for _, each in seen])
    print(f"held out: right {(logits.argmax(1) == scripts).float().mean():.1%}")
    candidates = np.geomspace(0.5, 4, 50)
    return float(min(candidates, key=lambda each: F.cross_entropy(logits / each, scripts).item()))


def save(net: nn.Module, out: Path) -> None:
    """As ONNX, weights in 16 bits, which the file turns to 32 when it is opened."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    batch, steps = torch.export.Dim("batch", min=1), torch.export.Dim("steps", min=1, max=64)
    exported = torch.onnx.export(
        net.eval(), (torch.zeros(2, 1, HEIGHT, 4 * WIDTH_STEP),), dynamo=True, opset_version=18,
        input_names=["pixels"], output_names=["probabilities"], verbose=False,
        dynamic_shapes={"pixels": {0: batch, 3: WIDTH_STEP * steps}},
    )  # fmt: skip
    assert exported is not None
    model: onnx.ModelProto = exported.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces of this machine
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    casts = []
    for held in model.graph.initializer:
        if held.data_type == TensorProto.FLOAT and len(held.dims) > 1:
            values, name = numpy_helper.to_array(held).astype(np.float16), held.name
            held.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    out.write_bytes(model.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="a folder for crops and weights")
    parser.add_argument("--crops", type=int, default=6000, help="of each script")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backgrounds", default="", help="a folder of photographs")
    parser.add_argument("--fonts", nargs="*", default=(), help="folders or files; default: those of the system")
    options = parser.parse_args()
    torch.set_num_threads(1)  # at these sizes more of them only wait for each other
    options.work.mkdir(parents=True, exist_ok=True)
    fonts = find_fonts(options.fonts)
    every = []
    for script in NAMES:
        begun = time.process_time()
        every.append(open_crops(script, "train", options.crops, options, fonts))
        print(f"{script}: {len(every[-1])} crops, {time.process_time() - begun:.0f} s", flush=True)
    held_out = [open_crops(script, "heldout", options.crops // 40, options, fonts) for script in NAMES]
    net = train(every, options.minutes, options.seed, options.work / "scripts.pt")
    save(_Probabilities(net, fit_temperature(net, held_out)), options.out)


if __name__ == "__main__":
    main()
