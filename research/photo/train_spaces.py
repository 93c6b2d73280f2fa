"""Train the network that finds spaces in lines (``dptr.photo.spaces``) on rendered lines, and write it as ONNX.

python research/photo/train_spaces.py --out spaces.onnx [--lines 20000] [--epochs 6] [--backgrounds FOLDER]

The renderer says where each letter begins and ends. A column is blank where no word is: in spaces, and beyond the
ends of the line. An edge is where one letter of a word ends and the next begins. What ships was trained for 4 epochs
of a schedule of 5 and then for one more whose rate fell from 1e-3 to 0, on 20,000 lines: some 25 minutes of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from dptr.config.render import CorpusConfig, RenderConfig
from dptr.photo.spaces import COLUMNS, CONTRAST, HEIGHT, WIDTH_STEP
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import Charset, resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.sizes import CropSizes

CHANNELS = 16, 24, 32, 48
DILATIONS = 1, 2, 4, 8, 16, 1
WINDOW = 192  # pixels of a longer line that are learned from at once
BATCH_SIZE = 32
FAR, FAR_WEIGHT = (
    5,
    0.2,
)  # columns beyond the ends of the line, from which on they count less: neighbors may stand there
EDGE_WEIGHT = 0.5  # of the loss of edges, beside that of blank columns

Line = tuple[np.ndarray, str, np.ndarray]  # a crop, its text, and where each letter begins and ends (letters, 2)
Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # pixels; blank, edges, and weights of the columns


class Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.norm(self.convolution(x)))


class SpaceNet(nn.Module):
    """Pixels (b, 3, 32, w), normalized, to logits (b, 2, w / 2): blank, and edge. 100,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip((3, *CHANNELS[:-1]), CHANNELS, strict=True)):
            stride = 2, 2 if index == 0 else 1
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        last = CHANNELS[-1]
        layers += [nn.Conv2d(last, last, (2, 1), bias=False), nn.BatchNorm2d(last), nn.ReLU()]
        self.stem = nn.Sequential(*layers)
        self.body = nn.Sequential(*(Block(last, dilation) for dilation in DILATIONS))
        self.head = nn.Conv1d(last, 2, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.body(self.stem(pixels)[:, :, 0]))


