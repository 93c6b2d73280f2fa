"""Measure the gain of text-only pre-training: fine-tuning from several starts, with four numbers of labeled crops.

    DPTR_DATA=... python research/evidence/gain.py --pack runs/pack-en --out runs/gain

Needs the pack that glyph-en was aligned with (scripts/cpu/train-en.sh). All starts use the same network:

- a: the aligned encoder and slots, a decoder from scratch;
- b: the same, the decoder pre-trained on text without ORP;
- c: the same, with ORP of residuals by symbol (cr: of the residuals of one crop, slot by slot; c0: the published ORP,
  of photographs);
- d: encoder, slots and decoder trained directly on the same rendered crops, with the same auxiliary losses that
  alignment has, for the compute of alignment and stage 1: plain supervised training, the control;
- e: d, its decoder first pre-trained on text;
- j: d, alignment and stage 1 in one run (``co_training.text`` beside ``co_training.images``);
- jl: the same, with slots bound only loosely to text tokens (``spell`` 0.3, ``cosine`` 0). With residuals by symbol,
  the stand-in for a slot is a slot of another crop with the same letter, so slots need not be close to text tokens;
- f: a, after training the network on rendered crops for the time of stage 1; this shows the gain of stage 1 when the
  encoder exists already;
- an, cn: a and c without the FMU; the decoder attends to the image tokens directly;
- c13, c52: c with half and twice as many queries as slots (the first queries are kept, and others are made like them);
- cf, cs: c with a frozen decoder in fine-tuning, or with 0.3 of its learning rate; ce: 0.3 for all but the decoder.

A run depends only on the runs that it starts from. Interrupted runs are resumed and finished runs skipped: start the
same command again at any time. Each run uses one thread, and ``--jobs`` run at once. Scores are those of the last step,
not of the best one, on the held-out fixed tenth of the real training crops (protocol 36).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jobs import Job, data_folder, finetuning, finish, options_of, scores, set_options, spread, steps

STARTS = ("a", "b", "c0", "cr", "c", "d", "e", "f", "j", "jl", "an", "cn", "c13", "c52", "cf", "cs", "ce")
BUDGETS = ((100, (0, 1, 2)), (500, (0, 1, 2)), (2000, (0,)), (0, (0,)))  # labeled crops (0 = all), seeds
ONCE = ("c0", "cr", "an", "cn", "c13", "c52", "cf", "cs", "ce")  # starts with one seed, at 500 and at all crops
FEW = ("a", "b", "c", "d", "f")  # starts with runs on 100 crops too
STEPS = {100: 200, 500: 300, 2000: 500, 0: 800}  # of fine-tuning, by labeled crops
# The order of fine-tuning runs: crops and seed.
ORDER = ((500, 0), (500, 1), (500, 2), (0, 0), (2000, 0), (100, 0), (100, 1), (100, 2))


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--direct-steps", type=int, default=5800, help="steps of d and e: the compute of a and stage 1")
    parser.add_argument("--joint-steps", type=int, default=5000, help="steps of j: the same compute")
    parser.add_argument("--rendered-steps", type=int, default=370, help="steps of f: the time of stage 1")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    options = parser.parse_args()
    data = data_folder()
    if not options.table:
        jobs = finetunes(options, data)
        for start in reversed(starts(options, data)):  # a run comes after the run that it starts from
            if any(start.name in job.needs for job in jobs):
                jobs.insert(0, start)
        finish(jobs, options.out, options.jobs, options.settings)
    print(table(options.out))


def starts(options: argparse.Namespace, data: Path) -> list[Job]:
    """The bank, and all trainings that fine-tuning starts from: stage 1, direct, joint, and rendered."""
    out: Path = options.out
    text = ("pretrain", "--config", str(options.recipes / "text.toml"), "--set", f"dual.model={options.glyph}")
    rendered = (
        "align", "--config", str(options.recipes / "direct.toml"), "--set", f"pack={options.pack}",
        "--set", f"render.backgrounds={data / 'natural'}",
    )  # fmt: skip
    direct = (*rendered, *set_options(steps(options, options.direct_steps)))
    joint = (
        *rendered,
        *set_options("co_training.text=1", "co_training.residuals=1", steps(options, options.joint_steps)),
    )
    residuals = ("--set", f"orp.bank={out / 'residuals'}", "--set", "orp.strength=1", "--set")
    return [
        Job("residuals", ("bank", "--pack", options.pack, "--model", options.glyph), flags=()),
        Job("text", (*text, "--set", "orp.strength=0")),
        Job("text-photographs", text),
        Job("text-residuals", (*text, *residuals, "orp.positions=aligned"), ("residuals",)),
        Job("text-symbols", (*text, *residuals, "orp.positions=symbols"), ("residuals",)),
        Job("direct", direct),
        Job("direct-text", (*direct, "--set", f"init.decoder={out / 'text-symbols' / 'model'}"), ("text-symbols",)),
        Job("joint", (*joint, *set_options("spell=1", "cosine=1"))),
        Job("joint-loose", (*joint, *set_options("spell=0.3", "cosine=0"))),
        Job(
            "rendered",
            (
                *finetuning(options, data),
                *set_options(f"init.glyph={options.glyph}", steps(options, options.rendered_steps), "data.rendered=1"),
            ),
        ),
    ]


def finetunes(options: argparse.Namespace, data: Path) -> list[Job]:
    """Fine-tuning from each requested start with each budget."""
    out: Path = options.out

    def decoder(name: str) -> tuple[str, ...]:
        return ("--set", f"init.decoder={out / name}")

    def glyph(name: str) -> tuple[str, ...]:
        return ("--set", f"init.glyph={name}")

    aligned, no_fmu = glyph(options.glyph), ("--set", "model.fmu.queries=0")
    pretrained = (*aligned, *decoder("text-symbols/model"))
    begin = {
        "a": (aligned, ()),
        "b": ((*aligned, *decoder("text/model")), ("text",)),
        "c0": ((*aligned, *decoder("text-photographs/model")), ("text-photographs",)),
        "cr": ((*aligned, *decoder("text-residuals/model")), ("text-residuals",)),
        "c": (pretrained, ("text-symbols",)),
        "d": ((*glyph(str(out / "direct/model")), *decoder("direct/decoder")), ("direct",)),
        "e": ((*glyph(str(out / "direct-text/model")), *decoder("direct-text/decoder")), ("direct-text",)),
        "f": (set_options(f"init.model={out / 'rendered/model'}"), ("rendered",)),
        "j": ((*glyph(str(out / "joint/model")), *decoder("joint/decoder")), ("joint",)),
        "jl": ((*glyph(str(out / "joint-loose/model")), *decoder("joint-loose/decoder")), ("joint-loose",)),
        "an": ((*aligned, *no_fmu), ()),
        "cn": ((*pretrained, *no_fmu), ("text-symbols",)),
        "c13": ((*pretrained, *set_options("model.fmu.queries=13")), ("text-symbols",)),
        "c52": ((*pretrained, *set_options("model.fmu.queries=52")), ("text-symbols",)),
        "cf": ((*pretrained, *set_options("decoder_lr_scale=0")), ("text-symbols",)),
        "cs": ((*pretrained, *set_options("decoder_lr_scale=0.3")), ("text-symbols",)),
        "ce": ((*pretrained, *set_options("encoder_lr_scale=0.3", "fmu_lr_scale=0.3")), ("text-symbols",)),
    }
    base = finetuning(options, data)
    return [
        Job(
            f"{start}-{count or 'all'}-{seed}",
            (
                *base,
                *begin[start][0],
                *set_options(steps(options, STEPS[count]), f"data.max_crops={count}", f"run.seed={seed}"),
            ),
            begin[start][1],
        )
        for count, seed in ORDER
        for start in options.starts
        if (start not in ONCE or (count in (500, 0) and seed == 0)) and (count != 100 or start in FEW)
    ]  # fmt: skip


def table(out: Path) -> str:
    """Markdown: word accuracy on the validation crops before and after fine-tuning, mean and spread over seeds."""
    lines = ["| start | before | " + " | ".join(f"{count or 'all'} crops" for count, _ in BUDGETS) + " |"]
    lines.append("|---|---:|" + "---:|" * len(BUDGETS))
    for start in STARTS:
        runs = [[scores(out / f"{start}-{count or 'all'}-{seed}") for seed in seeds] for count, seeds in BUDGETS]
        before = [values[0] for some in runs for values in some if values]
        cells = [spread([values[-1] for values in some if values]) for some in runs]
        lines.append(f"| {start} | {spread(before[:1])} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
