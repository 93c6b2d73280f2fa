"""Compare all decoders with and without text-only pre-training, also on words that are in no lexicon.

    DPTR_DATA=... python research/evidence/decoders.py --pack runs/pack-en --out runs/decoders

Each decoder starts from the aligned encoder and slots, both from scratch and pre-trained on text with ORP of residuals
by symbol. It is fine-tuned on 500 and on all labeled crops, with the steps of research/evidence/gain.py. Then it reads

- the test folders, once;
- three rendered sets in held-out fonts, with words of the same lengths: *common* words (the 5,000 most frequent),
  *rare* words (real words with the least frequent trigrams in the list), and *random* letters. An autoregressive
  decoder that relies on the lexicon loses accuracy from the first set to the last.

``--shares`` adds stage 1 of ``--share-decoder`` with other fractions of random strings in its text. Runs are resumable:
start the same command again at any time. Each run uses one thread, and ``--jobs`` run at once.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jobs import Job, data_folder, done, finetuning, finish, options_of, set_options, steps

from dptr.config.render import SourceConfig
from dptr.models.checkpoint import open_checkpoint
from dptr.models.decoders import DECODERS
from dptr.text.sources import read_wordfreq

STEPS = {500: 300, 0: 800}  # of fine-tuning, by labeled crops (0 = all)
TESTS = ("iiit5k/test", "ic15/test")
WORDS = {"common": 0, "rare": 1, "random": 2}  # rendered sets, and the seeds of their words
COUNT = 1000  # crops of each
SHARES = (0.0, 0.5, 1.0)  # fractions of random strings among the words of stage 1, instead of the default corpus


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--decoders", nargs="+", choices=DECODERS, default=list(DECODERS))
    parser.add_argument("--crops", nargs="+", type=int, choices=STEPS, default=list(STEPS), help="0 = all")
    parser.add_argument("--shares", action="store_true", help="also other shares of random strings in the text")
    parser.add_argument("--share-decoder", choices=DECODERS, default="parseq")
    options = parser.parse_args()
    data, out = data_folder(), options.out
    trained = finetunes(options, data)
    if not options.table:
        out.mkdir(parents=True, exist_ok=True)
        jobs = [*rendered_sets(out), *stage_one(options), *trained, *evaluations(trained, out, data)]
        finish(jobs, out, options.jobs, options.settings)
    print(table(trained, out))


def rendered_sets(out: Path) -> list[Job]:
    """Render three word lists into folders of crops, in fonts that no training uses."""
    jobs = []
    lists = word_lists()
    for name, seed in WORDS.items():
        words = out / f"{name}.txt"
        words.write_text("\n".join(lists[name]) + "\n", encoding="utf-8")
        source = f'corpus.sources=[{{kind = "file", path = "{words}"}}]'
        settings = (source, "corpus.heldout=0", "corpus.punctuation=0", "corpus.mixed=0", "render.font_split=heldout")
        command = ("synth", "--count", str(COUNT), "--format", "folder", "--set", f"seed={seed}")
        jobs.append(Job(name, (*command, *set_options(*settings))))
    return jobs


def word_lists() -> dict[str, list[str]]:
    """Common, rare, and random words of 4 to 10 letters a-z, with the same number of words of each length.

    For rare words, the 20,000 most frequent words of the list are removed. The rare words are the third of the rest
    whose trigrams have the lowest mean log-frequency. Trigrams include a mark for each end of the word, and are
    weighted by the frequency of the words.
    """
    entries, _ = read_wordfreq(SourceConfig(kind="wordfreq", flatten=0.0))
    plain = [(word, weight) for word, weight in entries if word.isascii() and word.isalpha() and 4 <= len(word) <= 10]
    counts: dict[str, float] = defaultdict(float)
    for word, weight in plain:
        for trigram in trigrams(word):
            counts[trigram] += weight

    def ease(word: str) -> float:
        return float(np.mean([np.log(counts[trigram]) for trigram in trigrams(word)]))

    uncommon = sorted((word for word, _ in plain[20_000:]), key=ease)
    rng = np.random.default_rng(0)
    common = [word for word, _ in plain[:5000]]
    rare = uncommon[: len(uncommon) // 3]
    lengths = Counter(len(word) for word in common)
    quota = {length: round(COUNT * count / len(common)) for length, count in lengths.items()}
    letters = list("abcdefghijklmnopqrstuvwxyz")
    return {
        "common": draw(common, quota, rng),
        "rare": draw(rare, quota, rng),
        "random": ["".join(rng.choice(letters, length)) for length, count in quota.items() for _ in range(count)],
    }


def trigrams(word: str) -> list[str]:
    """The trigrams of a word with a mark at each end."""
    marked = f"^{word}$"
    return [marked[start : start + 3] for start in range(len(word))]


def draw(words: Sequence[str], quota: dict[int, int], rng: np.random.Generator) -> list[str]:
    """Draw ``quota[length]`` words of each length, without replacement."""
    return [
        str(word)
        for length, count in quota.items()
        for word in rng.choice([word for word in words if len(word) == length], count, replace=False)
    ]


def stage_one(options: argparse.Namespace) -> list[Job]:
    """The bank of residuals, stage 1 of each decoder, and stage 1 of the share decoder on other texts."""
    text = (
        "pretrain", "--config", str(options.recipes / "text.toml"), "--set", f"dual.model={options.glyph}",
        "--set", f"orp.bank={options.out / 'residuals'}", "--set", "orp.strength=1", "--set", "orp.positions=symbols",
    )  # fmt: skip
    kinds = [
        Job(f"text-{kind}", (*text, "--set", f"model.decoder.kind={kind}"), ("residuals",)) for kind in options.decoders
    ]
    residuals = Job("residuals", ("bank", "--pack", options.pack, "--model", options.glyph), flags=())
    return [residuals, *kinds, *(share_stage(text, options.share_decoder, share) for share in shares(options))]


def share_stage(text: tuple[str, ...], kind: str, share: float) -> Job:
    """Stage 1 on a mixture of words and random strings, with the fraction ``share`` of random strings."""
    sources = []
    if share < 1:
        sources.append(f'{{kind = "wordfreq", weight = {1 - share}}}')
    if share > 0:
        sources.append(f'{{kind = "pattern", weight = {share}, patterns = ["random"]}}')
    corpus = ("--set", f"corpus.sources=[{', '.join(sources)}]")
    return Job(f"text-{kind}@{share}", (*text, "--set", f"model.decoder.kind={kind}", *corpus), ("residuals",))


def shares(options: argparse.Namespace) -> Sequence[float]:
    return SHARES if options.shares else ()


def finetunes(options: argparse.Namespace, data: Path) -> list[Job]:
    """Fine-tuning of each decoder from both starts with both budgets; the share decoder's other texts only at 500."""
    starts = [(kind, start, crops) for crops in options.crops for kind in options.decoders for start in ("none", kind)]
    starts += [(options.share_decoder, f"{options.share_decoder}@{share}", 500) for share in shares(options)]
    jobs = []
    for kind, start, crops in starts:
        settings = [f"init.glyph={options.glyph}", steps(options, STEPS[crops]), f"data.max_crops={crops}"]
        needs: tuple[str, ...] = ()
        if start != "none":
            settings.append(f"init.decoder={options.out / f'text-{start}' / 'model'}")
            needs = (f"text-{start}",)
        name = f"{kind if start == 'none' else start}-{'scratch' if start == 'none' else 'text'}-{crops or 'all'}"
        jobs.append(Job(name, (*finetuning(options, data, kind), *set_options(*settings)), needs))
    return jobs


