"""``dptr adapt``: a recogniser learns the words of a domain from text alone; its image side stays as it is.

The words are rendered, the frozen encoder and FMU see them once, and the decoder learns to read what they saw: a step
costs the decoder alone. The other part of each batch are rendered words of the recogniser's language, seen in the same
way, so that it does not forget them. Ours; that text alone can stand in for the image side of a finished recogniser was
tried without rendering, and failed (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.config.train import AdaptRecipe
from dptr.data.augment import to_pixels
from dptr.data.sources import Source, seeded_order
from dptr.models.checkpoint import Loaded, save_checkpoint
from dptr.models.decoders import Decoder
from dptr.models.recognizer import Recognizer
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.source import Rendered
from dptr.text.corpus import Corpus, in_language
from dptr.text.tokenizer import Tokenizer
from dptr.training import trainer as loop
from dptr.training.resolve import resolve_adapt
from dptr.training.sources import RENDERED_VALIDATION, rendered_words
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars
from dptr.utils.widths import by_width

WAYS = (1.0, 0.75, 0.5)  # how far from the decoder as it was to the trained one
LOOKED_AT = 5000  # words that are tried for whether some font draws them, for the log
Progress = Callable[[int], None]  # so many pictures more
_TOGETHER = 128  # crops that the image side sees at once


class _Objective(nn.Module):
    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def forward(
        self, memory: Float[Tensor, "b m d"], targets: Int[Tensor, "b t"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        return self.decoder.loss(memory, None, targets, generator)


@dataclass(frozen=True)
class Seen:
    """Rendered words as the recogniser's image side sees them."""

    memory: Float[Tensor, "n m d"]  # float16
    words: list[str]

    def rows(self, first: int, count: int, seed: int) -> list[int]:
        """Samples ``first``.. of all, in a new seeded order each epoch."""
        places = (divmod(index, len(self.words)) for index in range(first, first + count))
        return [int(seeded_order(seed, epoch, len(self.words))[place]) for epoch, place in places]


@dataclass(frozen=True)
class Lessons:
    """What is learned, what is rehearsed, and other pictures of both to validate on."""

    learned: Seen
    rehearsed: Seen
    tested: Seen
    kept: Seen


def adapt(recipe: AdaptRecipe, out: Path, resume: bool = False) -> Path:
    """Train and write ``out/model``: the recogniser with another decoder.

    Validation reads words of the domain in other pictures, and other words, which nothing else shows. Kept is the state
    that reads most of the domain, of those that lose at most ``recipe.max_accuracy_loss`` of the others; step 0
    counts, and so do decoders some of the ``WAYS`` from the one before to that of a step (weights in between forget
    less: WiSE-FT, Wortsman et al., CVPR 2022, section 3).

    Returns:
        The folder of the best recogniser.

    Raises:
        UserError: no word of the text that the recogniser can write, or no font draw; several processes; see
            ``resolve_adapt``, ``loop.check_out``, ``rendered_words``, ``loop.advance``.
    """
    resolved = resolve_adapt(recipe)
    loaded, dual, charset = resolved.parts.recognizer, resolved.parts.dual, resolved.charset
    loop.check_out(out, recipe, resume)
    model, tokenizer = loaded.model, loaded.tokenizer
    accelerator = loop.make_accelerator(recipe.run)
    if accelerator.num_processes > 1:
        raise UserError(f"dptr adapt takes minutes: run it in one process, not {accelerator.num_processes}")
    model.to(accelerator.device).eval()
    lessons, notes = prepare(recipe, loaded)
    model.requires_grad_(False)
    model.decoder.requires_grad_(True)
    first = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
    objective = _Objective(model.decoder.train())
    run = loop.start(out, recipe, recipe.run, recipe.optim, accelerator, objective, [(model.decoder, 1.0)], "words")
    for line in notes:
        run.log.say(line)
    new = max(1, round(recipe.domain_share * recipe.run.batch_size))
    parts = ((lessons.learned, new), (lessons.rehearsed, recipe.run.batch_size - new))
    card = {**loaded.card, "name": out.name, "adapted_to": [Path(path).name for path in recipe.text]}

    def validate() -> None:
        with loop.averaged(run):
            last = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
            for way in WAYS if run.step else WAYS[:1]:
                model.decoder.load_state_dict(between(first, last, way))
                judge(way)
            model.decoder.load_state_dict(last)

    def judge(way: float) -> None:
        sets = {"domain": lessons.tested, "others": lessons.kept}
        scores = {name: share_read(model.decoder, some, tokenizer) for name, some in sets.items()}
        part = f"_{way:g}" if way < 1 else ""
        run.log.write(run.step, {f"validation_{name}{part}": score for name, score in scores.items()})
        before = run.best.get("before", scores["others"])
        kept = scores["others"] >= before - recipe.max_accuracy_loss
        run.log.say(
            f"step {run.step}{f', {way:.0%} of the way' if part else ''}: reads {scores['domain']:.1%} of "
            f"{len(lessons.tested.words)} words to learn, {scores['others']:.1%} of {len(lessons.kept.words)} others"
            + (
                ""
                if kept
                else f"; not kept: that is more than max_accuracy_loss={recipe.max_accuracy_loss:g} below {before:.1%}"
            )
        )
        if not run.best or (kept and scores["domain"] > run.best["domain"]):
            run.best = {**scores, "before": before}
            told = {"domain": "words to learn, rendered", "others": "other words, rendered"}
            results: list[dict[str, Any]] = [
                {"data": about, "n": len(sets[name].words), "word_accuracy": scores[name], "step": run.step, "way": way}
                for name, about in told.items()
            ]
            save_checkpoint(
                out / "model", "recogniser", model, loaded.config, charset, dual, {**card, "results": results},
                temperature=loaded.temperature,
            )  # fmt: skip

    if run.step == 0:
        validate()
    with loop.interruptible(run):
        while run.step < recipe.run.steps:
            memory, words = [], []
            for seen, count in parts:
                rows = seen.rows(run.step * count, count, recipe.run.seed)
                memory.append(seen.memory[rows])
                words += [seen.words[row] for row in rows]
            targets = torch.from_numpy(tokenizer.encode(words)).to(run.device)
            batch = {"memory": torch.cat(memory).float().to(run.device), "targets": targets}
            with loop.seeded(recipe.run.seed, run.step) as generator:
                value = loop.learn(run, batch, words, generator, model.decoder.terms)
            speed = run.log.progress(run.step, recipe.run.steps, recipe.run.batch_size, value)
            if loop.due(run, recipe.run.log_every):
                run.log.write(run.step, {"loss": value, "words_per_second": round(speed, 1)})
            if loop.due(run, recipe.run.validate_every):
                validate()
            loop.end_of_step(run)
    return out / "model"


