"""``dptr import``: convert published weights of PARSeq and DPTR to a model of this project."""

from __future__ import annotations

from pathlib import Path

import click

from dptr.cli.command import command
from dptr.cli.options import out_option
from dptr.utils.errors import UserError
from dptr.utils.terminal import say


@command("import", "train")
@click.argument("weights", metavar="FILE", type=click.Path(path_type=Path))
@out_option("The model folder to write.")
@click.option(
    "--charset",
    metavar="NAME|FILE",
    default="",
    type=click.Path(),
    help="Characters in the order of the classes. Default: as in FILE, or 10, 36, 62, or 94 by the number of classes.",
)
@click.option(
    "--heads",
    metavar="N",
    type=click.IntRange(min=1),
    default=None,
    help="Attention heads of the decoder. Default: as in FILE, or heads of the published width.",
)
def import_weights(weights: Path, out: Path, charset: str, heads: int | None) -> None:  # fmt: skip
    """Convert published weights of PARSeq or DPTR to a model.

    FILE is a state dict or checkpoint of baudm/parseq, of OpenOCR's PARSeq with a ViT, or of OpenOCR's DPTR, in
    safetensors or in a format that torch.load reads with weights_only. Its keys identify the architecture; an unknown
    key is an error. Prints the folder, which dptr read, finetune, and export accept.
    """
    from dptr.models.checkpoint import save_checkpoint
    from dptr.models.loading import check_model_folder
    from dptr.models.published import import_published, read_published
    from dptr.models.published_names import FAMILIES
    from dptr.utils.files import digest

    if weights.is_dir():
        raise UserError(f"{weights}: a folder; pass a file of weights (labeled crops are imported by dptr data build)")
    check_model_folder(out)
    imported = import_published(read_published(weights), charset, heads or 0)
    config, title = imported.config, FAMILIES[imported.family].title
    card = {
        "name": out.name,
        "kind": "recognizer" if imported.kind == "recognizer" else "stage 1 decoder",
        "trained_on": [f"not known: weights of {title}, imported"],
        "imported": {"family": title, "file": weights.name, "sha256": digest(weights)},
        "results": [],
    }
    dual = {"kind": "clip", "name": "of the imported weights"} if imported.frozen else {}
    save_checkpoint(out, imported.kind, imported.module, config, imported.charset, dual, card)
    parameters = sum(parameter.numel() for parameter in imported.module.parameters())
    decoder = config.decoder
    say(
        f"{title}: {parameters / 1e6:.1f} M parameters, decoder {decoder.dim} wide, depth {decoder.depth}, "
        f"{decoder.heads} heads, {len(imported.charset)} characters ({imported.charset.name}), words of up to "
        f"{config.max_length}"
    )
    if imported.frozen:
        say(f"left out: {imported.frozen} tensors of the frozen CLIP, which stage 1 saves along", level=-1)
    print(out)