class _Probabilities(nn.Module):
    def __init__(self, net: SpaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(pixels).sigmoid()


def render_lines(count: int, seed: int, backgrounds: str, fonts: Sequence[str]) -> list[Line]:
    """Rendered lines, four in five of several words; without those whose letters' places are not known."""
    known = resolve_charset("94")
    charset = Charset("94 and space", (*known.characters, " "))
    effects = {"photograph": 0.3, "cut": 0.05} if backgrounds else {"cut": 0.05}
    render = RenderConfig(backgrounds=backgrounds, fonts=tuple(fonts), effects=effects)
    corpus = Corpus(CorpusConfig(phrases=0.8), charset, 60, seed)
    source = RenderedWords(corpus, Renderer(render, seed, size=CropSizes(HEIGHT, 64, 1024)))
    lines = []
    for index in range(count):
        crop, text, stops = source.sample(index)
        if len(stops) and text.strip() and not np.isnan(stops).any():
            lines.append((crop, text, stops))
    return lines


def make_sample(line: Line, rng: np.random.Generator) -> Sample:
    """A line with margins as detectors leave them, a little stretched and blurred, and what its columns hold."""
    crop, text, stops = line
    height, width = crop.shape[:2]
    stops = stops * width
    above, below = rng.uniform(-0.08, 0.22, 2) * height
    left, right = (int(margin) for margin in rng.uniform(0, min(0.35 * height, width - 1), 2))
    mode = "edge" if rng.random() < 0.6 else "reflect"
    margins = ((max(0, int(above)), max(0, int(below))), (left, right), (0, 0))
    padded = np.pad(crop, margins, mode=mode)  # type: ignore[call-overload]
    padded = padded[max(0, int(-above)) : padded.shape[0] - max(0, int(-below))]
    stretch = HEIGHT / padded.shape[0] * rng.uniform(0.85, 1.18)
    wide = max(WIDTH_STEP, round(padded.shape[1] * stretch / WIDTH_STEP) * WIDTH_STEP)
    image = Image.fromarray(padded)
    if rng.random() < 0.3:
        fewer = rng.uniform(0.35, 0.8)
        smaller = max(4, int(image.width * fewer)), max(4, int(image.height * fewer))
        image = image.resize(smaller, Image.Resampling.BILINEAR)
    pixels = np.asarray(image.resize((wide, HEIGHT), Image.Resampling.BICUBIC))
    if rng.random() < 0.2:
        pixels = 255 - pixels
    columns = wide * COLUMNS // HEIGHT
    blank, edges, weights = label_columns(text, (stops + left) * columns / padded.shape[1], columns)
    if wide > WINDOW:
        first = int(rng.integers(0, (wide - WINDOW) // 2 + 1))
        kept = slice(first, first + WINDOW * COLUMNS // HEIGHT)
        pixels = pixels[:, 2 * first : 2 * first + WINDOW]
        blank, edges, weights = blank[kept], edges[kept], weights[kept]
    return pixels, blank, edges, weights


def label_columns(text: str, stops: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blank (0 or 1), edges (0 to 1), and weights of ``count`` columns; ``stops`` in columns."""
    places = np.arange(count) + 0.5
    blank, edges = np.ones(count, np.float32), np.zeros(count, np.float32)
    letters = [index for index, character in enumerate(text) if character != " "]
    for index in letters:
        begin, end = stops[index]
        joined = index + 1 < len(text) and text[index + 1] != " "
        blank[(places > begin) & (places < (stops[index + 1][1] if joined else end))] = 0
        if joined:
            middle = (end + stops[index + 1][0]) / 2
            edges = np.maximum(edges, np.exp(-((places - middle) ** 2) / 2))
    weights = np.ones(count, np.float32)
    weights[(places < stops[letters[0]][0] - FAR) | (places > stops[letters[-1]][1] + FAR)] = FAR_WEIGHT
    return blank, edges, weights


def make_batches(lines: Sequence[Line], rng: np.random.Generator) -> Iterator[list[Tensor]]:
    """One pass through all lines, those of about one width together."""
    order = sorted(range(len(lines)), key=lambda index: lines[index][0].shape[1] + rng.uniform(0, 24))
    batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
    for batch in rng.permutation(len(batches)):
        samples = [make_sample(lines[index], rng) for index in batches[batch]]
        wide = max(sample[0].shape[1] for sample in samples)
        pixels = np.zeros((len(samples), 3, HEIGHT, wide), np.float32)
        columns = np.zeros((3, len(samples), wide * COLUMNS // HEIGHT), np.float32)
        for row, (image, *targets) in enumerate(samples):
            values = image.astype(np.float32).transpose(2, 0, 1)
            pixels[row, :, :, : image.shape[1]] = (values - values.mean()) / (values.std() + CONTRAST)
            columns[:, row, : len(targets[0])] = targets
        yield [torch.from_numpy(array) for array in (pixels, *columns)]


def train(lines: Sequence[Line], epochs: int, seed: int) -> SpaceNet:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = SpaceNet()
    steps = epochs * -(-len(lines) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    step = 0
    for _ in range(epochs):
        for pixels, blank, edges, weights in make_batches(lines, rng):
            logits = net(pixels)
            losses = [
                (F.binary_cross_entropy_with_logits(logits[:, row], wanted, reduction="none") * weights).sum()
                for row, wanted in enumerate((blank, edges))
            ]
            loss = (losses[0] + EDGE_WEIGHT * losses[1]) / weights.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % 100 == 0:
                print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    return net.eval()


def save(net: SpaceNet, out: Path) -> None:
    batch, steps = torch.export.Dim("batch", min=1), torch.export.Dim("steps", min=1, max=1024)
    exported = torch.onnx.export(
        _Probabilities(net).eval(), (torch.zeros(2, 3, HEIGHT, 4 * WIDTH_STEP),), dynamo=True, opset_version=18,
        input_names=["pixels"], output_names=["columns"], verbose=False,
        dynamic_shapes={"pixels": {0: batch, 3: WIDTH_STEP * steps}},
    )  # fmt: skip
    assert exported is not None
    model = exported.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces of this machine
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    out.write_bytes(model.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backgrounds", default="", help="a folder of photographs")
    parser.add_argument("--fonts", nargs="*", default=())
    options = parser.parse_args()
    torch.set_num_threads(1)  # at these sizes more of them only wait for each other
    lines = render_lines(options.lines, options.seed, options.backgrounds, options.fonts)
    save(train(lines, options.epochs, options.seed), options.out)


if __name__ == "__main__":
    main()