def evaluations(trained: Sequence[Job], out: Path, data: Path) -> list[Job]:
    """Evaluate the best checkpoint (by validation) of each fine-tuning on the test folders and the rendered sets."""
    sets = [*(str(data / name) for name in TESTS), *(str(out / name) for name in WORDS)]
    return [
        Job(
            f"{job.name}-read",
            ("eval", *sets, "--model", str(out / job.name / "model")),
            (job.name, *WORDS),
            flags=("--json",),
        )
        for job in trained
    ]


def table(trained: Sequence[Job], out: Path) -> str:
    """Markdown: word accuracy (protocol 36) of each run on each set."""
    lines = [f"| decoder | start | labels | parameters | {' | '.join((*TESTS, *WORDS))} |"]
    lines.append("|---|---|---:|---:|" + "---:|" * (len(TESTS) + len(WORDS)))
    for job in trained:
        report = out / f"{job.name}-read"
        if done(report):
            kind, start, crops = job.name.rsplit("-", 2)
            results = json.loads(report.read_text(encoding="utf-8"))["results"]
            cells = " | ".join(f"{100 * result['word_accuracy']:.1f} %" for result in results)
            model = open_checkpoint(str(out / job.name / "model"))
            count = sum(tensor.numel() for tensor in model.tensors.values())
            lines.append(f"| `{kind}` | {start} | {crops} | {count / 1e6:.2f} M | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