def between(first: dict[str, Tensor], last: dict[str, Tensor], way: float) -> dict[str, Tensor]:
    """Weights ``way`` (0..1) of the way from ``first`` to ``last``, which have the same names and shapes."""
    return {
        name: torch.lerp(first[name], tensor, way) if tensor.is_floating_point() else tensor
        for name, tensor in last.items()
    }


def prepare(recipe: AdaptRecipe, loaded: Loaded) -> tuple[Lessons, list[str]]:
    """All words rendered and seen, and notes for the log.

    Raises:
        UserError: see ``adapt``.
    """
    model, tokenizer, config = loaded.model, loaded.tokenizer, loaded.config
    charset, length, seed = tokenizer.charset, tokenizer.max_length, recipe.run.seed
    others, unseen, notes = rendered_words(
        in_language(recipe.corpus, charset), recipe.render, config.encoder, charset, length, seed, recipe.pack
    )
    sources = tuple(SourceConfig(kind="file", path=path) for path in recipe.text)
    shown = recipe.words
    words = CorpusConfig(
        sources=sources, heldout=shown.heldout, upper=shown.upper, title=shown.title, mixed=shown.mixed,
        punctuation=shown.punctuation,
    )  # fmt: skip
    size = {"height": config.encoder.height, "width": config.encoder.width, "widest": config.encoder.widest}
    render = recipe.render.model_copy(update=size)
    fonts = find_fonts(render.fonts)
    held = "heldout" if render.font_split == "train" else render.font_split
    domain, again = (
        Rendered(Corpus(words, charset, length, number), Renderer(render, number, FontIndex(fonts, split)))
        for number, split in ((seed, render.font_split), (seed + 1, held))
    )
    undrawable = [f"words to learn: {count} of the first {LOOKED_AT:,} left out, {reason}"
                  for reason, count in domain.undrawable(LOOKED_AT).items()]  # fmt: skip
    sources_seen = (
        (domain, recipe.domain_crops),
        (others, recipe.language_crops),
        (again, RENDERED_VALIDATION),
        (unseen(), RENDERED_VALIDATION),
    )
    total, done = sum(count for _, count in sources_seen), 0
    with progress_bars() as bars:

        def progress(more: int) -> None:
            nonlocal done
            done += more
            bars("pictures", done, total)

        lessons = Lessons(*(see(model, source, count, progress) for source, count in sources_seen))
    told = (
        f"words to learn: {domain.corpus.describe()}; {recipe.domain_crops:,} pictures of them, "
        f"{recipe.language_crops:,} of others"
    )
    return lessons, [told, *undrawable, *notes]


def see(model: Recognizer, source: Source, count: int, progress: Progress) -> Seen:
    """The memory of the first ``count`` samples; those of one width are seen together, so that none is stretched."""
    memory, words = [], []
    for start in range(0, count, _TOGETHER):
        samples = [source.sample(index) for index in range(start, min(start + _TOGETHER, count))]
        for places, crops in by_width([crop for crop, _, _ in samples], _TOGETHER):
            memory.append(_memory(model, crops))
            words += [samples[place][1] for place in places]
        progress(len(samples))
    return Seen(torch.cat(memory), words)


@torch.no_grad()
def _memory(model: Recognizer, crops: Any) -> Float[Tensor, "b m d"]:
    return model.memory(to_pixels(crops, next(model.parameters()).device)).half().cpu()


@torch.no_grad()
def share_read(decoder: Decoder, seen: Seen, tokenizer: Tokenizer) -> float:
    """Share of words that the decoder reads rightly, character by character as they were drawn."""
    right, device = 0, next(decoder.parameters()).device
    for start in range(0, len(seen.words), _TOGETHER):
        logits = decoder.decode(seen.memory[start : start + _TOGETHER].float().to(device), None)
        read = tokenizer.decode(logits.float().softmax(-1).cpu().numpy())
        right += sum(word == got.text for word, got in zip(seen.words[start : start + _TOGETHER], read, strict=True))
    return right / len(seen.words)
