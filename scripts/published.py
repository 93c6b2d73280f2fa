"""Convert rapidocr's recognizer, PP-OCRv6_rec_small, to a checkpoint with only the characters of a language.

    python scripts/published.py zh --validation CROPS --out runs/chinese

Nothing is trained: encoder and head are the published ones, and characters that the head lacks are always improbable.
Confidences are calibrated on labeled crops. Needs [train], [export], and ``rapidocr``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ship import calibrate_loaded

from dptr.config.load import load_recipe
from dptr.config.train import FinetuneRecipe
from dptr.models.checkpoint import load_recognizer, save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import SPACED
from dptr.training.initialize import initialize
from dptr.training.resolve import resolve_finetune
from dptr.utils.errors import UserError

SETTINGS = (
    "init.encoder=rapidocr", 'model.encoder={kind="ppocr"}', 'model.decoder={kind="ctc", path="tokens", dim=120}',
    "model.fmu.queries=0", "model.max_length=64", "data.rendered=1",
)  # fmt: skip
USED = ("image encoder and head of PP-OCRv6_rec_small, whose makers trained it on photographs", "nothing else")
CHANGES = (
    "None of the weights was trained further. The head has the characters of this recognizer alone, rows of those that "
    "PP-OCRv6 lacks were added, and the file stores rounded numbers."
)


def main() -> None:
    """Read the arguments, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("language", help="a code of docs/languages.md, or a file of characters")
    parser.add_argument("--validation", required=True, help="labeled crops to calibrate on: a folder")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        write_published(options.language + SPACED, options.validation, options.out)
    except UserError as error:
        sys.exit(f"published: {error}")


def write_published(charset: str, validation: str, out: Path) -> None:
    """Write the recognizer as a folder.

    Raises:
        UserError: no such charset or crops; see ``resolve_finetune``.
    """
    recipe = load_recipe(FinetuneRecipe, None, [f"model.charset={charset}", *SETTINGS])
    resolved = resolve_finetune(recipe)
    model = build_recognizer(resolved.recipe.model, len(resolved.charset))
    for line in initialize(model, resolved):
        print(line, file=sys.stderr)
    settings_used = {"init": recipe.init.model_dump(mode="json"), "model": recipe.model.model_dump(mode="json")}
    card = {"name": out.name, "kind": "recognizer", "trained_on": [*USED], "changes": CHANGES, "recipe": settings_used}
    dual: dict[str, Any] = {}
    settings = resolved.recipe.model, resolved.charset, dual
    save_checkpoint(out, "recognizer", model, *settings, card | {"results": []})
    calibration = calibrate_loaded(load_recognizer(out), [validation], None)
    card |= calibration.to_card()
    save_checkpoint(out, "recognizer", model, *settings, card | {"results": []}, temperature=calibration.temperature)


if __name__ == "__main__":
    main()
