"""Make a trained model a shipped one: float16 weights, an ONNX file, and a card with the accuracy of that file.

    python scripts/ship.py runs/glyph-en/model glyph-en
    python scripts/ship.py runs/dptr-en/model dptr-en --data iiit5k/test --data ic15/test
    python scripts/ship.py runs/small/model models/dptr-en-small --data iiit5k/test --data ic15/test
    python scripts/ship.py dptr-en dptr-en --validation crops/val   # the same weights: new confidences, a new ONNX file
    python scripts/ship.py models/dptr-en-small models/dptr-en-small --validation words/val --validation codes/val
    python scripts/ship.py dptr-latin dptr-latin --int8 crops/train --int8 codes/train --validation crops/val

Files for onnxruntime go to dptr/weights, and files for torch to weights/dptr_weights (the distribution dptr-weights).
If the second argument is a folder and not a shipped name, no ONNX file is written: users read with torch, or run dptr
export.

Each --validation is one kind of crops; all kinds have equal weight (dptr.evaluation.calibration). If source and name
are equal, weights and temperature do not change; only the word confidence and the thresholds are fitted again.
--int8 lets the ONNX file compute in 8 bits (dptr export --int8 static), with ranges from these crops; the confidences
are then fitted to the readings of that file.
Paths of data sets (--data) are relative to DPTR_DATA. The sets are used only for the report, after all choices.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch

from dptr import __version__
from dptr.config.model import GlyphDualConfig
from dptr.data.crops import load_crops
from dptr.data.labeled import open_labeled
from dptr.dual.glyph.model import load_glyph, save_glyph
from dptr.evaluation.calibration import PRECISIONS, Calibration, calibrate, choose_words, fit_power
from dptr.evaluation.evaluate import evaluate
from dptr.evaluation.metrics import PROTOCOLS, confidence_protocol, confidence_threshold
from dptr.export import export
from dptr.inference.confidence import WordConfidence
from dptr.inference.onnx_backend import METADATA, OnnxModel, seal
from dptr.inference.reader import Reader
from dptr.inference.torch_backend import crop_probabilities_and_paths
from dptr.models.checkpoint import Loaded, card_of, load_recognizer, open_checkpoint, save_checkpoint
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_file, read_json, write_json
from dptr.weights import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
RANGE_CROPS = 40  # of each data set, for the ranges of activations in 8 bits
MEASURED = "confidence", "thresholds"  # entries of a card that ``Calibration.to_card`` writes
READING, TRAINING = ROOT / "dptr" / "weights", ROOT / "weights" / "dptr_weights"


def main() -> None:
    """Read the arguments, convert, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the 'model' folder of a run")
    parser.add_argument("name", help=f"{', '.join(SHIPPED)}, or a folder")
    parser.add_argument("--data", action="append", default=[], help="a data set below DPTR_DATA, for the report")
    parser.add_argument("--validation", action="append", default=[], help="a folder of crops for calibration")
    parser.add_argument("--int8", action="append", default=[], type=Path, help="crops for the ranges of 8 bits")
    parser.add_argument("--note", action="append", default=[], help="a line for 'trained_on'")
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("ship: DPTR_DATA is not set; set it to the folder that holds the data sets")
    is_shipped = options.name in SHIPPED
    target = READING / options.name if is_shipped else Path(options.name)
    if str(options.source) == options.name:
        renew(options.name, target, options.validation, options.int8)
        return
    card = card_of(options.source)
    card |= {
        "name": target.name,
        "version": __version__,
        "created": datetime.date.today().isoformat(),
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip(),
        "trained_on": [*card["trained_on"], *filter(None, options.note)],
    }
    card["recipe"] = without_paths(card["recipe"])
    if read_json(options.source / "config.json", "model")["kind"] == "glyph":
        dual = load_glyph(GlyphDualConfig(model=str(options.source)))
        card["parameters"] = sum(parameter.numel() for parameter in dual.model.parameters())
        save_glyph(
            TRAINING / options.name if is_shipped else target, dual.model, dual.charset, dual.config, card, half=True
        )
        return
    checkpoint, loaded = open_checkpoint(options.source), load_recognizer(options.source)
    card["parameters"] = sum(parameter.numel() for parameter in loaded.model.parameters())
    temperature = loaded.temperature
    if options.validation:
        calibration = calibrate_loaded(loaded, options.validation, None)
        temperature = calibration.temperature
        card = recalibrate(card, calibration)
    save_checkpoint(
        target, "recognizer", loaded.model, loaded.config, checkpoint.charset, checkpoint.dual, card, half=True,
        temperature=temperature,
    )  # fmt: skip
    root, exported = Path(os.environ["DPTR_DATA"]), target / "model.onnx"
    if is_shipped:
        os.replace(target / "model.safetensors", TRAINING / options.name / "model.safetensors")
        export(options.name, exported)
    report = evaluate(Reader(options.name), [root / data for data in options.data], ["36", "94"])
    for row in report.results:
        data = "/".join(Path(row.data).parts[-2:])
        if row.word_accuracy is None or row.one_minus_ned is None:
            raise UserError(f"{row.data}: no crop left under protocol {row.protocol}; check its labels")
        card["results"].append(
            {
                "data": data,
                "protocol": row.protocol,
                "n": row.n,
                "word_accuracy": round(row.word_accuracy, 4),
                "one_minus_ned": round(row.one_minus_ned, 4),
                "command": f"dptr eval --data $DPTR_DATA/{data} --model {options.name} --protocol {row.protocol}",
            }
        )
    write_json(target / "card.json", card)
    if is_shipped:
        parity, _ = export(options.name, exported)  # again, because the file contains the card
        print(parity.describe())


