"""The whole way from words to a recognizer: survey, test crops, training, test, ONNX file, report.

What a stage wrote stays, and ``resume`` goes on after it; a stage of training goes on within itself
(``dptr.training.trainer``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dptr.config.model import GlyphDualConfig
from dptr.config.render import RenderConfig
from dptr.config.size import CropSize
from dptr.config.train import AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe
from dptr.data.labeled import open_labeled
from dptr.dual.glyph.model import load_glyph
from dptr.dual.orp.residuals import build_residual_bank
from dptr.evaluation.evaluate import evaluate
from dptr.export import export
from dptr.inference.reader import Reader
from dptr.inference.rescore import FILE as NGRAMS
from dptr.models.checkpoint import load_recognizer, open_checkpoint
from dptr.new_language.plan import Method, Plan, plan
from dptr.new_language.survey import Request, Survey, longest_word, survey
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.contact_sheet import draw_labeled_sheet
from dptr.synth.pack import write_pack
from dptr.synth.source import RenderedWords
from dptr.text.corpus import Corpus
from dptr.text.languages import LANGUAGES
from dptr.text.ngrams import can_count, fit_word_list
from dptr.training.align import align
from dptr.training.finetune import finetune
from dptr.training.finetune_defaults import encoder_kind, reads_several_sizes
from dptr.training.pretrain import pretrain
from dptr.training.sources import packed_batches
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_file, read_json, replace_file, write_json
from dptr.utils.outputs import check_folder
from dptr.utils.terminal import progress_bars, say, write_text
from dptr.weights import SHIPPED

MANIFEST, PLAN = "new-language.json", "plan.json"
TEST, RESIDUALS, PARITY, SHOWN = 1000, 4000, 128, 48  # crops
SHEET = 160, 32  # pixels of a crop on the sheet, at most
TEST_SIZE = CropSize(height=48, width=64, max_width=960)  # of their own shape, as real crops
TEST_SEED = 1_000_003  # far from the seeds that users choose
RATE, PPOCR_RATE = 8e-4, 5e-4  # learning rates: of the networks of dptr-en and of dptr-latin
CONTINUATION = 0.3  # of the rate, in a second round: the full one loses accuracy (docs/evidence/languages.md)
MOST_STEPS = 10_000_000  # the clock ends the training
UNTRAINED = (
    "no state of the training read more of the validation crops than the start, which was kept: pass more --minutes"
)
INTRODUCTION = (
    "The test is rendered and does not say what is read of photographs. The most confident errors come first: there a "
    "threshold on the confidence would not help. Characters that differ are marked."
)
DECODER = {"depth": 1, "permutations": 2, "dropout": 0.0, "negatives": 1024}  # that of dptr-en, for any charset
DECOMPOSITION = "unicode"  # jamo of Hangul, letters and accents: see dptr.training.shared_rows


@dataclass(frozen=True)
class Settings:
    """What the command was asked for; a run is resumed with the same.

    Attributes:
        request: the language.
        photographs: a folder of grounds without text, or None for drawn grounds.
        crops: labeled crops to learn from beside rendered ones.
        minutes: for everything.
        method: ``rendered``: a recognizer that reads already learns the language from rendered words. ``text``: DPTR's
            two stages, from a dual encoder that is aligned first.
        model: the recognizer that ``rendered`` starts from.
        seed: of everything that is drawn.
    """

    request: Request
    photographs: Path | None = None
    crops: tuple[Path, ...] = ()
    minutes: float = 60.0
    method: Method = "rendered"
    model: str = "dptr-en"
    seed: int = 0


def new_language(settings: Settings, out: Path, resume: bool = False) -> Path:
    """Make a recognizer of a language in the folder ``out``.

    ``out/finetune/model`` is the recognizer, ``out/model.onnx`` the same in one file. ``out/report.html`` shows what it
    misreads of the test, ``out/sheet.png`` the first crops of the test.

    Returns:
        ``out/model.onnx``.

    Raises:
        UserError: see ``survey``, ``plan_settings``, ``open_labeled``; ``out`` holds something else, or another run;
            what training raises.
    """
    begin = time.monotonic()
    times = plan_settings(settings)
    manifest = describe_settings(settings)
    begun = check_folder(out, "a new language", MANIFEST, tuple(manifest))
    if begun and not resume:
        raise UserError(f"{out}: holds a run already; pass --resume to continue it, or another --out")
    held = read_json(out / MANIFEST, "run") if begun else manifest
    if changed := [key for key, value in manifest.items() if held.get(key) != value]:
        raise UserError(f"{out}: begun with another {', '.join(changed)}; pass the same, or another --out")
    crops = [open_labeled(path) for path in settings.crops]  # what cannot be opened is told before anything is rendered
    found = survey(settings.request, (each.label(index) for each in crops for index in range(len(each))))
    for line in found.notes:
        say(line)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / MANIFEST, manifest)
    return Chain(settings, found, times, out, begin).run()


def plan_settings(settings: Settings) -> Plan:
    """How the minutes are spent.

    Raises:
        UserError: see ``plan``, ``reads_several_sizes``.
    """
    several = settings.method == "rendered" and reads_several_sizes(settings.model)
    return plan(settings.minutes, settings.method, several)


def describe_settings(settings: Settings) -> dict[str, Any]:
    """For the manifest: plain values."""
    described: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    return {**described.pop("request"), **described}


class Chain:
    """The stages of one run, in order; ``begin`` is the ``time.monotonic`` at which the command began."""

    def __init__(self, settings: Settings, found: Survey, times: Plan, out: Path, begin: float):
        self.settings, self.found, self.times, self.out, self.begin = settings, found, times, out, begin
        self.longest = longest_word(found.charset)
        self.charset = self.name_charset()

    def name_charset(self) -> str:
        """The charset as recipes name it: a language, or a file of its characters beside the run."""
        charset = self.found.charset
        if charset.name in LANGUAGES and LANGUAGES[charset.name].charset == "".join(charset.characters):
            return charset.name
        path = self.out / "characters.txt"
        with replace_file(path) as aside:
            aside.write_text("".join(charset.characters) + "\n", encoding="utf-8")
        return str(path)

    def run(self) -> Path:
        test = self.draw_test()
        self.times = self.fit_plan()
        say(self.times.describe())
        model = self.train_on_text() if self.settings.method == "text" else self.train_on_rendered()
        file = self.out / "model.onnx"
        self.say_stage("ONNX")
        parity, _ = export(model, file, [test], min(PARITY, TEST), half=True)
        say(f"{file}: {file.stat().st_size / 1e6:.1f} MB; {parity.describe()}")
        self.write_ngrams(model)
        say(self.read(file, model, test))
        return file

    def fit_plan(self) -> Plan:
        """The plan as the time before training leaves it; a run that goes on keeps its own."""
        path = self.out / PLAN
        if path.is_file():
            return Plan(read_json(path, "plan"), self.times.workers)
        if any(map(self.begun, self.times.seconds)):  # by an earlier version
            return self.times
        fitted = self.times.after(self.settings.minutes, time.monotonic() - self.begin)
        write_json(path, fitted.seconds)
        return fitted

    def say_stage(self, stage: str) -> None:
        say(f"== {stage}")

    def render_settings(self) -> dict[str, Any]:
        """Words and looks, as every stage that renders has them."""
        looks = {"fonts": self.found.train_fonts, "backgrounds": str(self.settings.photographs or "")}
        return {"corpus": self.found.corpus, "render": looks}

    def run_settings(self, stage: str, batch: int, every: int) -> dict[str, Any]:
        """How long a stage trains; it is saved and judged ``every`` so many steps."""
        return {
            "seed": self.settings.seed,
            "steps": MOST_STEPS,
            "seconds": self.times.seconds[stage],
            "batch_size": batch,
            "validate_every": every,
            "save_every": min(every, 100),
            "tensorboard": False,
        }

    def train_on_rendered(self) -> Path:
        """Go on with a recognizer that reads; characters that it lacks begin anew."""
        self.say_stage(f"training on rendered words, from {self.settings.model}")
        return finetune(
            self.finetune_recipe({"model": self.settings.model}), self.out / "finetune", self.begun("finetune")
        )

    def train_on_text(self) -> Path:
        """Align a dual encoder, teach a decoder on its text tokens with ORP, fine-tune both."""
        self.say_stage("alignment: a dual encoder learns that a rendered word and its spelling belong together")
        recipe = AlignRecipe.model_validate(
            {
                "run": {**self.run_settings("align", 64, 500), "workers": self.times.workers},
                "optim": {"lr": 4e-3, "grad_clip": 5.0},
                "glyph": {"charset": self.charset, "max_length": self.longest},
                "init": {"glyph": "glyph-en"},
                "decomposition": DECOMPOSITION,
                **self.render_settings(),
            }
        )
        dual = align(recipe, self.out / "align", self.begun("align"))
        bank = dual / "residuals.safetensors"
        if not bank.is_file():
            self.say_stage("ORP: how the slots of rendered crops lie off the text tokens of their words")
            pack = self.out / "pack"
            rendered = SynthRecipe.model_validate(
                {"charset": self.charset, "max_length": self.longest, **self.render_settings()}
            )
            with progress_bars() as bars:
                write_pack(
                    rendered, RESIDUALS, pack, 1, pack.exists(), lambda done: bars("crops", done, RESIDUALS), (0, 1)
                )
            glyph = load_glyph(GlyphDualConfig(model=str(dual)))
            build_residual_bank(glyph, packed_batches(pack, glyph, RESIDUALS), bank)
        self.say_stage("stage 1: a decoder learns to spell from text tokens")
        text = PretrainRecipe.model_validate(
            {
                "run": self.run_settings("pretrain", 256, 250),
                "optim": {"lr": 2e-3, "weight_decay": 0.0, "grad_clip": 5.0},
                "model": {"charset": self.charset, "max_length": self.longest, "decoder": DECODER},
                "dual": {"kind": "glyph", "model": str(dual)},
                "orp": {"bank": "residuals", "positions": "aligned", "strength": 1.0},
                "corpus": self.found.corpus,
                "decomposition": DECOMPOSITION,
            }
        )
        decoder = pretrain(text, self.out / "pretrain", self.begun("pretrain"))
        self.say_stage("stage 2: image encoder, FMU, and that decoder")
        start = {"glyph": str(dual), "decoder": str(decoder)}
        return finetune(self.finetune_recipe(start), self.out / "finetune", self.begun("finetune"))

    def finetune_recipe(self, start: dict[str, str]) -> FinetuneRecipe:
        crops = [str(path) for path in self.settings.crops]
        return FinetuneRecipe.model_validate(
            {
                "run": {**self.run_settings("finetune", 64, 250), "workers": self.times.workers},
                "optim": {"lr": self.choose_rate(start.get("model", "")), "grad_clip": 5.0, "ema_decay": 0.998},
                "model": {"charset": self.charset, "max_length": self.longest},
                "init": start,
                "decomposition": DECOMPOSITION,
                "data": {"train": crops, "rendered": 0.5 if crops else 1.0, "augment": 0.4},
                **self.render_settings(),
            }
        )

    def choose_rate(self, model: str) -> float:
        """The learning rate of fine-tuning from a recognizer, or from a decoder if ``model`` is empty.

        A second round is one from a recognizer of the user's that has all characters.
        """
        rate = PPOCR_RATE if encoder_kind(model) == "ppocr" else RATE
        if not model or model in SHIPPED:
            return rate
        missing = {*self.found.charset.characters} - {*open_checkpoint(model).charset.characters}
        return rate if missing else CONTINUATION * rate

    def begun(self, stage: str) -> bool:
        """Whether a stage of training has left something to go on with."""
        return (self.out / stage).exists()

    def draw_test(self) -> Path:
        """Words that no stage trains on, in fonts held out where there are several families."""
        folder = self.out / "test"
        labels = folder / "labels.tsv"
        if labels.is_file():
            return folder
        self.say_stage(f"{TEST:,} rendered crops for the test")
        charset = self.found.charset
        looks = RenderConfig(fonts=self.found.test_fonts, backgrounds=str(self.settings.photographs or ""))
        words = Corpus(self.found.corpus, charset, self.longest, TEST_SEED, "heldout")
        fonts = FontIndex(find_fonts(self.found.test_fonts))
        source = RenderedWords(words, Renderer(looks, TEST_SEED, fonts, TEST_SIZE))
        (folder / "images").mkdir(parents=True, exist_ok=True)
        samples = []
        with progress_bars() as bars:
            for index in range(TEST):
                crop, word, _ = source.sample(index)
                Image.fromarray(crop).save(folder / "images" / f"{index:04d}.png")
                samples.append((crop, word))
                bars("crops", index + 1, TEST)
        with atomic_file(self.out / "sheet.png") as aside:
            draw_labeled_sheet([(_shrink(crop), word) for crop, word in samples[:SHOWN]], fonts).save(aside, "PNG")
        with replace_file(labels) as aside:  # last: it says that the rest is there
            lines = (f"images/{index:04d}.png\t{word}\n" for index, (_, word) in enumerate(samples))
            aside.write_text("".join(lines), encoding="utf-8")
        return folder

    def write_ngrams(self, model: Path) -> None:
        """Write the n-grams of the words beside the file, which readers of CTC compare doubtful readings with."""
        loaded = load_recognizer(model)
        if loaded.config.decoder.kind != "ctc" or not can_count(self.found.charset):
            return
        words = [*Corpus(self.found.corpus, self.found.charset, self.longest, self.settings.seed).list_words()]
        if words:
            fit_word_list(words).save(self.out / NGRAMS)

    def read(self, file: Path, model: Path, test: Path) -> str:
        """Read the test with the exported file; write ``report.html``. Returns the result in words."""
        self.say_stage("test")
        protocol = self.settings.request.code or "native"
        with progress_bars() as bars:
            report = evaluate(Reader(file), [str(test)], [protocol], bars)
        for line in report.to_terminal().splitlines():
            say(line)
        lines = (test / "labels.tsv").read_text(encoding="utf-8").splitlines()
        result = describe_reading([line.split("\t")[1] for line in lines], [error.label for error in report.errors])
        if read_json(model / "card.json", "card")["results"][0]["step"] == 0:
            result += f"; {UNTRAINED}"
        write_text(self.out / "report.html", report.to_html(introduction=f"This recognizer {result}. {INTRODUCTION}"))
        return result


def describe_reading(labels: Sequence[str], misread: Sequence[str]) -> str:
    """The line at the end. Numbers and codes, which ``dptr-en`` reads before, are counted apart."""
    own, misread_own = (sum(not text.isascii() for text in texts) for texts in (labels, misread))
    others = len(labels) - own
    line = f"reads {1 - len(misread) / len(labels):.1%} of {len(labels):,} rendered crops of {len({*labels}):,} "
    line += "different words, which training held out"
    if own and others:
        line += f": {1 - misread_own / own:.1%} of {own:,} with characters beyond ASCII, "
        line += f"{1 - (len(misread) - misread_own) / others:.1%} of the others"
    return line


def _shrink(crop: np.ndarray) -> np.ndarray:
    image = Image.fromarray(crop)
    image.thumbnail(SHEET, Image.Resampling.BICUBIC)
    return np.asarray(image)
