"""Compare recognizers for other scripts with PP-OCRv6 and Tesseract, on rendered words that no training has seen.

    python research/evidence/recognizers.py --language ko --model runs/korean/model --fonts FONTS \\
        --photographs $DPTR_DATA/natural --rapidocr --tesseract kor --out runs/test-ko

The script renders held-out words in held-out font families (one in ten) into ``--out``, and reads them with all
readers. The pictures follow research/recipes/synth-language.toml (preset ``signs``), with another seed and without
empty pictures. Each ``--model`` gets a row. The protocol of the language ignores spaces and variants of a character.
``--data`` reads the crops of a folder instead of rendered ones.

Needs [train]; ``--rapidocr`` needs that package, and ``--tesseract`` the program and its data for the language.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dptr.config.load import load_recipe
from dptr.config.train import SynthRecipe
from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import one_minus_ned, protocol, word_accuracy
from dptr.inference.auto import open_reader
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.training.resolve import resolve_synth
from dptr.utils.errors import UserError
from dptr.utils.terminal import markdown_table

RECIPE = Path(__file__).parents[1] / "recipes" / "synth-language.toml"
SEED = 1_000_003  # different from the seeds of all packs
PAGE = "\f"  # Tesseract writes it after each picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True, help="a code of docs/languages.md")
    parser.add_argument(
        "--model", action="append", default=[], help="a recognizer, as in dptr read, or auto; repeatable"
    )
    parser.add_argument("--fonts", nargs="*", default=[], help="folders or files; default: those of the system")
    parser.add_argument("--photographs", default="", help="a folder of backgrounds")
    parser.add_argument("--crops", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--words", action="store_true", help="no phrases with spaces")
    parser.add_argument("--rapidocr", action="store_true", help="also read with PP-OCRv6_rec_small")
    parser.add_argument("--tesseract", default="", help="also read with Tesseract; its code of the language")
    parser.add_argument("--out", type=Path, help="the folder for the rendered crops; existing ones are reused")
    parser.add_argument("--data", type=Path, help="labeled crops to read instead of rendered ones")
    options = parser.parse_args()
    if not (options.data or options.out):
        parser.error("pass --out, where crops are drawn, or --data")
    try:
        folder = options.data or draw(options)
        readers: dict[str, Callable[[Sequence[Path]], list[str]]] = {name: ours(name) for name in options.model}
        if options.rapidocr:
            readers["PP-OCRv6_rec_small"] = rapidocr
        if options.tesseract:
            readers["Tesseract"] = lambda paths: tesseract(paths, options.tesseract)
        print(table(folder, options.language, readers))
    except UserError as error:
        sys.exit(f"recognizers: {error}")


def draw(options: argparse.Namespace) -> Path:
    """Render the crops into a folder, and print a description of the corpus; crops of an earlier call are reused."""
    out: Path = options.out
    if (out / "labels.tsv").is_file():
        return out
    settings = [f"charset={options.language}+space", *(["corpus.phrases=0"] if options.words else [])]
    recipe = resolve_synth(load_recipe(SynthRecipe, RECIPE, settings))
    looks = {"fonts": tuple(options.fonts), "backgrounds": options.photographs}
    render = recipe.render.model_copy(update=looks | {"effects": recipe.render.effects | {"empty": 0.0}})
    charset = resolve_charset(recipe.charset)
    corpus = Corpus(recipe.corpus, charset, recipe.max_length, options.seed, "heldout")
    fonts = FontIndex(find_fonts(options.fonts), "heldout")
    size = recipe.size.model_copy(update={"width": recipe.size.height})  # one character keeps its shape
    source = RenderedWords(corpus, Renderer(render, options.seed, fonts, size))
    (out / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(options.crops):
        crop, word, _ = source.sample(index)
        Image.fromarray(crop).save(out / "images" / f"{index:04d}.png")
        lines.append(f"images/{index:04d}.png\t{word}\n")
    (out / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    print(corpus.describe(), file=sys.stderr)
    return out


def ours(name: str) -> Callable[[Sequence[Path]], list[str]]:
    return lambda paths: [reading.text for reading in open_reader(name).read(paths)]


def rapidocr(paths: Sequence[Path]) -> list[str]:
    """Read with only the recognizer of PP-OCRv6, with the defaults of rapidocr."""
    from rapidocr import RapidOCR
    from rapidocr.ch_ppocr_rec import TextRecInput

    pictures = [np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB"))[..., ::-1]) for path in paths]
    engine = RapidOCR(params={"Global.use_det": False, "Global.use_cls": False})
    engine(pictures[0])  # opens the recognizer
    recognize: Any = engine.text_rec
    return list(recognize(TextRecInput(img=pictures)).txts)


def tesseract(paths: Sequence[Path], language: str) -> list[str]:
    """Read each crop with Tesseract as one line of text (page segmentation mode 7)."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "list.txt"
        listed.write_text("".join(f"{path.resolve()}\n" for path in paths), encoding="utf-8")
        command = ["tesseract", str(listed), "stdout", "-l", language, "--psm", "7"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    read = done.stdout.split(PAGE)[: len(paths)]
    if len(read) < len(paths):
        raise UserError(f"tesseract: {len(read)} pages for {len(paths)} pictures; look at what it says: {done.stderr}")
    return [" ".join(text.split()) for text in read]


def table(folder: Path, language: str, readers: dict[str, Callable[[Sequence[Path]], list[str]]]) -> str:
    """Markdown: for each reader word accuracy and 1-NED, and the accuracy on words with and without non-ASCII."""
    crops, fold = open_labeled(folder), protocol(language)
    paths = [folder / line.split("\t")[0] for line in (folder / "labels.tsv").read_text("utf-8").splitlines()]
    truths = [fold(crops.label(row)) for row in range(len(crops))]
    scored = [row for row, truth in enumerate(truths) if truth]
    rows: list[tuple[str, ...]] = [("reader", "crops", "words", "1-NED", "own letters", "ASCII alone")]
    for name, read in readers.items():
        texts = list(map(fold, read([paths[row] for row in scored])))
        pairs = list(zip(texts, (truths[row] for row in scored), strict=True))
        native = [pair for pair in pairs if not pair[1].isascii()]
        ascii_only = [pair for pair in pairs if pair[1].isascii()]
        rates = (f"{100 * word_accuracy(each):.1f} %" if each else "" for each in (pairs, native, ascii_only))
        rows.append((name, f"{len(pairs):,}", next(rates), f"{100 * one_minus_ned(pairs):.1f} %", *rates))
    return markdown_table(rows)


if __name__ == "__main__":
    main()