def renew(name: str, target: Path, folders: Sequence[str], int8: Sequence[Path] = ()) -> None:
    """Calibrate the confidences of the model in ``target`` on ``folders`` again, and export a shipped model.

    Args:
        int8: crops for the ranges of activations in 8 bits; none = the file computes in float32.
    """
    if int8:
        if name not in SHIPPED or not folders:
            raise UserError("--int8: goes with a shipped model and --validation")
        export_in_8_bits(name, target, folders, int8)
        return
    file, path = target / "model.onnx", target / "card.json"
    if folders:
        loaded = load_recognizer(name)
        calibration = calibrate_loaded(loaded, folders, loaded.temperature)
        write_json(path, recalibrate(read_json(path, "model card"), calibration))
    if name in SHIPPED:
        print(export(name, file)[0].describe())
        if folders:
            calibrate_readings(file, path, folders)


def export_in_8_bits(name: str, target: Path, folders: Sequence[str], crops: Sequence[Path]) -> None:
    """Export a shipped model to compute in 8 bits, and calibrate its confidences on the readings of the file."""
    file, path = target / "model.onnx", target / "card.json"
    _, parity = export(name, file, crops, RANGE_CROPS * len(crops), "static")
    assert parity is not None
    print(parity.describe())
    write_json(path, recalibrate(read_json(path, "model card"), calibrate_file(file, folders)))
    replace_card(file, read_json(path, "model card"))
    calibrate_readings(file, path, folders)


def calibrate_readings(file: Path, path: Path, folders: Sequence[str]) -> None:
    """Fit the confidence of words and its thresholds on what a reader gives, rescored and turned; write the card."""
    reader, card = Reader(file), read_json(path, "model card")
    charset = reader.tokenizer.charset
    fold, own = PROTOCOLS[confidence_protocol(charset)], WordConfidence.from_card(card, len(charset))
    assert own is not None
    sets = [open_labeled(folder) for folder in folders]
    rows = [(number, index) for number, crops in enumerate(sets) for index in range(len(crops))]
    probabilities, lengths, correct, of_set = [], [], [], []
    for row in choose_words([number for number, _ in rows]).tolist():
        number, index = rows[row]
        if label := fold(sets[number].label(index)):
            prediction = reader.read(sets[number].image(index))
            characters = len(prediction.text)
            probabilities.append(prediction.confidence ** ((1 + characters) ** own.length / own.exponent))
            lengths.append(characters)
            correct.append(fold(prediction.text) == label)
            of_set.append(number)
    exponent, length = fit_power(probabilities, lengths, correct, of_set)
    word = replace(own, exponent=exponent, length=length)
    confidences = [word.scale(*pair) for pair in zip(probabilities, lengths, strict=True)]
    found = {precision: confidence_threshold(confidences, correct, precision) for precision in PRECISIONS}
    reached = {precision: pair for precision, pair in found.items() if pair is not None}
    write_json(path, recalibrate(card, Calibration(reader.backend.temperature, word, reached, len(correct))))
    replace_card(file, read_json(path, "model card"))


def recalibrate(card: dict[str, Any], calibration: Calibration) -> dict[str, Any]:
    """A card with the entries of a calibration, and without those of an earlier one."""
    return {key: value for key, value in card.items() if key not in MEASURED} | calibration.to_card()


def calibrate_file(file: Path, folders: Sequence[str | Path]) -> Calibration:
    """Calibrate an exported file, at its temperature, on labeled crops that its model was not trained on."""
    model = OnnxModel(file)
    charset = model.tokenizer.charset
    crops = load_crops([str(folder) for folder in folders], charset, model.tokenizer.max_length, model.size)
    recognize = model.probabilities if model.searches != "paths" else model.probabilities_and_paths
    return calibrate(crops, model.tokenizer, recognize, confidence_protocol(charset), model.temperature)


def replace_card(file: Path, card: dict[str, Any]) -> None:
    """Write another card into an exported file."""
    graph = onnx.load(file)
    metadata = json.loads(next(entry.value for entry in graph.metadata_props if entry.key == METADATA))
    onnx.helper.set_model_props(graph, {METADATA: json.dumps(metadata | {"card": card}, ensure_ascii=False)})
    with atomic_file(file) as aside:
        aside.write_bytes(seal(graph.SerializeToString()))


def calibrate_loaded(loaded: Loaded, folders: Sequence[str], temperature: float | None) -> Calibration:
    """Calibrate a recognizer on labeled crops that it was not trained on; ``temperature`` as for ``calibrate``."""
    charset, size = loaded.tokenizer.charset, loaded.config.encoder.crop_size
    crops = load_crops(folders, charset, loaded.tokenizer.max_length, size)
    recognize = partial(crop_probabilities_and_paths, loaded.model, device=torch.device("cpu"))
    with torch.inference_mode():
        return calibrate(crops, loaded.tokenizer, recognize, confidence_protocol(charset), temperature)


def without_paths(value: object) -> object:
    """Shorten absolute paths of the training machine to their last two parts, in nested settings."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and value.startswith("/"):
        return "/".join(Path(value).parts[-2:])
    return value


if __name__ == "__main__":
    main()
