"""The command line. Heavy imports stay inside the commands, so that ``dptr --help`` is quick.

Exit codes: 0; 2 for whatever the user can put right (one line on standard error); 130 after Ctrl-C.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dptr.cli import adapt as cli_adapt
from dptr.cli import bench as cli_bench
from dptr.cli import data as cli_data
from dptr.cli import export as cli_export
from dptr.cli import synth as cli_synth
from dptr.cli.options import Out, Overrides, Recipe, Resume
from dptr.evaluation.metrics import PROTOCOLS
from dptr.utils.errors import UserError
from dptr.utils.files import read_json
from dptr.utils.terminal import progress_bars, say, to_json, write_text
from dptr.version import __version__
from dptr.weights import DEFAULT_MODEL

app = typer.Typer(
    name="dptr", help="Scene text recognition with decoders pre-trained on text.", add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip


Model = Annotated[
    str, typer.Option(metavar="NAME|DIR|ONNX", help="A shipped model (see dptr models), a folder, or an exported file.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, ...")]
Turn = Annotated[
    bool,
    typer.Option("--turn/--no-turn", help="Read tall pictures turned by 90 degrees too; the surest reading counts."),
]
Tta = Annotated[
    int,
    typer.Option(help="Read each picture in so many ways, 1 to 6: padded, inverted, ...; the surest reading counts."),
]


def main() -> None:
    """Entry point of the ``dptr`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command; errors become one line on standard error. Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # paths that are no UTF-8 leave as they came
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        code = app(args=list(arguments) or ["--help"], prog_name="dptr", standalone_mode=False) or 0
        sys.stdout.flush()
    except UserError as error:
        return _complain(error)
    except typer.TyperException as error:  # wrong usage
        command = getattr(getattr(error, "ctx", None), "command_path", "dptr")
        return _complain(f"{' '.join(error.format_message().split()).rstrip('.')}; see '{command} --help'")
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has seen enough
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _complain(f"{error.filename or 'output'}: {error.strerror}; free space and try again")
    if code == 130:  # typer's code for Ctrl-C
        resumable = arguments and arguments[0] in ("align", "pretrain", "finetune", "adapt", "synth")
        say(f"dptr: interrupted{'; go on with --resume' if resumable else ''}")
    return code


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"dptr {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def read(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|DIR...", help="Word crops, or folders of them.")],
    model: Model = DEFAULT_MODEL,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a line, with each character's confidence.")
    ] = False,
    device: Device = "cpu",
    turn: Turn = True,
    tta: Tta = 1,
) -> None:
    """Read word crops: a line an image, PATH, TEXT and CONFIDENCE (0 to 1) separated by tabs.

    A folder stands for the pictures directly in it (known suffixes; not those in its sub-folders), in natural order.
    Lines come as batches finish. Exit code 2 when an input could not be read; the others still are.
    """
    from dptr.inference.reader import Reader

    reader = Reader(model, device, turn=turn, tta=tta)
    paths: list[str] = []
    failed = False
    for source in images:
        try:
            paths += pictures_in(source) if os.path.isdir(source) else [source]
        except UserError as error:
            failed = bool(_complain(error))
    for path, outcome in zip(paths, reader.stream(paths), strict=True):
        if isinstance(outcome, UserError):
            failed = bool(_complain(outcome))
        elif as_json:
            characters = [(character, _rounded(probability)) for character, probability in outcome.characters]
            line = {"path": path, "text": outcome.text, "confidence": _rounded(outcome.confidence)}
            print(
                to_json(line | {"runaway": outcome.runaway, "turned": outcome.turned, "characters": characters}),
                flush=True,
            )
        else:
            print(f"{path}\t{outcome.text}\t{outcome.confidence:.4f}", flush=True)
            if outcome.runaway:
                say(f"dptr: {path}: the reading repeats itself to the longest word of the model; take it as none")
    if failed:
        raise typer.Exit(2)


@app.command("eval")
def evaluate(
    data: Annotated[
        list[Path] | None, typer.Option(metavar="DIR...", help="Labelled crops: labels.tsv or LMDB.")
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="DIR", help="More of them.")] = None,
    model: Model = DEFAULT_MODEL,
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(PROTOCOLS), help="How words are compared; the default is 36; repeatable."),
    ] = None,
    json_out: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - = standard output.")
    ] = None,
    html_out: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the errors as pictures.")
    ] = None,
    device: Device = "cpu",
    turn: Turn = True,
    tta: Tta = 1,
) -> None:
    """Measure a model on labelled crops: word accuracy, 1-NED, CER, calibration, crops left out, speed.

    Several data sets: --data A B, or --data A --data B.
    """
    from dptr.evaluation.evaluate import evaluate
    from dptr.inference.reader import Reader

    paths = [*(data or []), *(more or [])]
    if not paths:
        raise UserError("no data set given; pass --data DIR, a folder with labels.tsv or an LMDB")
    outputs = [Path(file) for file in (json_out, html_out) if file and file != "-"]
    for file in outputs:
        if file.is_dir():
            raise UserError(f"{file}: a folder; pass the name of a file to write")
    with progress_bars() as bars:
        report = evaluate(Reader(model, device, turn=turn, tta=tta), paths, protocol or ["36"], bars)
    for line in report.drops.lines():
        print(line, file=sys.stderr)
    print(to_json(report.to_json(), indent=1) if json_out == "-" else report.to_terminal(), flush=True)
    if json_out and json_out != "-":
        write_text(Path(json_out), to_json(report.to_json(), indent=1) + "\n")
    if html_out:
        write_text(html_out, report.to_html())
    for result in report.results:
        if result.runaway:
            say(f"dptr: {result.data}: {result.runaway} readings repeat themselves to the longest word")
        if not result.n:
            raise UserError(f"{result.data}: no crop left under protocol {result.protocol}; check its labels")


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print all that is known of this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the models' cards as JSON.")] = False,
) -> None:
    """List the models that ship: size, what they were trained on, measured accuracy; or one of them at length."""
    from dptr.weights import SHIPPED

    if name is not None and name not in SHIPPED:
        raise UserError(f"no model '{name}' ships; there are {', '.join(SHIPPED)}")
    page = SHIPPED[name] / "README.md" if name else None
    if page and page.exists() and not as_json:
        print(page.read_text(encoding="utf-8"), end="")
        return
    cards = [
        {"name": shipped, "megabytes": _megabytes(folder), **read_json(folder / "card.json", "model card")}
        for shipped, folder in SHIPPED.items()
        if name in (None, shipped)
    ]
    if as_json:
        print(to_json({"models": cards}, indent=1))
        return
    for card in cards:
        parameters = f", {card['parameters'] / 1e6:.1f} M parameters" if card.get("parameters") else ""
        print(f"{card['name']}  ({card['kind']}, {card['megabytes']:.1f} MB{parameters}, version {card['version']})")
        print(f"  trained on: {'; '.join(card['trained_on'])}")
        for result in card["results"]:
            named = (("word accuracy", "word_accuracy"), ("1-NED", "one_minus_ned"), ("slots right", "slot_accuracy"))
            rates = ", ".join(f"{rate} {100 * result[key]:.2f} %" for rate, key in named if key in result)
            protocol = f", protocol {result['protocol']}" if "protocol" in result else ""
            print(f"  {result['data']}{protocol}: {rates} of {result['n']} crops")


@app.command()
def align(out: Out, config: Recipe = None, overrides: Overrides = None, resume: Resume = False) -> None:
    """Train the glyph dual encoder on rendered words; prints the folder of the best."""
    from dptr.config.load import load_recipe
    from dptr.config.train import AlignRecipe
    from dptr.training.align import align

    print(align(load_recipe(AlignRecipe, config, overrides), out, resume))


@app.command()
def bank(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The bank to write.")],
    images: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder of photographs; repeatable.")
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Instead: rendered crops (dptr synth); what their tokens lie off their text."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many crops of the pack.")] = 4000,
    dual: Annotated[str, typer.Option(metavar="KIND", help="Which dual encoder: glyph, clip, siglip ...")] = "glyph",
    dual_model: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="Its weights; the default is what ships with it.")
    ] = "",
) -> None:
    """Embed photographs, or rendered words, into a bank for Offline Randomized Perturbation."""
    from dptr.config.model import DualConfig
    from dptr.dual.base import load_dual
    from dptr.dual.orp.bank import build_bank
    from dptr.dual.orp.residuals import build_residual_bank

    if bool(images) == bool(pack):
        raise UserError("pass either --images, a folder of photographs, or --pack, a folder of rendered crops")
    if dual != "glyph" and not dual_model:
        raise UserError(f"--dual {dual}: no weights ship with it; pass --dual-model, a folder or a hub id")
    encoder = load_dual(DualConfig.of(kind=dual, **({"model": dual_model} if dual_model else {})))
    if pack:
        from dptr.dual.glyph.model import GlyphDual
        from dptr.training.sources import packed_batches

        if not isinstance(encoder, GlyphDual):
            raise UserError(f"--pack with --dual {dual}: its tokens are no letters' slots; use glyph, or --images")
        made = build_residual_bank(encoder, packed_batches(pack, encoder, count), out)
    else:
        paths = [path for folder in images or [] for path in pictures_in(folder)]
        with progress_bars() as bars:
            made = build_bank(encoder, paths, out, progress=lambda done: bars("images", done, len(paths)))
    for name, reason in made.provenance["dropped"]:
        print(f"dropped {name}: {reason}", file=sys.stderr)
    kept, tokens, width = made.tokens.shape
    print(f"{out}\t{kept} images\t{tokens} tokens of {width}")


@app.command()
def pretrain(out: Out, config: Recipe = None, overrides: Overrides = None, resume: Resume = False) -> None:
    """Stage 1: teach a decoder to spell from a dual encoder's text tokens.

    Its only image features are those of the ORP bank.

    Prints the folder of the best decoder.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import PretrainRecipe
    from dptr.training.pretrain import pretrain

    print(pretrain(load_recipe(PretrainRecipe, config, overrides), out, resume))


@app.command()
def finetune(
    out: Out,
    config: Recipe = None,
    overrides: Overrides = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="Labelled crops (data.train); repeatable.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|DIR", help="A recogniser to go on with (init.model).")
    ] = None,
    resume: Resume = False,
) -> None:
    """Stage 2: train encoder, FMU and decoder on labelled crops; prints the folder of the best recogniser.

    Without --config goes on with --model, in a way that suits 100 to 2,000 crops; with the one that ships where no
    setting names a part to begin with (init.decoder, init.glyph) or another network (model.encoder and so on).
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import FinetuneRecipe
    from dptr.training.finetune import finetune
    from dptr.training.finetune_defaults import goes_on, own_crops_recipe

    overrides = list(overrides or [])
    if data:
        overrides.append(f"data.train={json.dumps(data, ensure_ascii=False)}")
    if model:
        overrides.append(f"init.model={json.dumps(model, ensure_ascii=False)}")
    recipe = load_recipe(FinetuneRecipe, config, overrides)
    if config is None and goes_on(recipe):
        recipe, told = own_crops_recipe(overrides if recipe.init.model else [*overrides, f"init.model={DEFAULT_MODEL}"])
        for line in told:
            say(line)
    print(finetune(recipe, out, resume))


app.command()(cli_adapt.adapt)
app.command()(cli_bench.bench)
app.command()(cli_export.export)
app.command()(cli_synth.synth)
app.command()(cli_synth.fonts)
app.add_typer(cli_data.app)


def pictures_in(folder: str | Path) -> list[str]:
    """The pictures directly in a folder, by suffix, in natural order (2 before 10).

    Raises:
        UserError: it is no folder, cannot be read or holds no picture.
    """
    from dptr.utils.images import SUFFIXES

    try:
        names = [name for name in os.listdir(folder) if os.path.splitext(name)[1].lower() in SUFFIXES]
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; pass a folder of pictures") from error
    if not names:
        raise UserError(
            f"{folder}: no picture directly in it; pass a folder that holds some ({' '.join(sorted(SUFFIXES))})"
        )
    return [os.path.join(folder, name) for name in sorted(names, key=_natural)]


def _natural(name: str) -> tuple[list[str | int], str]:
    parts: list[str | int] = [part.casefold() for part in re.split(r"(\d+)", name)]
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6


def _rounded(probability: float) -> float:
    """Six significant digits: all that float32 holds."""
    return float(f"{probability:.6g}")


def _complain(problem: UserError | str) -> int:
    say(f"dptr: error: {' '.join(str(problem).splitlines())}")
    return 2


if __name__ == "__main__":
    main()
