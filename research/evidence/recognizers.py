"""Recognizers of other scripts beside PP-OCRv6 and Tesseract, on rendered words that no training saw.

    python research/evidence/recognizers.py --language ko --model runs/korean/model --fonts FONTS \\
        --photographs $DPTR_DATA/natural --rapidocr --tesseract kor --out runs/test-ko

draws words that the corpus holds out, in families of fonts that it holds out (one in ten), into ``--out``, and lets all
readers read them in this run. The looks are those of research/recipes/synth-language.toml, preset ``signs``, with
another seed and without pictures of nothing. Several ``--model`` make a row each. Spaces do not count, nor do forms of
one character (protocol of the language). Needs [train]; ``--rapidocr`` that package, ``--tesseract`` the program and
its data of this language. ``--data`` reads crops of a folder in place of drawn ones.
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
SEED = 1_000_003  # far from the seeds of packs
PAGE = "\f"  # what Tesseract writes behind each picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True, help="a code of docs/languages.md")
    parser.add_argument("--model", action="append", default=[], help="as dptr read takes it, or auto; repeatable")
    parser.add_argument("--fonts", nargs="*", default=[], help="folders or files; default: those of the system")
    parser.add_argument("--photographs", default="", help="a folder of backgrounds")
    parser.add_argument("--crops", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--words", action="store_true", help="no phrases with spaces")
    parser.add_argument("--rapidocr", action="store_true", help="read with PP-OCRv6_rec_small too")
    parser.add_argument("--tesseract", default="", help="its code of the language; read with it too")
    parser.add_argument("--out", type=Path, help="where the crops are drawn, unless they are there")
    parser.add_argument("--data", type=Path, help="labeled crops in place of drawn ones")
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
    """Write the crops, and say how many families drew them; those of an earlier call stay."""
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
    """PP-OCRv6's recognizer alone, as rapidocr opens it by default."""
    from rapidocr import RapidOCR
    from rapidocr.ch_ppocr_rec import TextRecInput

    pictures = [np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB"))[..., ::-1]) for path in paths]
    engine = RapidOCR(params={"Global.use_det": False, "Global.use_cls": False})
    engine(pictures[0])  # opens the recognizer
    recognize: Any = engine.text_rec
    return list(recognize(TextRecInput(img=pictures)).txts)


def tesseract(paths: Sequence[Path], language: str) -> list[str]:
    """Each crop as one line of text (page segmentation mode 7)."""
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
    """A row a reader: words, 1-NED; words that hold letters of the script, and those in ASCII alone."""
    crops, fold = open_labeled(folder), protocol(language)
    paths = [folder / line.split("\t")[0] for line in (folder / "labels.tsv").read_text("utf-8").splitlines()]
    truths = [fold(crops.label(row)) for row in range(len(crops))]
    kept = [row for row, truth in enumerate(truths) if truth]
    rows: list[tuple[str, ...]] = [("reader", "crops", "words", "1-NED", "own letters", "ASCII alone")]
    for name, read in readers.items():
        texts = list(map(fold, read([paths[row] for row in kept])))
        pairs = list(zip(texts, (truths[row] for row in kept), strict=True))
        own = [pair for pair in pairs if not pair[1].isascii()]
        others = [pair for pair in pairs if pair[1].isascii()]
        shares = (f"{100 * word_accuracy(each):.1f} %" if each else "" for each in (pairs, own, others))
        rows.append((name, f"{len(pairs):,}", next(shares), f"{100 * one_minus_ned(pairs):.1f} %", *shares))
    return markdown_table(rows)


if __name__ == "__main__":
    main()
