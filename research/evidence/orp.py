"""Measure Offline Randomized Perturbation with several banks and strengths, without any labeled crop.

    DPTR_DATA=... python research/evidence/orp.py --pack runs/pack-en --out runs/orp

The script runs stage 1 of research/evidence/gain.py with each bank and lambda. It joins each decoder with the aligned
encoder and slots, and reads the 646 validation crops of real photographs (research/evidence/zero_shot.py).

The banks are photographs; patches of photographs in the shape of words; Gaussian noise with the mean and covariance of
the photographs' tokens at each position; and residuals by symbol. Token positions are drawn for each sample and
position, as in DPTR's default, or once for the whole batch, as in the published code. Runs are resumable: start the
same command again at any time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from jobs import Job, data_folder, done, finish, options_of, set_options
from torch import Tensor

from dptr.dual.orp.bank import Bank, load_bank, save_bank
from dptr.utils.files import atomic_file
from dptr.weights import model_file

LAMBDAS = {
    "none": (0.0,),
    "photographs": (0.03, 0.1, 0.3, 1.0),
    "shared": (0.1, 1.0),
    "patches": (0.1, 1.0),
    "gaussian": (0.03, 0.1, 0.3, 1.0),
    "residuals": (0.5, 1.0, 1.5),
}
NAMES = {
    "none": "none",
    "photographs": "photographs (500 of BSDS500)",
    "shared": "the same, one draw of positions a batch (as published)",
    "patches": "patches of scenes without text (2,000, `research/evidence/patches.py`)",
    "gaussian": "Gaussian noise with the mean and covariance of the photographs' tokens (500 draws)",
    "residuals": "residuals of 4,000 rendered crops, by symbol",
}
SPELLED = ("validation_held_out_words", "validation_random_strings")
SCRIPTS = Path(__file__).resolve().parent


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--banks", nargs="+", choices=LAMBDAS, default=list(LAMBDAS))
    options = parser.parse_args()
    out: Path = options.out
    if not options.table:
        make_banks(options, out, data_folder())
        runs = [(bank, strength) for bank in options.banks for strength in LAMBDAS[bank]]
        finish([stage_one(options, *run) for run in runs], out, options.jobs, options.settings)
        for run in runs:
            read(options.glyph, out / name_of(*run))
    print("\n".join(table(out)))


def make_banks(options: argparse.Namespace, out: Path, data: Path) -> None:
    """Make the requested banks that do not ship."""
    out.mkdir(parents=True, exist_ok=True)
    jobs = []
    if "residuals" in options.banks:
        arguments = ("bank", "--pack", options.pack, "--count", "4000", "--model", options.glyph)
        jobs.append(Job("bank-residuals", arguments, flags=()))
    if "patches" in options.banks:
        pictures = out / "patches"
        if not pictures.exists():
            script("patches.py", "--photographs", str(data / "natural"), "--out", str(pictures))
        jobs.append(Job("bank-patches", ("bank", "--images", str(pictures), "--model", options.glyph), flags=()))
    finish(jobs, out, options.jobs)
    if "gaussian" in options.banks and not (out / "bank-gaussian").exists():
        save_bank(alike(load_bank(photographs(options.glyph)), torch.Generator().manual_seed(0)), out / "bank-gaussian")


def photographs(glyph: str) -> Path:
    """The shipped bank of photographs."""
    return model_file(glyph, "photographs.safetensors")


def alike(bank: Bank, generator: torch.Generator) -> Bank:
    """A bank of equal size, drawn from a normal distribution with the mean and covariance at each token position."""
    tokens = bank.tokens.float().transpose(0, 1)  # (p, n, d)
    mean = tokens.mean(1, keepdim=True)
    off: Float[Tensor, "p n d"] = (tokens - mean) / (tokens.shape[1] - 1) ** 0.5
    weights = torch.randn(tokens.shape[0], tokens.shape[1], tokens.shape[1], generator=generator)
    # A sum of the n centered rows with weights from N(0, 1 / (n - 1)) has the covariance of the rows.
    drawn = mean + weights @ off
    return Bank(drawn.transpose(0, 1).contiguous().half(), {**bank.provenance, "images": ["Gaussian noise"]})


def name_of(bank: str, strength: float) -> str:
    return f"{bank}@{strength:g}"


def stage_one(options: argparse.Namespace, bank: str, strength: float) -> Job:
    """Stage 1 with a bank and a lambda."""
    ships = bank in ("none", "photographs", "shared")
    positions = {"residuals": "symbols", "shared": "shared"}.get(bank, "per-sample")
    place = photographs(options.glyph) if ships else options.out / f"bank-{bank}"
    settings = (
        f"dual.model={options.glyph}",
        f"orp.bank={place}",
        f"orp.strength={strength:g}",
        f"orp.positions={positions}",
    )
    return Job(
        name_of(bank, strength), ("pretrain", "--config", str(options.recipes / "text.toml"), *set_options(*settings))
    )


def read(glyph: str, run: Path) -> None:
    """Write the zero-shot accuracy of a run to ``RUN.json``, unless the file exists."""
    scores = run.with_name(f"{run.name}.json")
    if not scores.exists():
        reader = run.with_name(f"{run.name}-reader")
        parts = ("--glyph", glyph, "--decoder", str(run / "model"), "--out", str(reader))
        with atomic_file(scores) as aside:
            script("zero_shot.py", *parts, "--json", str(aside))


def script(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, str(SCRIPTS / name), *arguments], check=True, stdout=subprocess.DEVNULL)


def table(out: Path) -> Iterator[str]:
    """Markdown: word accuracy on all validation crops, and spelling accuracy from clean text tokens."""
    yield "| bank | lambda | reads | held-out words | random strings |"
    yield "|---|---:|---:|---:|---:|"
    for bank, strengths in LAMBDAS.items():
        for strength in strengths:
            run = out / name_of(bank, strength)
            if not done(run) or not run.with_name(f"{run.name}.json").exists():
                continue
            parts = json.loads(run.with_name(f"{run.name}.json").read_text(encoding="utf-8"))
            right = sum(part["crops"] * part["word_accuracy"] for part in parts.values())
            records = map(json.loads, (run / "log.jsonl").read_text(encoding="utf-8").splitlines())
            (last,) = [record for record in records if SPELLED[0] in record][-1:]
            cells = [right / sum(part["crops"] for part in parts.values()), *(last[key] for key in SPELLED)]
            yield f"| {NAMES[bank]} | {strength:g} | {' | '.join(f'{100 * cell:.1f} %' for cell in cells)} |"


if __name__ == "__main__":
    main()
