"""Average the weights of two recognizers of the same network: a trained one, and the one that training started from.

    python scripts/mean_weights.py runs/ctc/model runs/published/model --share 0.25 --out runs/mean

writes the sum of three quarters of the first and one quarter of the second. Training on few crops forgets what it
learned from others; a share of the earlier weights restores it (Wortsman et al., Robust fine-tuning of zero-shot
models, CVPR 2022). Card, settings, and charset are those of the first recognizer. ``--validation`` calibrates the mean
on labeled crops; without it, the temperature is that of the first recognizer, whose confidence thresholds are dropped.
Choose the share on validation crops with dptr eval.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ship import calibrate_loaded
from torch import Tensor

from dptr.models.checkpoint import build_loaded, open_checkpoint, save_checkpoint
from dptr.utils.errors import UserError


def main() -> None:
    """Read the arguments, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the trained recognizer, a folder")
    parser.add_argument("other", type=Path, help="a recognizer of the same network and charset, a folder")
    parser.add_argument("--share", type=float, required=True, help="of the other one, 0 to 1")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--validation", type=Path, help="labeled crops to calibrate the confidences on")
    options = parser.parse_args()
    try:
        write_mean(options.model, options.other, options.share, options.out, options.validation)
    except UserError as error:
        print(f"mean_weights: {error}", file=sys.stderr)
        sys.exit(2)


def write_mean(model: Path, other: Path, share: float, out: Path, validation: Path | None = None) -> None:
    """Write the weighted mean as a recognizer folder.

    Args:
        model, other: folders of recognizers.
        share: weight of ``other``, 0 to 1; ``model`` has the rest.
        out: a new folder.
        validation: labeled crops that calibrate temperature and confidence; None = keep the temperature of ``model``.

    Raises:
        UserError: ``share`` is outside 0 to 1, the recognizers have different settings or characters, one of them
            cannot be read, or ``out`` exists or cannot be written.
    """
    if not 0 <= share <= 1:
        raise UserError(f"--share {share:g}: a share is from 0 to 1; pass 0.25 for a quarter of the second model")
    first, second = (open_checkpoint(folder) for folder in (model, other))
    same_network = first.config.model_copy(update={"charset": second.config.charset}) == second.config
    if not same_network or first.charset.characters != second.charset.characters:
        raise UserError(
            f"'{other}': its settings or characters are not those of '{model}'; pass one of the same network"
        )
    if out.exists():
        raise UserError(f"--out {out}: exists already; pass a new folder, or remove it")
    loaded, other_weights = build_loaded(first), build_loaded(second).model.state_dict()

    def mean(name: str, tensor: Tensor) -> Tensor:
        return tensor.lerp(other_weights[name], share) if tensor.is_floating_point() else tensor

    loaded.model.load_state_dict({name: mean(name, tensor) for name, tensor in loaded.model.state_dict().items()})
    card = {key: value for key, value in loaded.card.items() if key != "thresholds"}
    temperature = loaded.temperature
    if validation is not None:
        calibration = calibrate_loaded(loaded, [str(validation)], None)
        card, temperature = card | calibration.to_card(), calibration.temperature
    save_checkpoint(
        out, "recognizer", loaded.model, loaded.config, first.charset, first.dual, card, temperature=temperature
    )


if __name__ == "__main__":
    main()
